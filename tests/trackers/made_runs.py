"""Runs as a tool would have logged them, made in a test."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from normlab.study.spec import Study
from normlab.trackers.runs import LeftOut, Run, Runs, Series

SCORES = {"batch": (0.951, 0.96, 0.9725), "none": (0.8, 0.8125, 0.82)}


def study(**values: Any) -> Study:
    claim = {"kind": "better", "name": "c", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    whole = {
        "name": "s", "question": "?", "base": {}, "factors": {"norm": ["batch", "none"]},
        "seeds": 3, "claims": [{**claim, "margin": 0.05}],
    }  # fmt: skip
    return Study.parse({**whole, **values})


def curve(end: float, epochs: int = 3, *, start: int = 1, every: int = 1) -> Series:
    """A metric that rises to its end."""
    steps = tuple(range(start, start + every * epochs, every))
    values = tuple(end - 0.1 * (1 - at / max(epochs - 1, 1)) for at in range(epochs))
    return Series(steps=steps, values=(*values[:-1], end))


def run(
    name: str = "r",
    params: Mapping[str, object] | None = None,
    metrics: Mapping[str, Series] | None = None,
    *,
    state: str = "complete",
    group: str = "g",
) -> Run:
    return Run(
        id=name,
        name=name,
        group=group,
        state=state,
        params={key: str(value) for key, value in (params or {}).items()},
        metrics=metrics or {},
    )


def runs(
    metric: str = "test_accuracy",
    *,
    factor: str = "norm",
    seed: str = "seed",
    scale: float = 1,
    epochs: int = 3,
    start: int = 1,
    every: int = 1,
) -> list[Run]:
    """Two norms by three seeds."""
    return [
        run(
            f"{norm}-s{number}",
            {factor: norm, seed: number, "lr": 0.1},
            {metric: curve(scale * score, epochs, start=start, every=every)},
        )
        for norm, scores in SCORES.items()
        for number, score in enumerate(scores)
    ]


def of(found: Iterable[Run], *, left_out: Iterable[LeftOut] = ()) -> Runs:
    return Runs(path=Path("store"), tool="mlflow", runs=tuple(found), left_out=tuple(left_out))

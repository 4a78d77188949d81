"""What is exported of a study, as plain data that every tool's writer takes from.

Finished trials alone, with verdicts as they stand. No path of the machine goes along: of a value
that is one only the last part is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from normlab.frames.epoch_rows import COUNTS, OF_ARMS, SCORED
from normlab.frames.load import FINAL_COLUMNS, Frames, load_frames
from normlab.frames.tables import arm_table
from normlab.frames.verdicts import claim_table
from normlab.lazy import pandas as pd
from normlab.places import DECIDING, TOGETHER, Place
from normlab.recipe import value_text
from normlab.records import FINISHED
from normlab.records.plan import ArmRecord, ClaimRecord
from normlab.store import Store
from normlab.store.plans import as_written
from normlab.text import name_alone, names_alone
from normlab.wording import is_missing

Value: TypeAlias = str | int | float | bool

PER_EPOCH = (*SCORED, "seconds", "lr")
"""What every epoch has; `seconds` are that epoch's."""
_FINAL = ("gap", *FINAL_COLUMNS, "examples_per_second", "peak_memory")
_PLACE = (*DECIDING, TOGETHER, "normlab", "code", "numpy", "python", "platform", "layout",
          "precision", "kernels")  # fmt: skip
_ARM = {
    "test_mean": "test_accuracy_mean",
    "test_low": "test_accuracy_low",
    "test_high": "test_accuracy_high",
    "validation_mean": "validation_accuracy_mean",
    "validation_low": "validation_accuracy_low",
    "validation_high": "validation_accuracy_high",
    "train_mean": "train_accuracy_mean",
    "macro_f1": "test_macro_f1_mean",
    "ece": "test_ece_mean",
    "gap": "gap_mean",
    "seconds": "total_seconds_mean",
    "finished": "trials_finished",
    "planned": "trials_planned",
    "diverged": "trials_diverged",
    "failed": "trials_failed",
    "invalid": "trials_invalid",
}
"""Columns of `normlab.frames.arm_table` -> what they are called among the metrics of runs."""


@dataclass(frozen=True, kw_only=True)
class TrialRun:
    """One finished trial.

    Attributes:
        id: Its id.
        mark: Its id with the beginning of the hash of its weights: other numbers, another mark.
        arm: The label of its arm.
        seed: Of its random streams.
        state: `complete`, `diverged` or `invalid`.
        params: The recipe flattened with dots, the levels of the study's factors, `arm`, `seed`,
            `state`, and what the trial tells of the model and the data.
        steps: Its epochs, from 1: (E,).
        times: When each ended, in seconds since 1970: (E,).
        metrics: By name of `PER_EPOCH` and at the last epoch alone `gap`, `total_seconds`, the
            final training split's: (E,), NaN where there is none.
        tags: Where it ran, and its hashes.
        recipe: As the study resolved it.
        started: Seconds since 1970; None where that is not known.
        ended: Likewise.
    """

    id: str
    mark: str
    arm: str
    seed: int
    state: str
    params: Mapping[str, Value]
    steps: npt.NDArray[np.int64]
    times: npt.NDArray[np.float64]
    metrics: Mapping[str, npt.NDArray[np.float64]]
    tags: Mapping[str, str]
    recipe: Mapping[str, object]
    started: float | None
    ended: float | None

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.arm}, seed {self.seed}"

    def points(self) -> Iterator[tuple[int, float, dict[str, float]]]:
        """Step, time and the metrics that it has, epoch by epoch."""
        for at, step in enumerate(self.steps.tolist()):
            values = {name: float(series[at]) for name, series in self.metrics.items()}
            there = {name: value for name, value in values.items() if math.isfinite(value)}
            yield step, float(self.times[at]), there


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim and what became of it.

    Attributes:
        claim: Its name.
        verdict: `supported`, `refuted`, `inconclusive` or `not in this variant`.
        sentence: The verdict as a plain sentence; empty where there is none.
        measured: The estimate with its interval and unit.
        says: The source's sentence, if it has one.
        exploratory: Why it is, or empty.
        arms: Labels of the arms that it speaks of.
    """

    claim: str
    verdict: str
    sentence: str
    measured: str
    says: str
    exploratory: str
    arms: tuple[str, ...]

    @property
    def words(self) -> str:
        """Verdict, sentence and what was measured in one text."""
        parts = [f"{self.verdict}{' (exploratory)' if self.exploratory else ''}."]
        parts += [self.sentence] if self.sentence else []
        parts += [f"Measured: {self.measured}."] if self.measured else []
        return " ".join(parts)


@dataclass(frozen=True, kw_only=True)
class ArmRun:
    """An arm with its finished trials.

    Attributes:
        label: Of the arm.
        params: Its recipe and levels, as its trials have them.
        summary: Means over seeds with the limits of their 95 % intervals, and counts of trials;
            without what is not known.
        judged: The claims that speak of it.
        trials: By seed.
    """

    label: str
    params: Mapping[str, Value]
    summary: Mapping[str, float]
    judged: Sequence[Judged]
    trials: Sequence[TrialRun]

    @property
    def ended(self) -> float:
        """When its last trial did, in seconds since 1970; 0 where that is not known."""
        return max((trial.ended or 0.0 for trial in self.trials), default=0.0)


@dataclass(frozen=True, kw_only=True)
class StudyRuns:
    """A study as it is exported.

    Attributes:
        name: The study's.
        question: What it asks.
        rehearsal: Whether it is the quick variant, which answers nothing.
        arms: Those with a finished trial, in the plan's order.
        judged: Every claim.
        left: How many planned trials are not finished, by state.
        normlab: The version that exports.
    """

    name: str
    question: str
    rehearsal: bool
    arms: Sequence[ArmRun]
    judged: Sequence[Judged]
    left: Mapping[str, int]
    normlab: str

    @property
    def trials(self) -> Iterator[TrialRun]:
        """All of them, arm by arm."""
        for arm in self.arms:
            yield from arm.trials

    @property
    def ended(self) -> float:
        """When its last trial did, in seconds since 1970; 0 where that is not known."""
        return max((arm.ended for arm in self.arms), default=0.0)


def to_export(folder: Path) -> StudyRuns:
    """What a study's folder has to export.

    Raises:
        UserError: It was never run there, or its store has something that normlab does not write.
    """
    with as_written(folder):
        with Store.read(folder) as store, store.as_it_stands():
            frames = load_frames(store, details=False)
            rows = store.steps(frames.trials["id"].tolist())
        clock = {row["id"]: (_time(row["started_at"]), _time(row["finished_at"])) for row in rows}
        return _study(frames, clock)


_Clock: TypeAlias = Mapping[str, tuple[float | None, float | None]]


def _study(frames: Frames, clock: _Clock) -> StudyRuns:
    plan = frames.plan
    judged = _judged(frames)
    summaries = {str(row["arm"]): row for row in arm_table(frames).to_dict("records")}
    by_arm: dict[str, list[TrialRun]] = {}
    finished = frames.trials[frames.trials["state"].isin(FINISHED)]
    epochs = frames.epochs[frames.epochs["id"].isin(finished["id"])]
    epochs = epochs.sort_values(["id", "epoch"], kind="stable")
    groups = dict(iter(epochs.groupby("id", sort=False)))
    params = {arm.label: _params(arm) for arm in plan.arms}
    for row in finished.to_dict("records"):
        arm = plan.arm[str(row["arm"])]
        own = groups.get(str(row["id"]), epochs.iloc[:0])
        trial = _trial(row, own, arm, params[arm.label], clock)
        by_arm.setdefault(arm.label, []).append(trial)
    left = frames.trials[~frames.trials["state"].isin(FINISHED)]["state"].value_counts()
    return StudyRuns(
        name=plan.name,
        question=plan.question,
        rehearsal=plan.rehearsal,
        arms=[
            ArmRun(
                label=arm.label,
                params=params[arm.label],
                summary=_summary(summaries[arm.label]),
                judged=[one for one in judged if arm.label in one.arms],
                trials=sorted(by_arm[arm.label], key=lambda trial: trial.seed),
            )
            for arm in plan.arms
            if arm.label in by_arm
        ],
        judged=judged,
        left={str(state): int(count) for state, count in left.items()},
        normlab=version("normlab"),
    )


def _judged(frames: Frames) -> list[Judged]:
    arms = {
        claim.name: claim.arms if isinstance(claim, ClaimRecord) else ()
        for claim in frames.plan.claims
    }
    return [
        Judged(
            claim=str(row["claim"]),
            verdict=str(row["verdict"]),
            sentence=_text(row["sentence"]),
            measured=_text(row["measured"]),
            says=_text(row["says"]),
            exploratory=_text(row["exploratory"]),
            arms=arms[str(row["claim"])],
        )
        for row in claim_table(frames).to_dict("records")
    ]


def _trial(
    row: Mapping[Any, Any],
    epochs: pd.DataFrame,
    arm: ArmRecord,
    params: Mapping[str, Value],
    clock: _Clock,
) -> TrialRun:
    """A trial of its row and its epochs, in their order."""
    trial_id, weights = str(row["id"]), _text(row["weights_sha256"])
    started, ended = clock[trial_id]
    metrics = {name: epochs[name].to_numpy(dtype=float) for name in PER_EPOCH}
    spent = np.cumsum(np.nan_to_num(metrics["seconds"]))
    times = (started if started is not None else ended or 0.0) + spent
    if started is not None and ended is not None:  # stored to the second
        times = np.minimum(times, max(started, ended))
    last = {name: row.get(name) for name in _FINAL}
    last["total_seconds"] = row["seconds"]
    if len(epochs):
        for name, value in last.items():
            metrics[name] = np.full(len(epochs), np.nan)
            metrics[name][-1] = math.nan if is_missing(value) else float(value or 0)
    known = {name: series for name, series in metrics.items() if np.isfinite(series).any()}
    counts = {name: int(row[name]) for name in COUNTS if not is_missing(row.get(name))}
    places = row["provenance"] if isinstance(row["provenance"], list) else []
    place: Place = places[-1] if places else {}
    tags = {name: name_alone(str(place[name])) for name in _PLACE if name in place}
    return TrialRun(
        id=trial_id,
        mark=f"{trial_id}-{weights[:8]}",
        arm=arm.label,
        seed=int(row["seed"]),
        state=str(row["state"]),
        params={
            **params,
            **counts,
            "arm": arm.label,
            "seed": int(row["seed"]),
            "state": str(row["state"]),
        },
        steps=epochs["epoch"].to_numpy(dtype=np.int64),
        times=times,
        metrics=known,
        tags={**tags, **({"weights_sha256": weights} if weights else {})},
        recipe=names_alone(arm.recipe),
        started=started,
        ended=ended,
    )


def _params(arm: ArmRecord) -> dict[str, Value]:
    """What an arm's trials share: the recipe flattened, the levels, the model's size."""
    recipe = dict(_flat(names_alone(arm.recipe)))
    levels = {key: _scalar(value) for key, value in names_alone(arm.levels).items()}
    sizes = {name: getattr(arm, name) for name in OF_ARMS}
    known: dict[str, Value] = {name: size for name, size in sizes.items() if size is not None}
    return {**known, **levels, **recipe}


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", _scalar(value)


def _scalar(value: object) -> Value:
    return value if isinstance(value, str | int | float) else value_text(value)


def _summary(row: Mapping[Any, Any]) -> dict[str, float]:
    found = {ours: row[column] for column, ours in _ARM.items()}
    return {name: float(value) for name, value in found.items() if not is_missing(value)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(text: object) -> float | None:
    """Seconds since 1970 of a stored time; None of anything else."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None

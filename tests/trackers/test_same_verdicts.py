"""The same trials get the same verdicts, in normlab and in every tool's store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.conftest import TOOLS
from tests.trackers.test_real_stores import WITHOUT_PACKAGE

from normlab.frames import Frames, claim_table, frames_from_table, load_frames
from normlab.metrics import METRICS
from normlab.store import Store
from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from normlab.trackers.asked import Asked
from normlab.trackers.mapping import trials_table
from normlab.trackers.read import read_runs
from normlab.trackers.runs import Run, Runs, Series

pytestmark = pytest.mark.xdist_group("trackers")

STUDY = {
    "name": "same",
    "question": "Does batch norm help?",
    "base": {
        "data": {"kind": "digits", "limit": 300},
        "model": "digits-small",
        "epochs": 2,
        "lr": 0.05,
    },
    "factors": {"norm": ["none", "batch"]},
    "seeds": 3,
    "claims": [
        {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}},
        {"kind": "equal", "arm": {"norm": "batch"}, "to": {"norm": "none"}, "margin": 5},
        {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"},
         "metric": "test_loss", "margin": 0.01, "at": 1},
        {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"},
         "at": "best_validation", "paired": True},
    ],
}  # fmt: skip
NUMBERS = ["estimate", "low", "high", "confidence", "p", "alpha", "margin", "seeds"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    folder = tmp_path_factory.mktemp("runs")
    run_plan(make_plan(Study.parse(STUDY)), folder)
    with Store.read(folder / "same") as store:
        return load_frames(store)


def logged(frames: Frames) -> list[dict[str, Any]]:
    """The trials as somebody would log them."""
    found = []
    for trial in frames.trials.itertuples():
        epochs = frames.epochs[frames.epochs["id"] == trial.id]
        metrics = {
            name: [
                [int(epoch), float(value)]
                for epoch, value in zip(epochs["epoch"], epochs[name], strict=True)
            ]
            for name in METRICS
            if name in epochs and epochs[name].notna().all() and not METRICS[name].derived
        }
        arm = next(arm for arm in frames.plan.arms if arm.label == trial.arm)
        params = {**arm.levels, "seed": trial.seed, "test_images": int(trial.test_images)}
        found.append(
            {"name": f"run{trial.Index}", "params": params, "metrics": metrics, "state": "complete"}
        )
    return found


def as_runs(source: Path, data: dict[str, Any]) -> Runs:
    """What `read_there` read, as runs again."""
    runs = [
        Run(**{**one, "metrics": {
            name: Series(steps=tuple(s["steps"]), values=tuple(s["values"]))
            for name, s in one["metrics"].items()
        }})
        for one in data["runs"]
    ]  # fmt: skip
    return Runs(path=source, tool=data["tool"], runs=tuple(runs), left_out=())


@pytest.mark.parametrize("tool", TOOLS)
def test_stores_of_real_tools_get_the_verdicts_of_normlab_s(
    tool: str,
    stored: Frames,
    written: Callable[..., Path],
    read_there: Callable[[Path], dict[str, Any]],
) -> None:
    source = written(tool, logged(stored))
    runs = read_runs(source) if tool in WITHOUT_PACKAGE else as_runs(source, read_there(source))
    mapped = trials_table(runs, stored.plan, Asked())
    assert mapped.left_out == []
    theirs = claim_table(frames_from_table(mapped.table, stored.plan))
    ours = claim_table(stored)
    assert theirs["verdict"].tolist() == ours["verdict"].tolist()
    for number in NUMBERS:
        # Event files keep 32 bits: of a loss near 2 some 1e-7, times the quantile of 3 seeds.
        short = tool in {"tensorboard", "torch"}
        digits = 1e-4 if short and number == "p" else 1e-6
        assert theirs[number].tolist() == pytest.approx(
            ours[number].tolist(), rel=digits, abs=2e-6 if short else 0, nan_ok=True
        )

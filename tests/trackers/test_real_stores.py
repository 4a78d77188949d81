"""Stores that the tools' own packages wrote are read back as what was logged."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.conftest import TOOLS
from tests.trackers.trials import trials

from normlab.trackers.read import read_runs

pytestmark = pytest.mark.xdist_group("trackers")
WITHOUT_PACKAGE = ("mlflow", "mlruns", "trackio")


@pytest.mark.parametrize("tool", TOOLS)
def test_what_was_logged_is_read_back(
    tool: str,
    written: Callable[..., Path],
    read_there: Callable[[Path], dict[str, Any]],
) -> None:
    source = written(tool)
    if tool in WITHOUT_PACKAGE:
        found = json.loads(json.dumps(dataclasses.asdict(read_runs(source)), default=str))
    else:
        found = read_there(source)
    assert found["left_out"] == []
    assert found["notes"] == []
    runs = {run["name"]: run for run in found["runs"]}
    assert set(runs) == {trial["name"] for trial in trials()}
    for trial in trials():
        run = runs[trial["name"]]
        assert run["params"] == {
            "norm": trial["params"]["norm"],
            "seed": str(trial["params"]["seed"]),
            "optimizer.lr": "0.05",
        }
        for metric, points in trial["metrics"].items():
            assert run["metrics"][metric]["steps"] == [step for step, _ in points]
            assert run["metrics"][metric]["values"] == pytest.approx(
                [value for _, value in points], rel=1e-7, nan_ok=True
            )
        # Neither trackio nor torch's writer says how a run ended.
        says_state = tool not in {"trackio", "torch"}
        assert run["state"] == (trial["state"] if says_state else "complete")

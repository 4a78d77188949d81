"""Stores that the tools' own packages wrote are read back as what was logged."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.conftest import TOOLS, There
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


def test_event_files_of_one_run_are_one_and_damage_is_named(
    there: There, read_there: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    there(tmp_path / "logs", script="write_events.py")
    found = read_there(tmp_path / "logs")
    acc = {
        run["name"]: (run["metrics"]["acc"]["steps"], run["metrics"]["acc"]["values"])
        for run in found["runs"]
        if "acc" in run["metrics"]
    }
    assert acc == {
        "restarted": ([0, 1, 2, 3], [0.125, 0.125, 0.5, 0.75]),
        "longer": ([0, 1, 2], [0.1, 0.3, 0.4]),
        "torn": ([0], [0.5]),
        "damaged": ([0], [0.5]),
    }
    (odd,) = [run for run in found["runs"] if run["name"].startswith("odd")]
    assert odd["name"] == r"odd/\x1b[2J"
    assert odd["metrics"] == {r"\x07": {"steps": [0], "values": [float("inf")]}}
    keras = {run["name"]: run["metrics"] for run in found["runs"] if "keras" in run["name"]}
    assert keras == {
        "keras/a": {
            "train/epoch_accuracy": {"steps": [0, 1], "values": [0.75, 0.75]},
            "validation/epoch_accuracy": {"steps": [0, 1], "values": [0.5, 0.5]},
        },
        "keras/b/train": {"epoch_accuracy": {"steps": [0, 1], "values": [0.75, 0.75]}},
    }
    assert found["left_out"] == [
        {"run": "anew", "reason": "it has no scalars"},
        {"run": "empty", "reason": "it has no scalars"},
        {"run": "text", "reason": "it has no scalars"},
    ]
    file = (
        "events.out.tfevents.1.host is damaged or still being written: read as far as it is whole"
    )
    assert found["notes"] == [f"damaged: {file}", f"torn: {file}"]


def test_logs_of_one_run_are_one_and_damage_is_named(
    there: There, read_there: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    there(tmp_path, script="write_wandb.py")
    found = read_there(tmp_path)
    runs = {run["id"]: run for run in found["runs"]}
    assert set(runs) == {"resumed", "summary", "nested", "torn"}
    resumed = runs["resumed"]
    assert resumed["metrics"]["acc"] == {"steps": [0, 1, 2], "values": [0.5, 0.625, 0.75]}
    assert resumed["params"] == {"lr": "0.2"}
    assert runs["summary"]["name"] == r"\x1b[2J"
    assert runs["summary"]["params"] == {"group": "arm", "job_type": "train"}
    # Set once at the end, it stands at the last step.
    assert runs["summary"]["metrics"]["test.acc"] == {"steps": [1], "values": [0.875]}
    assert runs["nested"]["params"] == {"a.b": "[1, 2]", "a.c": "None"}
    nested = runs["nested"]["metrics"]
    assert nested["val.acc"] == {"steps": [0], "values": [0.5]}
    assert nested["loss"] == {
        "steps": [0, 1],
        "values": [pytest.approx(float("nan"), nan_ok=True), float("-inf")],
    }
    assert runs["torn"]["state"] == "running"
    steps = runs["torn"]["metrics"]["acc"]["steps"]
    assert steps == list(range(len(steps)))
    assert 50 < len(steps) < 150
    assert runs["torn"]["metrics"]["acc"]["values"] == [0.5 + step / 1024 for step in steps]
    assert found["left_out"] == [{"run": "run-no.wandb", "reason": "its log is damaged"}]
    assert found["notes"] == [
        "torn: run-torn.wandb is damaged or still being written: read as far as it is whole"
    ]

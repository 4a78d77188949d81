"""The bars of a terminal, driven by events."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import ProgressColumn

from normlab import progress
from normlab.records import EpochRecord
from normlab.study.events import (
    EpochEnded,
    RunBegan,
    RunWaits,
    TrialEnded,
    TrialStarted,
    TrialTakenOver,
)
from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study


def test_bars_count_trials_and_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "console", terminal)
    base = {"data": "digits", "model": "digits-small", "epochs": 2}
    arms = [{"label": "explodes", "set": {"lr": 1e12, "norm": "none"}}]
    content = {
        "name": "s",
        "question": "?",
        "base": base,
        "arms": arms,
        "factors": {"norm": ["batch"]},
    }
    plan = make_plan(Study.parse({**content, "seeds": 1}))
    with progress.reporter() as bars:
        assert isinstance(bars, progress.Bars)
        run_plan(plan, tmp_path, listener=bars)
        (overall,) = bars.progress.tasks
        # The trial that diverged early still fills its share of the bar.
        assert (overall.completed, overall.total) == (4, 4)
        assert overall.description == "2 of 2 trials"
    assert "batch, seed 0" in out.getvalue()


def test_a_trial_that_fails_before_it_started_has_no_bar_to_lose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO(), force_terminal=True))
    with progress.Bars() as bars:
        bars(RunBegan(study="s", trials=1, epochs=3, workers=1))
        bars(
            TrialEnded(
                id="a",
                arm="base",
                seed=0,
                planned_epochs=3,
                state="failed",
                epochs=0,
                test_accuracy=None,
                reason="the worker process was ended by SIGKILL",
            )
        )
        (overall,) = bars.progress.tasks
        assert (overall.completed, overall.total) == (3, 3)


def test_bars_of_trials_that_other_runs_take_or_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=True, width=100))
    first, second = (
        {"id": str(seed), "arm": "a", "seed": seed, "planned_epochs": 2} for seed in (0, 1)
    )
    ended: dict[str, Any] = {"state": "complete", "epochs": 2, "test_accuracy": 0.5}
    with progress.Bars() as bars:
        bars(RunBegan(study="s", trials=1, epochs=2, workers=1))
        bars(TrialStarted(**first, epochs=0))
        bars(TrialTakenOver(**first))
        assert len(bars.progress.tasks) == 1
        bars(RunWaits(study="s", trials=2))
        bars(RunBegan(study="s", trials=1, epochs=2, workers=1))  # the other one was killed
        bars(TrialStarted(**second, epochs=0))
        bars(TrialEnded(**second, **ended))
        (overall,) = bars.progress.tasks
        assert (overall.completed, overall.total) == (2, 2)
        assert overall.description == "1 of 1 trial"
    assert "taken over by another run" in out.getvalue()
    assert "in training by other runs" in out.getvalue()


def record(epoch: int) -> EpochRecord:
    scores: dict[str, Any] = {
        f"{split}_{name}": 0.5 for split in ("train", "validation", "test") for name in NAMES
    }
    return EpochRecord(epoch=epoch, lr=0.1, seconds=1.0, examples_per_second=1.0, **scores)


NAMES = ("loss", "accuracy", "macro_f1", "micro_f1")


def test_time_left_is_right_where_epochs_come_in_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    terminal = Console(file=io.StringIO(), force_terminal=True, get_time=lambda: clock[0])
    monkeypatch.setattr(progress, "console", terminal)
    with progress.Bars() as bars:
        bars(RunBegan(study="s", trials=16, epochs=160, workers=1, together=16))
        trials: list[dict[str, Any]] = [
            {"id": str(seed), "arm": "a", "seed": seed, "planned_epochs": 10} for seed in range(16)
        ]
        for trial in trials:
            bars(TrialStarted(**trial, epochs=2))
            for epoch in (1, 2):  # kept from before: they took no time
                bars(EpochEnded(**trial, record=record(epoch)))
        overall, *others = bars.progress.tasks
        assert sum(task.visible for task in others) == 8
        assert bars.overall_pace.seconds_left(overall.remaining or 0, clock[0]) is None
        for epoch in (3, 4):
            clock[0] += 60.0
            for trial in trials:
                bars(EpochEnded(**trial, record=record(epoch)))
        column = bars.progress.columns[-1]
        assert isinstance(column, ProgressColumn)
        # Two of ten minutes' epochs are trained, and two were before: six minutes are left.
        assert str(column.render(overall)) == "0:06:00"
        assert str(column.render(others[0])) == "0:06:00"
        clock[0] += 45.0
        assert str(column.render(overall)) == "0:05:15"

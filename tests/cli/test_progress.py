"""The bars of a terminal, driven by events."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from normlab import progress
from normlab.study.events import RunBegan, TrialEnded
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

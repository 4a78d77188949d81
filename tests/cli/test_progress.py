"""The bars of a terminal, driven by messages."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from normlab.cli import progress
from normlab.study.engines import Failed, Task
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
    with progress.reporter(plan) as bars:
        assert isinstance(bars, progress.Bars)
        run_plan(plan, tmp_path, observer=bars)
        (overall,) = bars.progress.tasks
        # The trial that diverged early still fills its share of the bar.
        assert (overall.completed, overall.total) == (4, 4)
        assert overall.description == "2 of 2 trials"
    assert "batch, seed 0" in out.getvalue()


def test_a_trial_that_fails_before_it_started_has_no_bar_to_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO(), force_terminal=True))
    base = {"data": "digits", "model": "digits-small", "epochs": 3}
    plan = make_plan(Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1}))
    (trial,) = plan.trials.values()
    task = Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=trial.seed, folder=tmp_path)
    with progress.Bars(plan) as bars:
        bars.begin([task], 1)
        bars.observe(Failed(trial.id, "the worker process was ended by SIGKILL"))
        (overall,) = bars.progress.tasks
        assert (overall.completed, overall.total) == (3, 3)

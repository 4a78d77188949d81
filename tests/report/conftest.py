"""A finished study to report on, run once for all of these tests."""

from pathlib import Path

import pytest

from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study

QUESTION = "Does <norm> matter & how much?"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with 3 arms x 2 seeds x 3 epochs, one arm diverged."""
    runs = tmp_path_factory.mktemp("runs")
    study = Study.parse(
        {
            "name": "tiny",
            "question": QUESTION,
            "base": {"data": "digits", "model": "digits-small", "epochs": 3, "lr": 0.05},
            "factors": {"norm": ["batch", {"kind": "group", "groups": 32}]},
            "arms": [{"label": "<b>exploding</b>", "set": {"norm": "none", "lr": 1e12}}],
            "seeds": 2,
        }
    )
    run_plan(make_plan(study), runs)
    return runs / "tiny"

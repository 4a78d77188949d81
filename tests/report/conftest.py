"""A finished study to report on, run once for all of these tests."""

from pathlib import Path

import pytest

from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from tests.report.kinds import EVERY_KIND

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


@pytest.fixture(scope="session")
def illustrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with 4 arms x 2 seeds x 2 epochs and a figure of every kind."""
    runs = tmp_path_factory.mktemp("runs")
    study = Study.parse(
        {
            "name": "illustrated",
            "question": QUESTION,
            "base": {
                "data": "digits",
                "model": "digits-small",
                "epochs": 2,
                "lr": 0.05,
                "batch_size": 64,
                "l1": 0.0001,
                "agc": 0.02,
                "diagnostics": ["activations", "gradient_norm"],
            },
            "factors": {"norm": ["batch_instance", "layer"], "dropout.p": [0, 0.1]},
            "seeds": 2,
            "claims": [
                {"kind": "better", "arm": {"norm": "batch_instance"}, "over": {"norm": "layer"}},
                {"kind": "ranking", "order": [{"norm": "batch_instance"}, {"norm": "layer"}]},
                {"kind": "ranking", "order": [{"norm": "layer"}, {"norm": "batch_instance"}]},
            ],
            "published": [
                {"arm": {"norm": "layer", "dropout.p": 0}, "values": {"test_accuracy": 90}}
            ],
            "figures": EVERY_KIND,
        }
    )
    run_plan(make_plan(study), runs)
    return runs / "illustrated"

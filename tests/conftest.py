"""Fixtures that several parts of the suite share."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from normlab.cli import main
from normlab.recipe import Recipe
from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from normlab.train import lanes
from tests.kinds import EVERY_KIND

torch.set_num_threads(1)

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
"""A browser: playwright's own is never downloaded."""

DATA = os.environ.get("NORMLAB_DATA") or str(Path(__file__).parents[2] / "shared" / "data")
"""Where the real data sets lie, if they are here at all."""


@pytest.fixture(autouse=True)
def _config(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes what the user trusts."""
    monkeypatch.setenv("NORMLAB_CONFIG", str(tmp_path_factory.mktemp("config")))


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """How pytest-playwright starts its browser."""
    return {
        "executable_path": CHROMIUM,
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            # This machine under another name, as after DNS rebinding; nothing else has an address.
            "--host-resolver-rules=MAP rebound.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ],
    }


@pytest.fixture
def torch_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial trains by itself, on torch's path, whatever this processor has."""
    monkeypatch.setattr(lanes, "form", lambda *_: "torch's path is asked for")


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(DATA)
    if not (folder / "mnist").is_dir():
        pytest.skip("no real data: set NORMLAB_DATA to a folder that has them")
    monkeypatch.setenv("NORMLAB_DATA", str(folder))
    return folder


@pytest.fixture
def digits() -> dict[str, object]:
    """Plain data of the smallest recipe that trains."""
    return {"data": "digits", "model": "digits-small", "epochs": 2, "lr": 0.05, "batch_size": 64}


@pytest.fixture
def recipe(digits: dict[str, object]) -> Recipe:
    return Recipe.parse(digits)


@pytest.fixture
def normlab_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    """Run a command line in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["normlab", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


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
    """The folder of a study with 4 arms x 3 seeds x 2 epochs and a figure of every kind."""
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
            "seeds": 3,
            "analysis": {
                "alternatives": [
                    {"at": "best_validation"},
                    {"metric": "test_loss", "margin": 0.05, "paired": True},
                    {"collapsed": False, "at": "mean_of_last_2"},
                ]
            },
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

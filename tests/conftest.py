"""Fixtures that several parts of the suite share."""

import os
from pathlib import Path

import pytest
import torch

from normlab.recipe import Recipe

torch.set_num_threads(1)

DATA = os.environ.get("NORMLAB_DATA") or str(Path(__file__).parents[2] / "shared" / "data")
"""Where the real data sets lie, if they are here at all."""


@pytest.fixture(autouse=True)
def _config(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes what the user trusts."""
    monkeypatch.setenv("NORMLAB_CONFIG", str(tmp_path_factory.mktemp("config")))


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

"""A module of the user's that makes images, in a folder on Python's path."""

import sys
from pathlib import Path

import pytest

from normlab import data
from normlab.study.model_look import _built

IMAGES = """
from pathlib import Path
import numpy as np

def load(count=60, scale=1, seed=0):
    with Path("CALLS").open("a") as log:
        log.write("x")
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 60, (count, 8, 8)) + 90 * labels[:, None, None] // scale
    cut = count // 3
    return {
        "train": (images[cut:], labels[cut:]),
        "test": (images[:cut], labels[:cut]),
        "class_names": ["low", "middle", "high"],
    }
"""
BASE = {"data": "own_images:load", "model": "digits-small", "epochs": 2, "batch_size": 20}


def lie_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the module, and work in its folder."""
    (folder / "own_images.py").write_text(IMAGES)
    (folder / "own_pick.py").write_text("part = 0.5\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that is new."""
    for name in ("own_images", "own_pick"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("normlab.study.own._loaded", {})
    _built.cache_clear()
    data.forget()


def edit(path: Path, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    forget(monkeypatch)

"""What trials said of the test images: the files that a run leaves beside its store."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from normlab.frames.arrays import usual_arrays
from normlab.frames.load import Frames, once
from normlab.frames.tables import COUNTED
from normlab.lazy import pandas as pd

_LARGEST = 1 << 28
"""Bytes of a trial's answers, unpacked: 12 for each of 20 million images."""
_NAMES = ("labels", "predictions", "confidences")
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """One trial's answers, in the data set's order of the test images, (N,) each.

    Attributes:
        seed: The trial's.
        labels: The true classes.
        classes: The predicted ones.
        confidences: Their probabilities.
    """

    seed: int
    labels: Numbers
    classes: Numbers
    confidences: npt.NDArray[np.float64]

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Which images it got wrong."""
        return np.not_equal(self.classes, self.labels)


def predictions(frames: Frames, arm: str, folder: Path | None) -> list[Predictions]:
    """The answers of an arm's trials that count, seed by seed, as far as their files are whole.

    Args:
        frames: The study.
        arm: Its label.
        folder: The study's folder; None has no files.
    """
    if folder is None:
        return []
    known = frames.plan.arm.get(arm)
    classes = None if known is None else known.classes
    found = [_read(folder, *row, classes) for row in _counted(frames, arm)]
    return [one for one in found if one is not None]


def unread(frames: Frames, arms: Iterable[str], folder: Path | None) -> int:
    """How many trials of these arms count whose predictions are missing or damaged."""
    labels = dict.fromkeys(arms)
    there = sum(len(predictions(frames, label, folder)) for label in labels)
    return sum(len(_counted(frames, label)) for label in labels) - there


@once
def counted_by_arm(frames: Frames) -> dict[str, pd.DataFrame]:
    """The trials that count, by arm: `id`, `seed`, `test_images`. Arms without any are left out."""
    kept = [name for name in ("arm", "id", "seed", "test_images") if name in frames.trials]
    # Of a few columns: to cut all of them into thousands of arms takes seconds.
    trials = frames.trials.loc[frames.trials["state"].isin(COUNTED), kept]
    return {str(arm): of_arm for arm, of_arm in trials.groupby("arm", sort=False)}


def _counted(frames: Frames, arm: str) -> list[tuple[str, int]]:
    trials = counted_by_arm(frames).get(arm)
    if trials is None:
        return []
    return [(str(i), int(seed)) for i, seed in zip(trials["id"], trials["seed"], strict=True)]


def _read(folder: Path, trial: str, seed: int, classes: int | None) -> Predictions | None:
    path = folder / "artifacts" / trial / "predictions.npz"
    try:
        arrays = usual_arrays(path, _NAMES, _LARGEST) or _arrays(path)
        if arrays is None:
            return None
        labels, said, confidences = arrays
        found = Predictions(
            seed,
            labels.astype(np.int64),
            said.astype(np.int64),
            confidences.astype(np.float64),
        )
    except Exception:  # not there, or damaged: each decoder has errors of its own
        return None
    return found if _is_whole(found, classes) else None


def _arrays(path: Path) -> list[npt.NDArray[Any]] | None:
    """The arrays of a file as NumPy reads any npz; None of one that is no modest file."""
    if not _is_modest(path):
        return None
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return [arrays[name] for name in _NAMES]


def _is_whole(found: Predictions, classes: int | None) -> bool:
    """Whether the arrays are what a trial writes: one answer an image, classes that there are."""
    count = len(found.labels) if found.labels.ndim == 1 else 0
    arrays = (found.labels, found.classes, found.confidences)
    if not count or any(array.shape != (count,) for array in arrays):
        return False
    most = max(found.labels.max(), found.classes.max())
    least = min(found.labels.min(), found.classes.min())
    return bool(least >= 0 and (classes is None or most < classes))


def _is_modest(path: Path) -> bool:
    """Whether it is a file, no pipe that never ends, and unpacks to what answers can take."""
    if not path.is_file():
        return False
    with zipfile.ZipFile(path) as packed:
        return sum(member.file_size for member in packed.infolist()) <= _LARGEST

"""What trials said of the test images: the files that a run leaves beside its store."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from normlab.report.frames import Frames
from normlab.report.tables import COUNTED

_LARGEST = 1 << 28
"""Bytes of a trial's answers, unpacked: 12 for each of 20 million images."""
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
    """The answers of an arm's trials that count, seed by seed, as far as their files are there.

    Args:
        frames: The study.
        arm: Its label.
        folder: The study's folder; None has no files.
    """
    if folder is None:
        return []
    trials = frames.trials[(frames.trials["arm"] == arm) & frames.trials["state"].isin(COUNTED)]
    found = [_read(folder, row) for row in trials[["id", "seed"]].to_dict("records")]
    return [one for one in found if one is not None]


def _read(folder: Path, trial: dict[Any, Any]) -> Predictions | None:
    path = folder / "artifacts" / str(trial["id"]) / "predictions.npz"
    try:
        if not _is_modest(path):
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return Predictions(
                int(trial["seed"]),
                arrays["labels"].astype(np.int64),
                arrays["predictions"].astype(np.int64),
                arrays["confidences"].astype(np.float64),
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, MemoryError):  # not there, not whole
        return None


def _is_modest(path: Path) -> bool:
    """Whether it is a file, no pipe that never ends, and unpacks to what answers can take."""
    if not path.is_file():
        return False
    with zipfile.ZipFile(path) as packed:
        return sum(member.file_size for member in packed.infolist()) <= _LARGEST

"""Exports of a study to other tools: MLflow, TensorBoard, W&B, trackio, and its weights.

An export adds what is not there yet, and what an interruption left unfinished the next one
completes. It is no look at results: it shows what the report shows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from normlab.errors import UserError, unknown
from normlab.trackers.write import mlflow, safetensors, tensorboard, trackio, wandb
from normlab.trackers.write.exported import StudyRuns, to_export
from normlab.trackers.write.result import Exported

__all__ = ["WRITERS", "Exported", "export"]

WRITERS: dict[str, Callable[[StudyRuns, str, Path], Exported]] = {
    "mlflow": lambda study, dest, _: mlflow.write(study, dest),
    "safetensors": safetensors.write,
    "tensorboard": lambda study, dest, _: tensorboard.write(study, dest),
    "trackio": lambda study, dest, _: trackio.write(study, dest),
    "wandb": lambda study, dest, _: wandb.write(study, dest),
}
"""Tool -> what writes a study, for the place to write to and the study's run folder."""


def export(folder: Path, to: str, dest: str) -> Exported:
    """Write a study's finished trials and verdicts for another tool; see `normlab.export`.

    Raises:
        UserError: No such tool, its package is missing, the study was never run there or has no
            finished trial, or the place cannot be written to.
    """
    if to not in WRITERS:
        raise UserError(unknown("tool", to, WRITERS))
    if not dest:
        raise UserError("name the place to write to")
    study = to_export(folder)
    if not study.arms:
        raise UserError(f"{study.name} has no finished trial to export yet")
    return WRITERS[to](study, dest, folder)

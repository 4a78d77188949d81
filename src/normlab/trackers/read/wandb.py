"""Weights & Biases: the logs that its library writes, and the CSV files that its pages export."""

from __future__ import annotations

from pathlib import Path

from normlab.trackers.read import wandb_csv, wandb_log
from normlab.trackers.runs import Runs

WHAT = "logs of W&B (a folder wandb, run-*.wandb) or a CSV file exported from its page"


def recognises(source: Path) -> bool:
    """Whether it is a log of W&B, a folder with some, or a CSV file as its page exports it."""
    return bool(wandb_log.logs(source)) or wandb_csv.recognises(source)


def read(source: Path) -> Runs:
    """The runs of the logs or of the exported file."""
    logs = wandb_log.logs(source)
    return wandb_log.read(source, logs) if logs else wandb_csv.read(source)

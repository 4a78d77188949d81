"""Checkpoints and weights on disk: whole or not there, tensors and plain numbers only."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from normlab.records import EpochRecord


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on after a whole epoch: weights, optimizer, records so far."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: tuple[EpochRecord, ...]


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; a crash leaves the one from before."""
    content = {
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "history": [asdict(record) for record in checkpoint.history],
    }
    save_whole(content, path)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, or None if there is none or it cannot be read.

    A damaged file costs the epochs it held, never the trial: training starts over.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        history = tuple(EpochRecord(**record) for record in content["history"])
        return Checkpoint(content["model"], content["optimizer"], history)
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError, ValueError):
        return None


def save_whole(content: Any, path: Path) -> None:
    """Write to a temporary name in the same folder, sync, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def weights_sha256(state: dict[str, Tensor]) -> str:
    """Hash over names, shapes, dtypes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

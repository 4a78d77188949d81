"""Checkpoints and weights on disk: whole or not there, tensors and plain numbers only."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normlab.errors import fault_of_machine
from normlab.files import write_whole
from normlab.records import Check, EpochRecord


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on after a whole epoch: weights, optimizer, findings so far."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: tuple[EpochRecord, ...]
    checks: tuple[Check, ...] = ()
    place: dict[str, Any] = field(default_factory=dict)
    """Where it was trained: on whose bits it goes on; see `normlab.places`."""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, its SHA-256 first; a crash leaves the one from before."""
    content = to_bytes(
        {
            "model": checkpoint.model,
            "optimizer": checkpoint.optimizer,
            "history": [asdict(record) for record in checkpoint.history],
            "checks": [asdict(check) for check in checkpoint.checks],
            "place": checkpoint.place,
        }
    )
    write_whole(path, hashlib.sha256(content).digest() + content)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, or None if there is none or not a bit of it is to be trusted.

    A damaged file costs the epochs it held, never the trial: training starts over.

    Raises:
        OSError: The machine cannot read it now (too many open files): its epochs are not given up.
    """
    try:
        if not path.is_file():  # nor a pipe, which would never end
            return None
        raw = path.read_bytes()
    except OSError as error:
        if fault_of_machine(error):
            raise
        return None
    digest, packed = raw[:32], raw[32:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    content = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    history = tuple(EpochRecord(**record) for record in content["history"])
    checks = tuple(Check(**check) for check in content["checks"])
    return Checkpoint(
        content["model"], content["optimizer"], history, checks, content.get("place", {})
    )


def to_bytes(content: object) -> bytes:
    """Tensors and plain values as torch saves them."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def weights_sha256(state: dict[str, Tensor]) -> str:
    """Hash over names, shapes, dtypes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

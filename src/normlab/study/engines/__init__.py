"""Engines: what runs trials."""

from __future__ import annotations

import os
from typing import Literal

from normlab.errors import UserError
from normlab.study.engines.engine import (
    Ended,
    Engine,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Placed,
    Started,
    Task,
    Unit,
)
from normlab.study.engines.main_guard import check_main_guard
from normlab.study.engines.processes import ProcessEngine
from normlab.study.engines.serial import SerialEngine


def worker_count(*, workers: int | Literal["auto"], device: str, threads: int, units: int) -> int:
    """How many units of work are trained side by side.

    Args:
        workers: So many; "auto" is one per CPU core, and one on a GPU.
        device: "cpu" or "cuda".
        threads: CPU threads of each worker.
        units: No more workers than these.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    wanted = max(1, cores // threads) if device == "cpu" else 1
    return min(wanted if workers == "auto" else workers, max(units, 1))


def resolve_device(device: str) -> str:
    """Turn "auto" into "cpu" or "cuda", whichever there is; the others stay.

    Raises:
        UserError: Another word, or "cuda" where torch sees none.
    """
    import torch

    if device not in {"auto", "cpu", "cuda"}:
        raise UserError(f"device is '{device}': allowed are auto, cpu, cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("device is 'cuda', but torch sees no CUDA device here: use cpu or auto")
    return ("cuda" if available else "cpu") if device == "auto" else device


__all__ = [
    "Ended",
    "Engine",
    "EpochTrained",
    "Failed",
    "Faulted",
    "Message",
    "Placed",
    "ProcessEngine",
    "SerialEngine",
    "Started",
    "Task",
    "Unit",
    "check_main_guard",
    "resolve_device",
    "worker_count",
]

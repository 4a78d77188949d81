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

    return choose_device(
        device,
        has_gpu=torch.cuda.is_available(),
        without="torch sees no CUDA device here: use cpu or auto",
    )


def choose_device(wanted: str, *, has_gpu: bool, without: str) -> str:
    """The device that is meant by "auto", "cpu" or "cuda".

    Args:
        wanted: The word.
        has_gpu: Whether there is a GPU.
        without: What to say where "cuda" is wanted and there is none.

    Raises:
        UserError: Another word, or "cuda" where there is no GPU.
    """
    if wanted not in {"auto", "cpu", "cuda"}:
        raise UserError(f"device is '{wanted}': allowed are auto, cpu, cuda")
    if wanted == "cuda" and not has_gpu:
        raise UserError(f"device is 'cuda', but {without}")
    return ("cuda" if has_gpu else "cpu") if wanted == "auto" else wanted


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
    "choose_device",
    "resolve_device",
    "worker_count",
]

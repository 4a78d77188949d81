"""The work every engine does for a trial: resume or start, train, write files, report."""

from __future__ import annotations

import hashlib
import platform
import traceback
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from normlab.data import splits
from normlab.store import Artifact
from normlab.study.engines.base import Ended, EpochTrained, Failed, Message, Started, Task
from normlab.train import EpochDone, load_checkpoint, save_checkpoint, save_whole, train


def perform(task: Task, device: str) -> Iterator[Message]:
    """Train one trial on this process's threads; an exception becomes `Failed`, never escapes."""
    try:
        resume = load_checkpoint(task.checkpoint)
        yield Started(task.trial_id, provenance(device))
        # Sent again: the process may have died after the checkpoint and before the store.
        for record in resume.history if resume else ():
            yield EpochTrained(task.trial_id, record)
        data = splits(task.recipe)
        for event in train(task.recipe, task.seed, data, device=device, resume=resume):
            if isinstance(event, EpochDone):
                save_checkpoint(event.checkpoint, task.checkpoint)
                yield EpochTrained(task.trial_id, event.record)
            else:
                weights = _save_weights(task, event.weights)
                yield Ended(task.trial_id, event.result, (weights,))
    except Exception:
        yield Failed(task.trial_id, traceback.format_exc())


def provenance(device: str) -> dict[str, object]:
    """Where and with what a trial runs: recorded beside it, no part of its identity."""
    chip = torch.cuda.get_device_name(device) if device == "cuda" else _cpu_name()
    return {
        "normlab": version("normlab"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "chip": chip,
        "threads": torch.get_num_threads(),
    }


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def _save_weights(task: Task, weights: dict[str, torch.Tensor]) -> Artifact:
    relative = f"artifacts/{task.trial_id}/weights.pt"
    path = task.folder / relative
    save_whole({name: tensor.cpu() for name, tensor in weights.items()}, path)
    content = path.read_bytes()
    return Artifact(
        kind="weights",
        path=relative,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )

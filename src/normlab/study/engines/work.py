"""The work every engine does for a trial: resume or start, train, write files, report."""

from __future__ import annotations

import hashlib
import io
import platform
import traceback
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from normlab.data import Splits, data_digest, splits
from normlab.errors import UserError, fault_of_machine, is_lack_of_memory
from normlab.files import write_whole
from normlab.norms.kernels import choose
from normlab.recipe import trial_id
from normlab.records import Artifact
from normlab.source import source_hash
from normlab.store import artifact_path
from normlab.study.engines.base import (
    Ended,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Started,
    Task,
)
from normlab.train import (
    EpochDone,
    Finished,
    keep_freed_memory,
    load_checkpoint,
    save_checkpoint,
    to_bytes,
    train,
)


def perform(task: Task, device: str) -> Iterator[Message]:
    """Train one trial on this process's threads; an exception becomes a message, never escapes.

    `Faulted` where the machine is to blame, `Failed` where the trial is.
    """
    try:
        keep_freed_memory()
        resume = load_checkpoint(task.checkpoint)
        history = resume.history if resume else ()
        yield Started(task.trial_id, provenance(device), len(history))
        # Sent again: the process may have died after the checkpoint and before the store.
        for record in history:
            yield EpochTrained(task.trial_id, record)
        data = _planned_data(task)
        for event in train(task.recipe, task.seed, data, device=device, resume=resume):
            if isinstance(event, EpochDone):
                save_checkpoint(event.checkpoint, task.checkpoint)
                yield EpochTrained(task.trial_id, event.record)
            else:
                weights = to_bytes({name: tensor.cpu() for name, tensor in event.weights.items()})
                said = _predictions(event, data.test.labels)
                files = (
                    _save(task, "weights", weights),
                    _save(task, "predictions", said),
                )
                yield Ended(task.trial_id, event.result, files)
    except Exception as error:
        fault = fault_of_machine(error)
        if fault is None:
            yield Failed(task.trial_id, traceback.format_exc())
        else:
            yield Faulted(task.trial_id, fault, is_lack_of_memory(error))


def _planned_data(task: Task) -> Splits:
    """The trial's images; files of the user's can change between a plan and its last trial."""
    if trial_id(task.recipe, task.seed, data_digest(task.recipe)) != task.trial_id:
        raise UserError("the images changed since the study was planned: run it again")
    return splits(task.recipe)


def provenance(device: str) -> dict[str, object]:
    """Where and with what a trial runs: recorded beside it, no part of its identity."""
    chip = torch.cuda.get_device_name(device) if device == "cuda" else _cpu_name()
    return {
        "normlab": version("normlab"),
        "code": source_hash(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "chip": chip,
        "threads": torch.get_num_threads(),
        "backend": choose(torch.empty(0, device=device)).NAME,
    }


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def _predictions(finished: Finished, labels: npt.NDArray[np.int64]) -> bytes:
    """The test images' labels, predicted classes and their probabilities, as an npz file."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        labels=labels.astype(np.int32),
        predictions=finished.predictions.numpy().astype(np.int32),
        confidences=finished.confidences.numpy().astype(np.float32),
    )
    return stream.getvalue()


def _save(task: Task, kind: str, content: bytes) -> Artifact:
    relative = artifact_path(task.trial_id, kind)
    write_whole(task.folder / relative, content)
    return Artifact(
        kind=kind,
        path=relative,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )

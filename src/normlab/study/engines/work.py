"""The work every engine does for a trial: resume or start, train, write files, report."""

from __future__ import annotations

import hashlib
import io
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normlab.data import Splits, data_digest, splits
from normlab.errors import UserError, fault_of_machine, is_lack_of_memory
from normlab.files import write_whole
from normlab.places import difference_text, differing
from normlab.recipe import trial_id
from normlab.recipe.data import OwnData
from normlab.records import Artifact
from normlab.store import artifact_path
from normlab.study.engines.engine import (
    Ended,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Placed,
    Started,
    Task,
)
from normlab.study.engines.provenance import provenance
from normlab.study.own import loaded_as_planned, remember_loaded
from normlab.train import (
    EpochDone,
    Finished,
    give_back_memory,
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
        yield from _perform(task, device)
    finally:  # model, data and optimizer are gone with the generator that held them
        give_back_memory(device)


def _perform(task: Task, device: str) -> Iterator[Message]:
    try:
        keep_freed_memory()
        place = provenance(device)
        resume, anew = load_checkpoint(task.checkpoint), ""
        if resume is not None and (fields := differing(resume.place, place)):
            # Going on would give a result that no machine gives from its beginning.
            anew = (
                f"{len(resume.history)} of {task.recipe.epochs} epochs were trained elsewhere "
                f"({difference_text(resume.place, place, fields)})"
            )
            resume = None
        history = resume.history if resume else ()
        own = {"own_code": task.code} if task.code else {}
        placed = False
        yield Started(task.trial_id, {**place, **own}, len(history), anew)
        # Sent again: the process may have died after the checkpoint and before the store.
        for record in history:
            yield EpochTrained(task.trial_id, record)
        try:
            data = _planned_data(task)
        except UserError as error:  # changed, or out of reach: no fault of the trial's
            yield Faulted(task.trial_id, str(error), may_help_alone=False)
            return
        if task.code is not None:
            remember_loaded(task.recipe, task.code)
        for event in train(task.recipe, task.seed, data, device=device, resume=resume):
            if not placed:
                placed = True
                yield Placed(task.trial_id, {**place, **own, **event.computes})
            if isinstance(event, EpochDone):
                save_checkpoint(replace(event.checkpoint, place=place), task.checkpoint)
                yield EpochTrained(task.trial_id, event.record)
            else:
                files = save_files(task.folder, task.trial_id, event, data.test.labels)
                yield Ended(task.trial_id, event.result, files)
    except Exception as error:
        fault = fault_of_machine(error)
        if fault is None:
            yield Failed(task.trial_id, traceback.format_exc())
        else:
            yield Faulted(task.trial_id, fault, is_lack_of_memory(error))


def _planned_data(task: Task) -> Splits:
    """The trial's images; files of the user's can change between a plan and its last trial."""
    if not loaded_as_planned(task.recipe, task.code_files, task.code):
        raise UserError("the code of the data, model or norm changed since the plan")
    if trial_id(task.recipe, task.seed, data_digest(task.recipe), task.code) != task.trial_id:
        if isinstance(task.recipe.data, OwnData):
            raise UserError(
                f"data '{task.recipe.data.kind}' returned other images than when the study was "
                "planned: it must return the same ones each time and in every process"
            )
        raise UserError("the images changed since the study was planned")
    return splits(task.recipe)


def save_files(
    folder: Path, trial: str, finished: Finished, labels: npt.NDArray[np.int64]
) -> tuple[Artifact, ...]:
    """Write what a trial leaves: its weights and what it says of each test image.

    Args:
        folder: The study's.
        trial: Its id.
        finished: How it ended.
        labels: Of the test images, (N,).
    """
    weights = to_bytes({name: tensor.cpu() for name, tensor in finished.weights.items()})
    said = _predictions(finished, labels)
    return (
        _save(folder, trial, "weights", weights),
        _save(folder, trial, "predictions", said),
    )


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


def _save(folder: Path, trial: str, kind: str, content: bytes) -> Artifact:
    relative = artifact_path(trial, kind)
    write_whole(folder / relative, content)
    return Artifact(
        kind=kind,
        path=relative,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )

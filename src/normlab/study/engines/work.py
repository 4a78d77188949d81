"""The work every engine does for a unit of trials: resume or start, train, write files, report."""

from __future__ import annotations

import hashlib
import io
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from normlab.data import Splits, data_digest, splits
from normlab.errors import UserError, fault_of_machine, is_lack_of_memory
from normlab.files import write_files
from normlab.places import TOGETHER, difference_text, differing
from normlab.recipe import trial_id
from normlab.recipe.data import OwnData
from normlab.records import Artifact
from normlab.store import artifact_path, staged_path
from normlab.study.engines.engine import (
    Ended,
    EpochTrained,
    Failed,
    Faulted,
    Message,
    Placed,
    Started,
    Task,
    Unit,
)
from normlab.study.engines.provenance import provenance
from normlab.study.own import loaded_as_planned, remember_loaded
from normlab.train import (
    Checkpoint,
    EpochDone,
    Finished,
    give_back_memory,
    keep_freed_memory,
    lanes,
    load_checkpoint,
    save_checkpoint,
    to_bytes,
    train,
)

_WORTH_KEEPING = 1.0
"""Seconds that a trial's last epoch took, from which on it has a checkpoint.

Its result follows at once, and the checkpoint would be removed again. Of a shorter epoch next to
nothing is lost if the process is killed in between, and a busy disk may take as long for its two
syncs.
"""


def perform(unit: Unit, device: str) -> Iterator[Message]:
    """Train a unit on this process's threads; an exception becomes a message, never escapes.

    `Faulted` where the machine is to blame, `Failed` where the trial is.
    """
    try:
        if unit[0].together:
            yield from _perform_together(unit, device)
        else:
            for task in unit:
                yield from _perform_alone(task, device)
    finally:  # model, data and optimizer are gone with the generator that held them
        give_back_memory(device)


def _perform_alone(task: Task, device: str) -> Iterator[Message]:
    try:
        trial = yield from _begin(task, device)
        if trial is not None:
            yield from trial.train(device)
    except Exception as error:
        yield _end_of(task, error)


def _perform_together(unit: Unit, device: str) -> Iterator[Message]:
    """Train trials side by side: each begins and ends as it would alone."""
    group: list[_Trial] = []
    others: list[_Trial] = []
    for task in unit:
        try:
            trial = yield from _begin(task, device)
        except Exception as error:
            yield _end_of(task, error)
        else:
            if trial is not None:
                (group if trial.goes_on_together else others).append(trial)
    if group:
        yield from _train_group(group, device)
    for trial in others:
        try:
            yield from trial.train(device)
        except Exception as error:
            yield _end_of(trial.task, error)


def _train_group(group: list[_Trial], device: str) -> Iterator[Message]:
    left = dict(enumerate(group))
    try:
        yield from _events(left, device)
    except Exception as error:
        if fault_of_machine(error) is not None or len(group) == 1:
            for trial in left.values():
                yield _end_of(trial.task, error)
            return
    # Where it ended for all of them, one may be the cause: each again by itself.
    for trial in left.values():
        yield from _perform_together((trial.task,), device)


def _events(left: dict[int, _Trial], device: str) -> Iterator[Message]:
    """Train trials of one form, and take each out of `left` when it has come to its end."""
    given = [
        lanes.GroupTrial(
            recipe=trial.task.recipe, seed=trial.task.seed, splits=trial.data, resume=trial.resume
        )
        for trial in left.values()
    ]
    for index, event in lanes.train_group(given, device=device, probes=True):
        if index not in left:  # what it came to could not be stored
            continue
        trial = left[index]
        try:
            yield from trial.take(event)
        except Exception as error:
            del left[index]
            yield _end_of(trial.task, error)
        else:
            if isinstance(event, Finished):
                del left[index]
    if left:
        raise RuntimeError(f"training ended before {len(left)} of {len(given)} trials")


@dataclass
class _Trial:
    """A trial that is ready to be trained.

    Attributes:
        task: What is trained.
        place: Where.
        own: What the provenance says of its own code.
        resume: Where it goes on.
        data: Its images.
        is_placed: Whether it was told how the trial computes.
        told_at: When its last epoch was told, or it was made, on `time.perf_counter`.
    """

    task: Task
    place: dict[str, Any]
    own: dict[str, str]
    resume: Checkpoint | None
    data: Splits
    is_placed: bool = False
    told_at: float = field(default_factory=time.perf_counter)

    @property
    def goes_on_together(self) -> bool:
        """Whether lanes train it: a trial that was started keeps its path, for its bits' sake."""
        return self.task.together and (self.resume is None or TOGETHER in self.resume.place)

    def train(self, device: str) -> Iterator[Message]:
        """Train it on torch's path; whatever it raises is the caller's."""
        recipe, seed = self.task.recipe, self.task.seed
        for event in train(recipe, seed, self.data, device=device, resume=self.resume):
            yield from self.take(event)

    def take(self, event: EpochDone | Finished | Exception) -> Iterator[Message]:
        """Keep what an epoch or the end brought, then tell it; an exception is raised."""
        if isinstance(event, Exception):
            raise event
        task = self.task
        if not self.is_placed:
            self.is_placed = True
            yield Placed(task.trial_id, {**self.place, **self.own, **event.computes})
        if isinstance(event, EpochDone):
            now = time.perf_counter()
            took, self.told_at = now - self.told_at, now
            is_kept = not event.is_last or took >= _WORTH_KEEPING
            if is_kept:
                # On which path is a part of where it goes on.
                path = {key: value for key, value in event.computes.items() if key == TOGETHER}
                save_checkpoint(
                    replace(event.checkpoint, place={**self.place, **path}), task.checkpoint
                )
            yield EpochTrained(task.trial_id, event.record, is_kept)
        else:
            labels = self.data.test.labels
            files = save_files(task.folder, task.trial_id, event, labels, task.run)
            yield Ended(task.trial_id, event.result, files)


def _begin(task: Task, device: str) -> Generator[Message, None, _Trial | None]:
    """Find out where a trial goes on, and its images; None where they cannot be had."""
    keep_freed_memory()
    place = provenance(device)
    resume, anew = load_checkpoint(task.checkpoint), ""
    if resume is not None:
        anew = _why_anew(task, resume, place)
        resume = None if anew else resume
    history = resume.history if resume else ()
    own = {"own_code": task.code} if task.code else {}
    yield Started(task.trial_id, {**place, **own}, len(history), anew)
    # Sent again: the process may have died after the checkpoint and before the store.
    for record in history:
        yield EpochTrained(task.trial_id, record)
    try:
        data = _planned_data(task)
    except UserError as error:  # changed, or out of reach: no fault of the trial's
        yield Faulted(task.trial_id, str(error), may_help_alone=False)
        return None
    if task.code is not None:
        remember_loaded(task.recipe, task.code)
    return _Trial(task, place, own, resume, data)


def _why_anew(task: Task, resume: Checkpoint, place: Mapping[str, object]) -> str:
    """Why a trial cannot go on from a checkpoint; empty where it can."""
    done = f"{len(resume.history)} of {task.recipe.epochs} epochs"
    if fields := differing(resume.place, place):
        # Going on would give a result that no machine gives from its beginning.
        return f"{done} were trained elsewhere ({difference_text(resume.place, place, fields)})"
    if TOGETHER in resume.place and not task.together:
        return f"{done} were trained together with other trials"
    return ""


def _end_of(task: Task, error: Exception) -> Failed | Faulted:
    """What an exception comes to."""
    fault = fault_of_machine(error)
    if fault is None:
        return Failed(task.trial_id, "".join(traceback.format_exception(error)))
    return Faulted(task.trial_id, fault, is_lack_of_memory(error))


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
    folder: Path,
    trial: str,
    finished: Finished,
    labels: npt.NDArray[np.int64],
    run: str | None = None,
) -> tuple[Artifact, ...]:
    """Write what a trial leaves: its weights and what it says of each test image.

    Args:
        folder: The study's.
        trial: Its id.
        finished: How it ended.
        labels: Of the test images, (N,).
        run: The id of a run that shares the folder: the files wait under its names.
    """
    contents = {
        "weights": to_bytes({name: tensor.cpu() for name, tensor in finished.weights.items()}),
        "predictions": _predictions(finished, labels),
    }
    paths = {kind: artifact_path(trial, kind) for kind in contents}
    written = paths if run is None else {kind: staged_path(trial, kind, run) for kind in contents}
    # Together: their folder's entries are brought to the disk once.
    write_files({folder / written[kind]: content for kind, content in contents.items()})
    return tuple(
        Artifact(
            kind=kind,
            path=paths[kind],
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
        )
        for kind, content in contents.items()
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

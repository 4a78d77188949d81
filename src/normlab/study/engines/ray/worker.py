"""What a node's worker does: train units as every engine does, and send what came of them.

Where it sees the study's folder it works in it. Elsewhere it has a folder of its own on the node,
and with each message travel the files that the driver must have before it hears of them.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from normlab import data
from normlab.files import host_mark, is_running, write_whole
from normlab.own_code.finding import find, look_anew
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
from normlab.study.engines.ray.shipping import Given, Images, Module, Parcel, Told

_NAME = "normlab-ray-"


class Work:
    """What one worker knows and keeps.

    Attributes:
        private: Its own folder on the node.
        last_words: The file that says where it was when it crashed.
        shares: Whether it works in the study's folder.
    """

    def __init__(self, given: Given) -> None:
        """Get ready.

        Raises:
            RuntimeError: Trials are to train on a GPU, and torch sees none: all would fail.
        """
        import torch

        if given.device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("Ray counts a GPU there, but torch sees no GPU")
        self.given = given
        _sweep(Path(tempfile.gettempdir()))
        self.private = Path(tempfile.mkdtemp(prefix=f"{_NAME}{host_mark()}-{os.getpid()}-"))
        self.last_words = str(self.private / "crash")
        self._crash = Path(self.last_words).open("w", encoding="utf-8")  # noqa: SIM115 (for life)
        faulthandler.enable(self._crash)
        self.shares = _sees(given)
        self.modules = self.private / "modules"
        self.modules.mkdir()
        self.sent: dict[str, tuple[int, int]] = {}  # of a checkpoint that the driver has
        known = set(sys.path)
        sys.path += [each for each in given.path if each not in known and Path(each).is_dir()]
        sys.path.insert(0, str(self.modules))
        current = Path(given.current)
        if not (self.shares and current.is_dir()):
            current = self.private / "current"
            current.mkdir()
        os.chdir(current)
        torch.set_num_threads(given.threads)

    def train(self, parcel: Parcel, images: Sequence[Any]) -> Iterator[Told]:
        """Train a unit.

        Args:
            parcel: What to train.
            images: References to the `Images` that it needs, in the cluster's store.
        """
        from normlab.study.engines.work import perform

        self._unpack(parcel)
        _fetch(parcel.unit, images)
        folder = self.given.folder if self.shares else self.private
        unit = tuple(_on_this_chip(replace(task, folder=folder)) for task in parcel.unit)
        for task in unit:
            if content := parcel.checkpoints.get(task.trial_id):
                write_whole(task.checkpoint, content)
                self.sent[task.trial_id] = _written(task.checkpoint)
        by_id = {task.trial_id: task for task in unit}
        for message in perform(unit, self.given.device):
            yield self._told(_with_node(message), by_id[message.trial_id])

    def leave(self) -> None:
        """Take its folder away."""
        os.chdir(tempfile.gettempdir())
        shutil.rmtree(self.private, ignore_errors=True)

    def _unpack(self, parcel: Parcel) -> None:
        if install(parcel.modules, self.modules):
            look_anew()
        for name, content in parcel.files.items():
            path = Path(name)
            if not path.is_absolute() and ".." not in path.parts and not path.exists():
                write_whole(Path.cwd() / path, content)

    def _told(self, message: Message, task: Task) -> Told:
        if self.shares:
            return Told(message=message)
        trial = message.trial_id
        files: Mapping[str, bytes] = {}
        if isinstance(message, EpochTrained):
            files = self._checkpoint(task)
        elif isinstance(message, Ended):
            left = task.folder / "artifacts" / trial
            files = {
                path.relative_to(task.folder).as_posix(): path.read_bytes()
                for path in sorted(left.rglob("*"))
                if path.is_file()
            }
            shutil.rmtree(left, ignore_errors=True)
        if isinstance(message, Ended | Failed | Faulted):
            task.checkpoint.unlink(missing_ok=True)
            self.sent.pop(trial, None)
        return Told(message=message, files=files)

    def _checkpoint(self, task: Task) -> dict[str, bytes]:
        """The checkpoint, if the driver does not have it as it is."""
        with contextlib.suppress(FileNotFoundError):
            written = _written(task.checkpoint)
            if self.sent.get(task.trial_id) != written:
                self.sent[task.trial_id] = written
                name = task.checkpoint.relative_to(task.folder).as_posix()
                return {name: task.checkpoint.read_bytes()}
        return {}


def _written(path: Path) -> tuple[int, int]:
    """What tells a file from the one that was there before: clocks alone may be coarse."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino


def install(modules: Iterable[Module], folder: Path) -> bool:
    """Write modules that this node lacks, or has otherwise; whether there were any.

    A package is written as a whole: half of it from here and half from there would be neither.
    """
    by_top: dict[str, list[Module]] = {}
    for module in modules:
        by_top.setdefault(module.name.partition(".")[0], []).append(module)
    written = False
    for those in by_top.values():
        if all(_has(module) for module in those):
            continue
        for module in those:
            path = folder / module.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(module.source)
            written = True
    return written


def _has(module: Module) -> bool:
    place = find(module.name)
    try:
        return place is not None and (
            place.file is not None and place.file.read_bytes() == module.source
        )
    except OSError:
        return False


def _fetch(unit: Iterable[Task], images: Sequence[Any]) -> None:
    """Have the images of tasks at hand, from the node's copy in the cluster's store."""
    import ray

    wanted = {task.recipe.data for task in unit}
    if all(map(data.is_given, wanted)):
        return
    for found in ray.get(list(images)):
        assert isinstance(found, Images)
        # The store's arrays cannot be written to, which torch warns of where it takes them as is.
        dataset = replace(
            found.dataset,
            train_labels=found.dataset.train_labels.copy(),
            test_labels=found.dataset.test_labels.copy(),
        )
        data.give(found.spec, found.facts, dataset)


def _on_this_chip(task: Task) -> Task:
    """The task; by itself where this node's processor has no lanes."""
    from normlab.train import lanes

    return replace(task, together=False) if task.together and not lanes.size() else task


def _with_node(message: Message) -> Message:
    if isinstance(message, Started | Placed):
        return replace(message, provenance={**message.provenance, "node": platform.node()})
    return message


def _sees(given: Given) -> bool:
    if given.marker is None:
        return False
    name, content = given.marker
    try:
        return (given.folder / name).read_bytes() == content
    except OSError:
        return False


def _sweep(folder: Path) -> None:
    """Remove what workers left here that were killed."""
    ours = f"{_NAME}{host_mark()}-"
    for path in folder.glob(f"{ours}*-*"):
        number = path.name.removeprefix(ours).partition("-")[0]
        if number.isdecimal() and not is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True)

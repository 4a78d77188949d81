"""What a worker is sent so that it trains as the driver would: settings, code, images, files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from normlab.data import Dataset, Facts
from normlab.errors import UserError
from normlab.own_code import content
from normlab.own_code.finding import find
from normlab.recipe.data import Data
from normlab.study.engines.engine import Message, Task
from normlab.study.engines.provenance import SWITCHES
from normlab.study.own import import_paths, own_code

_SETTINGS = (
    *SWITCHES,
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "NORMLAB_BACKEND",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "ONEDNN_MAX_CPU_ISA",
)
"""Variables by which the user decides how the libraries compute: the same on every node."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a worker is told once.

    Attributes:
        device: "cpu" or "cuda".
        threads: CPU threads.
        folder: The study's, as the driver names it.
        marker: A file in it, relative, and what the driver wrote into it: a worker that reads the
            same works in that folder.
        current: The driver's current folder.
        path: Where the driver's Python looks for modules.
        settings: Environment variables.
    """

    device: str
    threads: int
    folder: Path
    marker: tuple[str, bytes] | None
    current: str = field(default_factory=os.getcwd)
    path: tuple[str, ...] = field(default_factory=lambda: tuple(filter(None, sys.path)))
    settings: Mapping[str, str] = field(
        default_factory=lambda: {key: os.environ[key] for key in _SETTINGS if key in os.environ}
    )


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module of the user's: its path below a folder of Python's path, and its source."""

    name: str
    path: str
    source: bytes


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Tasks on their way to a worker.

    Attributes:
        unit: The tasks.
        modules: The user's own that they rest on.
        files: The study's `code`, by the names they are given under.
        checkpoints: By trial, where the worker does not see the study's folder.
    """

    unit: tuple[Task, ...]
    modules: tuple[Module, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A message on its way to the driver, with the files that must lie there before it is told.

    Attributes:
        message: What an engine yields.
        files: By their paths relative to the study's folder; none where the worker works in it.
    """

    message: Message
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Images:
    """A data set as the driver has it, the part that a recipe takes."""

    spec: Data
    facts: Facts
    dataset: Dataset


def modules_of(unit: Iterable[Task]) -> tuple[Module, ...]:
    """The user's own modules that tasks rest on, with the packages that they are in.

    Raises:
        UserError: One of them is no file that could be sent, or cannot be read.
    """
    names: dict[str, None] = {}
    # Once for all that rest on the same: every look reads the files.
    differing = {(import_paths(t.recipe), t.code_files): t for t in unit if t.code is not None}
    for task in differing.values():
        found = own_code(task.recipe, task.code_files)
        for part in found.parts if found else ():
            if part.startswith("file "):
                continue
            name, _, defined = part.partition(" (")
            if defined:
                raise UserError(
                    f"{name} is the script or notebook that runs: nodes of a Ray cluster cannot "
                    "import it. Put what the study names into a module of its own"
                )
            names |= dict.fromkeys(_with_packages(name))
    return tuple(module for name in names if (module := _module(name)) is not None)


def files_of(unit: Iterable[Task]) -> dict[str, bytes]:
    """The files that count as code of tasks, by the names they are given under."""
    names = {name for task in unit if task.code is not None for name in task.code_files}
    return {name: Path(name).expanduser().read_bytes() for name in sorted(names)}


def _with_packages(name: str) -> Iterable[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _module(name: str) -> Module | None:
    place = find(name)
    if place is None or place.file is None:
        return None
    inside = name.split(".")
    if place.file.stem == "__init__":
        path = Path(*inside, place.file.name)
    else:
        path = Path(*inside[:-1], place.file.name)
    return Module(name=name, path=path.as_posix(), source=content(place))

"""`image-folder`: images of the user's own, a folder for each class.

Either `train` and `test` (or `val`, `valid`, `validation`) with class folders in them, or class
folders, of which a fixed part of every class is held out for test. Its digest is that of the
decoded images with their classes, not of their place.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from normlab.data.dataset import Dataset, Facts, Images, Indices, Labels
from normlab.data.images.cache import Entry, decoded, signature
from normlab.data.images.options import options_of
from normlab.data.images.scan import Item, folders, scan
from normlab.data.subsets import stratified
from normlab.errors import UserError, unknown
from normlab.recipe.data import Data, ImageFolder

TRAIN = "train"
TEST = ("test", "val", "valid", "validation")
"""Folders of test images; the first of them that is there is taken."""

HELD_OUT = 0.2
_NAMED = 10  # broken files that a message or note names


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How the folder is laid out: `test` is the folder of test images, if it has one."""

    root: Path
    test: str | None
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def tops(self) -> tuple[str, ...]:
        """The folders right in the root that images are taken from."""
        return self.class_names if self.test is None else (TRAIN, self.test)

    @property
    def depth(self) -> int:
        """Which of the folders an image lies in is its class."""
        return 0 if self.test is None else 1


@dataclass(frozen=True, kw_only=True)
class _Read:
    """The folder's images with their classes; which are for training and which for test."""

    layout: _Layout
    images: Images
    labels: Labels
    train: Indices | slice
    test: Indices | slice
    counts: tuple[tuple[int, ...], tuple[int, ...]]
    digest: str
    notes: tuple[str, ...]


class FolderSet:
    """The entry of the catalog; the folder is the spec's `path`."""

    def __init__(self) -> None:
        # The folder is listed anew for its facts; what is trained on is what they were given for.
        self._last: tuple[Data, _Read] | None = None

    def facts(self, spec: Data) -> Facts:
        """What is known of the folder: it is decoded the first time, later its files are listed.

        Raises:
            UserError: No such folder, a layout that cannot be used, broken images.
        """
        read = _read(spec)
        self._last = spec, read
        return Facts(
            shape=options_of(spec).shape,
            class_names=read.layout.class_names,
            train_counts=read.counts[0],
            test_counts=read.counts[1],
            digest=read.digest,
            notes=read.notes,
        )

    def load(self, spec: Data) -> Dataset:
        """Map the decoded images.

        Raises:
            UserError: As `facts`.
        """
        read = self._last[1] if self._last and self._last[0] == spec else _read(spec)
        return Dataset(
            train_images=read.images[read.train],
            train_labels=read.labels[read.train],
            test_images=read.images[read.test],
            test_labels=read.labels[read.test],
            class_names=read.layout.class_names,
            max_value=255,
            digest=read.digest,
        )


def _read(spec: Data) -> _Read:
    assert isinstance(spec, ImageFolder)
    layout = _layout(spec)
    items = [i for i in scan(layout.root, layout.tops) if len(i.folders) > layout.depth]
    _check_classes(layout, items)
    options = options_of(spec)
    entry, images = decoded(layout.root, options, signature(items), lambda: items)
    notes = [*layout.notes, *_broken(spec, layout, entry, len(items))]
    if entry.broken:
        items = [item for item in items if item.name not in entry.broken]
    numbers = {name: number for number, name in enumerate(layout.class_names)}
    labels = np.array([numbers[item.folders[layout.depth]] for item in items], np.int64)
    train, test = _parts(spec, layout, items, labels)
    counts = [np.bincount(labels[part], minlength=len(numbers)).tolist() for part in (train, test)]
    for name, number in zip(layout.class_names, counts[0], strict=True):
        if not number:
            raise UserError(f"{_where(layout.root)}: class '{_shown(name)}' has no training image")
    untested = [_shown(n) for n, k in zip(layout.class_names, counts[1], strict=True) if not k]
    if untested:
        notes.append(f"no test image of {', '.join(untested)}")
    known = [options.shape, layout.class_names, layout.depth, *counts, entry.pixels]
    return _Read(
        layout=layout,
        images=images,
        labels=labels,
        train=train,
        test=test,
        counts=(tuple(counts[0]), tuple(counts[1])),
        digest=f"sha256:{hashlib.sha256(json.dumps(known).encode()).hexdigest()}",
        notes=tuple(notes),
    )


def _layout(spec: ImageFolder) -> _Layout:
    """Find out how the folder is laid out."""
    root = Path(spec.path).expanduser()
    if not root.is_dir():
        raise UserError(f"data.path is '{spec.path}': there is no folder {root.absolute()}")
    try:
        names = folders(root)
        inner = folders(root / TRAIN) if TRAIN in names else []
    except OSError as error:
        raise UserError(f"{_where(root)} cannot be read: {error}") from None
    tests = [name for name in TEST if name in names]
    if inner and not tests:
        raise UserError(
            f"{_where(root)} has the folder '{TRAIN}' and none of {', '.join(TEST)}. To hold "
            f"a part of the training images out for test, let path be {root / TRAIN}"
        )
    if inner and spec.test is not None:
        raise UserError(
            f"data.test is {spec.test}: it has no effect, for {root} has the folder '{tests[0]}'"
        )
    classes = inner or names
    if len(classes) < 2:
        raise UserError(
            f"{_where(root)} needs a folder for each class, two at least; it has "
            + (f"only '{_shown(classes[0])}'" if classes else "none")
        )
    notes = tuple(
        f"the folder '{name}' is not used: the test images are those of '{tests[0]}', "
        "validation images are set aside from the training images"
        for name in (tests[1:] if inner else ())
    )
    return _Layout(
        root=root, test=tests[0] if inner else None, class_names=tuple(classes), notes=notes
    )


def _check_classes(layout: _Layout, items: list[Item]) -> None:
    """Every class folder has images to train on, and every test image a class."""
    first = {TRAIN} if layout.test else set(layout.class_names)
    filled = {i.folders[layout.depth] for i in items if i.folders[0] in first}
    for name in layout.class_names:
        if name not in filled:
            place = layout.root / TRAIN / name if layout.test else layout.root / name
            raise UserError(f"the class folder {_shown(str(place))} has no images")
    for item in items:
        if item.folders[layout.depth] not in filled:
            message = unknown("class", item.folders[layout.depth], layout.class_names)
            raise UserError(f"{_where(layout.root)}, {_shown(item.name)}: {message}")


def _broken(spec: ImageFolder, layout: _Layout, entry: Entry, count: int) -> list[str]:
    """A note that names the broken images, unless they are to be refused."""
    if not entry.broken:
        return []
    named = [f"{_shown(name)} ({reason})" for name, reason in entry.broken.items()]
    more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
    what = f"{len(named)} of {count} images cannot be read"
    if spec.broken == "refuse":
        lines = "".join(f"\n  {line}" for line in [*named[:_NAMED], *more])
        raise UserError(
            f"{_where(layout.root)}: {what}:{lines}\n"
            "Replace or remove them, or leave them out with `broken: skip`."
        )
    return [f"{what} and are left out: {', '.join([*named[:_NAMED], *more])}"]


def _parts(
    spec: ImageFolder, layout: _Layout, items: list[Item], labels: Labels
) -> tuple[Indices | slice, Indices | slice]:
    """Where the training and the test images are."""
    if layout.test is None:
        fraction = HELD_OUT if spec.test is None else spec.test
        held = stratified(labels, round(fraction * len(labels)))
        return np.setdiff1d(np.arange(len(labels)), held), held
    # Sorted by folder, so each split is in one piece, and stays mapped from its file.
    tests = [item.folders[0] == layout.test for item in items]
    edge = tests.index(not tests[0]) if any(tests) else len(tests)
    pieces = slice(0, edge), slice(edge, len(items))
    return (pieces[1], pieces[0]) if tests[0] else pieces


def _where(root: Path) -> str:
    return f"data 'image-folder': {_shown(str(root))}"


def _shown(name: str) -> str:
    """A file's name as text, also where it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


IMAGE_FOLDER = FolderSet()

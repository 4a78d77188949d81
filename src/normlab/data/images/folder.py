"""`image-folder`: images of the user's own, a folder for each class.

Either folders of training and test images with class folders in them, or class folders, of which a
fixed part of every class is held out for test: layout.py tells which. Its digest is that of the
decoded images with their classes, not of their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from normlab.data.dataset import Dataset, Facts, Images, Indices, Labels
from normlab.data.images.cache import Entry, decoded
from normlab.data.images.layout import Layout, lay_out, where
from normlab.data.images.options import options_of
from normlab.data.images.scan import Item, scan, shown
from normlab.data.subsets import stratified
from normlab.errors import UserError, unknown
from normlab.recipe.data import Data, ImageFolder

HELD_OUT = 0.2
_NAMED = 10  # files that a message or note names
_PAIR = 2  # of equal images


@dataclass(frozen=True, kw_only=True)
class _Read:
    """The folder's images with their classes; which are for training and which for test."""

    layout: Layout
    images: Images
    labels: Labels
    train: Indices | slice
    test: Indices | slice
    counts: tuple[tuple[int, ...], tuple[int, ...]]
    sizes: tuple[tuple[tuple[int, int], int], ...]
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
            sizes=read.sizes,
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
    layout = lay_out(spec)
    items, left_out = scan(layout.root, layout.places)
    left_out |= dict.fromkeys(layout.loose, "in no class folder")
    _check_classes(layout, items, left_out)
    options = options_of(spec)
    entry, images = decoded(layout.root, options, items)
    notes = [*layout.notes, *_left_out(left_out), *_broken(spec, layout, entry, len(items))]
    if entry.broken:
        items = [item for item in items if item.name not in entry.broken]
    numbers = {name: number for number, name in enumerate(layout.class_names)}
    labels = np.array([numbers[layout.class_of(item)] for item in items], np.int64)
    train, test = _parts(spec, layout, items, labels)
    counts = [np.bincount(labels[part], minlength=len(numbers)).tolist() for part in (train, test)]
    for name, number in zip(layout.class_names, counts[0], strict=True):
        if not number:
            raise UserError(f"{where(layout.root)}: class '{shown(name)}' has no training image")
    if not any(counts[1]):
        few = f"data.test {spec.test or HELD_OUT} of {len(items)} images is none"
        inside = few if layout.test is None else f"'{shown('/'.join(layout.test))}' has none"
        raise UserError(f"{where(layout.root)}: no test image of any class: {inside}")
    untested = [shown(n) for n, k in zip(layout.class_names, counts[1], strict=True) if not k]
    if untested:
        notes.append(f"no test image of {', '.join(untested)}")
    notes += _twice(items, entry.equal, labels, test)
    # The 0 and 1 are older than the layouts: they keep the ids of trials.
    known = [options.shape, layout.class_names, int(layout.test is not None), *counts, entry.pixels]
    return _Read(
        layout=layout,
        images=images,
        labels=labels,
        train=train,
        test=test,
        counts=(tuple(counts[0]), tuple(counts[1])),
        sizes=tuple(((width, height), count) for width, height, count in entry.sizes),
        digest=f"sha256:{hashlib.sha256(json.dumps(known).encode()).hexdigest()}",
        notes=tuple(notes),
    )


def _check_classes(layout: Layout, items: Sequence[Item], left_out: Mapping[str, str]) -> None:
    """Every class folder has images to train on, and every test image a class."""
    filled = {layout.class_of(item) for item in items if not layout.is_test(item)}
    for name in layout.class_names:
        if name not in filled:
            place = shown(str(layout.root.joinpath(*layout.train, name)))
            inside = "/".join((*layout.train, name, ""))
            passed = {k: v for k, v in left_out.items() if k.startswith(inside)}
            said = "".join(f"; {note}" for note in _left_out(passed))
            raise UserError(f"the class folder {place} has no images{said}")
    for item in items:
        if layout.class_of(item) not in filled:
            message = unknown("class", layout.class_of(item), layout.class_names)
            raise UserError(f"{where(layout.root)}, {shown(item.name)}: {message}")


def _left_out(left_out: Mapping[str, str]) -> list[str]:
    """A note for each reason why files are not read, with their number and some names."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    return [f"left out, {why}: {len(names)} ({_some(names)})" for why, names in reasons.items()]


def _broken(spec: ImageFolder, layout: Layout, entry: Entry, count: int) -> list[str]:
    """A note that names the broken images, unless they are to be refused."""
    if not entry.broken:
        return []
    named = [f"{shown(name)} ({reason})" for name, reason in entry.broken.items()]
    what = f"{len(named)} of {count} images cannot be read"
    if spec.broken == "refuse":
        more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
        lines = "".join(f"\n  {line}" for line in [*named[:_NAMED], *more])
        raise UserError(
            f"{where(layout.root)}: {what}:{lines}\n"
            "Replace or remove them, or leave them out with `broken: skip`."
        )
    return [f"{what} and are left out: {_some(named)}"]


def _twice(
    items: Sequence[Item],
    equal: Sequence[Sequence[int]],
    labels: Labels,
    test: Indices | slice,
) -> list[str]:
    """Notes on equal images that stand in both splits, or in two classes."""
    is_test = np.zeros(len(items), bool)
    is_test[test] = True
    across = [rows for rows in equal if is_test[list(rows)].any() and not is_test[list(rows)].all()]
    notes = []
    if across:
        pairs = []
        for rows in across:
            tests = [row for row in rows if is_test[row]]
            first = next(row for row in rows if not is_test[row])
            pairs += [f"{items[row].name} = {items[first].name}" for row in tests]
        notes.append(
            f"{len(pairs)} of {is_test.sum()} test images are training images too: {_some(pairs)}"
        )
    if mixed := [rows for rows in equal if len({*labels[list(rows)].tolist()}) > 1]:
        pairs = [" = ".join(items[row].name for row in rows[:_PAIR]) for rows in mixed]
        notes.append(f"{sum(map(len, mixed))} images stand in two classes or more: {_some(pairs)}")
    return notes


def _parts(
    spec: ImageFolder, layout: Layout, items: Sequence[Item], labels: Labels
) -> tuple[Indices | slice, Indices | slice]:
    """Where the training and the test images are."""
    if layout.test is None:
        fraction = HELD_OUT if spec.test is None else spec.test
        held = stratified(labels, round(fraction * len(labels)))
        return np.setdiff1d(np.arange(len(labels)), held), held
    # Sorted by folder, so each split is in one piece, and stays mapped from its file.
    tests = [layout.is_test(item) for item in items]
    edge = tests.index(not tests[0]) if not all(tests) and any(tests) else len(tests)
    pieces = slice(0, edge), slice(edge, len(items))
    return (pieces[1], pieces[0]) if tests[0] else pieces


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*map(shown, names[:_NAMED]), *more])


IMAGE_FOLDER = FolderSet()

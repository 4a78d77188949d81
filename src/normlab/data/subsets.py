"""Which images of a set: its classes, so many of each, a part of each.

All draws are fixed: the same for every seed, arm and version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from normlab.data.dataset import Dataset, Facts, Images, Indices, Labels
from normlab.errors import UserError, unknown
from normlab.recipe.data import Data


def chosen_facts(facts: Facts, spec: Data) -> Facts:
    """The facts of the part that the spec's `classes`, `limit` and `test_limit` leave.

    Raises:
        UserError: Classes that the set does not have, or without one test image among them.
    """
    chosen = _chosen(facts.class_names, spec)
    names = [facts.class_names[c] for c in chosen]
    if facts.test_images and not any(facts.test_counts[c] for c in chosen):
        raise UserError(
            f"data.classes: no test image of any class: {facts.test_images} of '{spec.kind}' show "
            f"other classes than {', '.join(names)}"
        )
    return replace(
        facts,
        notes=(*facts.notes, *_first_numbers(names, spec)),
        class_names=tuple(facts.class_names[c] for c in chosen),
        train_counts=tuple(_limited(facts.train_counts[c], spec.limit) for c in chosen),
        test_counts=tuple(_limited(facts.test_counts[c], spec.test_limit) for c in chosen),
    )


def chosen_part(dataset: Dataset, spec: Data) -> Dataset:
    """The part itself; its labels count from 0 again, in the set's order of classes.

    Raises:
        UserError: Classes that the set does not have.
    """
    if spec.classes is None and spec.limit is None and spec.test_limit is None:
        return dataset
    chosen = _chosen(dataset.class_names, spec)
    train = _part(dataset.train_images, dataset.train_labels, chosen, spec.limit)
    test = _part(dataset.test_images, dataset.test_labels, chosen, spec.test_limit)
    return replace(
        dataset,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
        class_names=tuple(dataset.class_names[c] for c in chosen),
    )


def per_class(labels: Labels, limit: int) -> Indices:
    """Sorted indices of at most `limit` images of each class.

    A larger limit keeps all that a smaller one has, and what is drawn of a class does not depend
    on which other classes are asked for.
    """
    order = _order(len(labels))
    chosen = [order[labels[order] == c][:limit] for c in np.unique(labels)]
    return np.sort(np.concatenate(chosen)) if chosen else order


def stratified(labels: Labels, count: int) -> Indices:
    """Sorted indices of `count` images, each class in proportion (largest remainder)."""
    classes, sizes = np.unique(labels, return_counts=True)
    take = proportional(sizes, count)
    order = _order(len(labels))
    chosen = [order[labels[order] == c][:n] for c, n in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(chosen))


def proportional(sizes: Indices, count: int) -> Indices:
    """How many of `count` images each class gives, by its size (largest remainder)."""
    exact = sizes * (count / sizes.sum())
    take: Indices = np.floor(exact).astype(int)
    rest = np.argsort(-(exact - take), kind="stable")[: count - take.sum()]
    take[rest] += 1
    return take


def _order(count: int) -> Indices:
    # RandomState's stream is frozen for good, so that the draw is the same in every version.
    return np.random.RandomState(0).permutation(count)


def _limited(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


def _chosen(names: Sequence[str], spec: Data) -> tuple[int, ...]:
    """The numbers of the classes asked for, in the set's order."""
    if spec.classes is None:
        return tuple(range(len(names)))
    if isinstance(spec.classes, int):
        if spec.classes > len(names):
            raise UserError(
                f"data.classes is {spec.classes}: '{spec.kind}' has {len(names)} classes"
            )
        return tuple(range(spec.classes))
    for name in spec.classes:
        if name not in names:
            message = unknown(f"class of '{spec.kind}'", name, names)
            raise UserError(f"data.classes: {message}")
    return tuple(number for number, name in enumerate(names) if name in spec.classes)


def _first_numbers(names: Sequence[str], spec: Data) -> list[str]:
    """A note where the first classes in the set's order are not the first numbers."""
    if not isinstance(spec.classes, int) or not all(name.isdecimal() for name in names):
        return []
    if [*map(int, names)] == [*range(int(names[0]), int(names[0]) + len(names))]:
        return []
    return [f"data.classes {spec.classes}, the first in the order of text, are {', '.join(names)}"]


def _part(
    images: Images, labels: Labels, classes: Sequence[int], limit: int | None
) -> tuple[Images, Labels]:
    kept = np.arange(len(labels)) if limit is None else per_class(labels, limit)
    kept = kept[np.isin(labels[kept], classes)]
    renumbered = np.searchsorted(np.asarray(classes), labels[kept])
    return images[kept], renumbered.astype(np.int64)

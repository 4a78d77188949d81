"""Data sets by name, as arrays in memory, and their fixed splits. No torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from normlab.data import digits, mnist
from normlab.data.dataset import Dataset, Split, Splits
from normlab.data.splits import held_out, split
from normlab.recipe import Recipe


class Source(NamedTuple):
    """How to read a data set, and what is known of it without reading (or downloading) it.

    Attributes:
        load: Reads it.
        digest: Hash of its content.
        shape: (C, H, W) of an image.
        num_classes: Number of classes.
        train_images: Training images, those for validation included.
    """

    load: Callable[[], Dataset]
    digest: str
    shape: tuple[int, int, int]
    num_classes: int
    train_images: int


SOURCES: dict[str, Source] = {
    "digits": Source(digits.load, digits.DIGEST, (1, 8, 8), 10, 1198),
    "mnist": Source(mnist.load, mnist.DIGEST, (1, 28, 28), 10, 60_000),
}
"""kind -> source; the options of each kind are in `normlab.recipe.data`."""


def data_digest(recipe: Recipe) -> str:
    """Hash of the content of the recipe's data set."""
    return SOURCES[recipe.data.kind].digest


@lru_cache(maxsize=2)
def load(kind: str) -> Dataset:
    """The data set of that name, read once per process."""
    return SOURCES[kind].load()


def splits(recipe: Recipe) -> Splits:
    """The recipe's training, validation and test images, scaled."""
    return _splits(recipe.data.kind, recipe.validation, recipe.data.scaling)


@lru_cache(maxsize=2)
def _splits(kind: str, validation: float, scaling: str) -> Splits:
    return split(load(kind), validation=validation, scaling=scaling)  # type: ignore[arg-type]


__all__ = [
    "SOURCES",
    "Dataset",
    "Source",
    "Split",
    "Splits",
    "data_digest",
    "held_out",
    "load",
    "split",
    "splits",
]

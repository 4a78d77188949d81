"""What a data set is, known beforehand (`Facts`), once read (`Dataset`) and scaled (`Splits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from normlab.recipe.data import Data

Images = npt.NDArray[np.uint8 | np.float32]
Labels = npt.NDArray[np.int64]
Inputs = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a plan needs to know about a data set; for a published one nothing has to be read.

    Attributes:
        shape: (C, H, W) of an image.
        class_names: One name per class, in the order of the labels.
        train_counts: Training images of each class, those for validation included.
        test_counts: Test images of each class.
        digest: Hash of the content of the whole set, whatever part of it is asked for.
        notes: What a user should know about how the set was read.
        sizes: Of sets of image files whose files were read: width and height, and how many images
            have them, the most frequent first.
    """

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    digest: str
    notes: tuple[str, ...] = ()
    sizes: tuple[tuple[tuple[int, int], int], ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def train_images(self) -> int:
        """Training images of all classes, those for validation included."""
        return sum(self.train_counts)

    @property
    def test_images(self) -> int:
        """Test images of all classes."""
        return sum(self.test_counts)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images as integers or, of the user's own, as floats; in memory or mapped from a file.

    Attributes:
        train_images: Shape (N, C, H, W).
        train_labels: Shape (N,), classes from 0.
        test_images: Shape (M, C, H, W).
        test_labels: Shape (M,).
        class_names: One name per class.
        max_value: The largest value a pixel can have; of floats 1.
        digest: Hash of the content, as the facts have it.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    max_value: int
    digest: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width


class Source(Protocol):
    """An entry of the catalog: describes a whole data set and reads it."""

    def facts(self, spec: Data) -> Facts:
        """The facts about the whole set, whatever classes and limits the spec has."""

    def load(self, spec: Data) -> Dataset:
        """Read the whole set."""


@runtime_checkable
class Placed(Protocol):
    """A source whose files lie in a place of their own, or are downloaded."""

    def absent(self, spec: Data) -> str | None:
        """Why the set can neither be read here nor be downloaded; None where it can."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs (N, C, H, W) and labels (N,) of one split, ready for a model."""

    inputs: Inputs
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three splits of a trial; `validation` may be empty.

    Attributes:
        train: What is trained on.
        validation: Set aside from the training images.
        test: The publisher's, or held out.
        num_classes: Number of classes.
        class_names: One name per class.
        low: Shape (C,): what a pixel of value 0 became, per channel.
        high: Shape (C,): what a pixel of the largest value became.
    """

    train: Split
    validation: Split
    test: Split
    num_classes: int
    class_names: tuple[str, ...]
    low: Inputs
    high: Inputs

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an input."""
        _, channels, height, width = self.train.inputs.shape
        return channels, height, width

"""What a data set is once read: images and labels as arrays, with the split of the publisher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Inputs = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images as integers in memory.

    Attributes:
        train_images: Shape (N, C, H, W).
        train_labels: Shape (N,), classes from 0.
        test_images: Shape (M, C, H, W).
        test_labels: Shape (M,).
        class_names: One name per class.
        max_value: The largest value a pixel can have.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    max_value: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width


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

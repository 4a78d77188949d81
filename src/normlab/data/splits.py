"""From a data set to the three splits of a trial, scaled as the recipe says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from normlab.data.dataset import Dataset, Images, Indices, Inputs, Split, Splits
from normlab.data.subsets import proportional, stratified
from normlab.errors import UserError
from normlab.recipe.data import Scaling

Moments = npt.NDArray[np.float64]

_CHUNK = 2048  # images that are scaled at a time: copies of a whole set would not fit beside it


def split(dataset: Dataset, *, validation: float, scaling: Scaling) -> Splits:
    """Set a fixed part of the training images aside and scale everything.

    The validation images are the same for every seed and arm. Means and standard deviations come
    from the training images that remain: neither validation nor test moves them.

    Args:
        dataset: The images.
        validation: A fraction of the training images below 1, or a whole number of them.
        scaling: `unit` or `standard`, see `normlab.recipe.data.Scaling`.

    Raises:
        UserError: More validation images asked for than there are to give, or all that a class has.
    """
    images, labels = dataset.train_images, dataset.train_labels
    check_validation(np.bincount(labels).tolist(), dataset.class_names, validation)
    held = stratified(labels, held_out(len(labels), validation))
    kept = np.setdiff1d(np.arange(len(labels)), held)
    every = np.arange(len(dataset.test_labels))
    scale = _Scale(images, kept, dataset.max_value, scaling)
    low, high = (
        scale(np.full((1, images.shape[1], 1, 1), value, images.dtype), np.zeros(1, np.intp))
        for value in (0, dataset.max_value)
    )
    return Splits(
        train=Split(inputs=scale(images, kept), labels=labels[kept]),
        validation=Split(inputs=scale(images, held), labels=labels[held]),
        test=Split(inputs=scale(dataset.test_images, every), labels=dataset.test_labels),
        num_classes=len(dataset.class_names),
        class_names=dataset.class_names,
        low=low.ravel(),
        high=high.ravel(),
    )


def held_out(images: int, validation: float) -> int:
    """How many of the training images `validation` sets aside.

    Raises:
        UserError: All of them or more.
    """
    count = round(validation * images) if validation < 1 else int(validation)
    if count >= images:
        raise UserError(
            f"validation is {count} images: fewer than the {images} training images are allowed"
        )
    return count


def check_validation(
    train_counts: Sequence[int], class_names: Sequence[str], validation: float
) -> None:
    """Refuse a `validation` that takes all training images of a class.

    Args:
        train_counts: Training images of each class, those for validation included.
        class_names: The classes.
        validation: As in `split`.

    Raises:
        UserError: The class would stay in the network's output, and no training image would show
            it; or all training images are asked for.
    """
    sizes = np.array(train_counts)
    taken = proportional(sizes, held_out(int(sizes.sum()), validation))
    for name, size, count in zip(class_names, sizes, taken, strict=False):
        if size and size == count:
            raise UserError(
                f"validation {validation:g} takes {count} of the {size} training images of class "
                f"'{name}' and leaves none to train on: give the class more images (data.limit), "
                "set fewer aside, or choose classes without it (data.classes)"
            )


class _Scale:
    """Pixels to inputs, with the constants taken from the training images."""

    def __init__(self, images: Images, kept: Indices, max_value: int, scaling: Scaling) -> None:
        channels = images.shape[1]
        mean = np.zeros(channels)
        std = np.full(channels, float(max_value))
        if scaling == "standard":
            mean, variance = _moments(images, kept)
            std = np.where(variance > 0, np.sqrt(variance), 1.0)
        self.mean = mean.astype(np.float32)[:, None, None]
        self.std = std.astype(np.float32)[:, None, None]

    def __call__(self, images: Images, indices: Indices) -> Inputs:
        """The inputs (N, C, H, W) of the images at `indices`."""
        inputs = np.empty((len(indices), *images.shape[1:]), np.float32)
        for start, chunk in _chunks(images, indices):
            part = inputs[start : start + len(chunk)]
            np.subtract(chunk, self.mean, out=part, dtype=np.float32)
            part /= self.std
        return inputs


def _chunks(images: Images, indices: Indices) -> Iterator[tuple[int, Images]]:
    for start in range(0, len(indices), _CHUNK):
        yield start, images[indices[start : start + _CHUNK]]


def _moments(images: Images, indices: Indices) -> tuple[Moments, Moments]:
    """Mean and biased variance of each channel, shape (C,), in float64."""
    mean, variance = np.zeros(images.shape[1]), np.zeros(images.shape[1])
    if images.dtype == np.uint8:
        # Sums over the histogram: exact, and no float copy of the images.
        values = np.arange(256.0)
        for channel, share in enumerate(_histogram(images, indices)):
            mean[channel] = (share @ values) / share.sum()
            variance[channel] = (share @ (values - mean[channel]) ** 2) / share.sum()
        return mean, variance
    count = len(indices) * images.shape[2] * images.shape[3]
    for _, chunk in _chunks(images, indices):
        mean += chunk.sum((0, 2, 3), dtype=np.float64) / count
    for _, chunk in _chunks(images, indices):
        apart = chunk.astype(np.float64) - mean[:, None, None]
        variance += np.square(apart).sum((0, 2, 3)) / count
    return mean, variance


def _histogram(images: Images, indices: Indices) -> npt.NDArray[np.int64]:
    """How often each value occurs, shape (C, 256)."""
    counts = np.zeros((images.shape[1], 256), np.int64)
    for _, chunk in _chunks(images, indices):
        for channel in range(images.shape[1]):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    return counts

"""From a data set to the three splits of a trial, scaled as the recipe says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from normlab.data.dataset import Dataset, Images, Inputs, Labels, Split, Splits
from normlab.errors import UserError
from normlab.recipe.data import Scaling


def split(dataset: Dataset, *, validation: float, scaling: Scaling) -> Splits:
    """Set a fixed part of the training images aside and scale everything.

    The validation images are the same for every seed and arm. Means and standard deviations come
    from the training images that remain: neither validation nor test moves them.

    Args:
        dataset: The images.
        validation: A fraction of the training images below 1, or a whole number of them.
        scaling: `unit` or `standard`, see `normlab.recipe.data.Scaling`.

    Raises:
        UserError: More validation images asked for than there are to give.
    """
    labels = dataset.train_labels
    count = held_out(len(labels), validation)
    held = _stratified(labels, count)
    kept = np.setdiff1d(np.arange(len(labels)), held)
    scale = _Scale(dataset.train_images[kept], dataset.max_value, scaling)
    low, high = (
        scale(np.full((1, dataset.train_images.shape[1], 1, 1), value, np.uint8))
        for value in (0, dataset.max_value)
    )
    return Splits(
        train=Split(inputs=scale(dataset.train_images[kept]), labels=labels[kept]),
        validation=Split(inputs=scale(dataset.train_images[held]), labels=labels[held]),
        test=Split(inputs=scale(dataset.test_images), labels=dataset.test_labels),
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


class _Scale:
    """Pixels to inputs, with the constants taken from the training images."""

    def __init__(self, train: Images, max_value: int, scaling: Scaling) -> None:
        channels = train.shape[1]
        self.mean = np.zeros(channels)
        self.std = np.full(channels, float(max_value))
        if scaling == "standard":
            # Sums over the histogram: exact, and no float copy of the images.
            values = np.arange(256.0)
            for channel in range(channels):
                share = np.bincount(train[:, channel].ravel(), minlength=256)
                self.mean[channel] = (share @ values) / share.sum()
                variance = (share @ (values - self.mean[channel]) ** 2) / share.sum()
                self.std[channel] = np.sqrt(variance) or 1.0

    def __call__(self, images: Images) -> Inputs:
        mean, std = (factor.astype(np.float32)[:, None, None] for factor in (self.mean, self.std))
        return (images.astype(np.float32) - mean) / std


def _stratified(labels: Labels, count: int) -> npt.NDArray[np.intp]:
    """Sorted indices of `count` images, each class in proportion (largest remainder)."""
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (count / len(labels))
    take = np.floor(exact).astype(int)
    rest = np.argsort(-(exact - take), kind="stable")[: count - take.sum()]
    take[rest] += 1
    # RandomState's stream is frozen for good, so that the split is the same in every version.
    order = np.random.RandomState(0).permutation(len(labels))
    chosen = [order[labels[order] == c][:n] for c, n in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(chosen))

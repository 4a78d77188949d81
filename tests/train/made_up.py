"""Images that are made up, for tests of how a model trains and not of what it learns."""

from __future__ import annotations

import numpy as np

from normlab.data import Split, Splits


def splits_of(shape: tuple[int, int, int], num_classes: int, images: int) -> Splits:
    """So many images of (C, H, W) to train on and to test, none to validate."""
    draw = np.random.default_rng(0)

    def some(count: int) -> Split:
        return Split(
            inputs=draw.random((count, *shape), dtype=np.float32),
            labels=draw.integers(num_classes, size=count),
        )

    ends = np.ones(shape[0], np.float32)
    return Splits(
        train=some(images),
        validation=some(0),
        test=some(images),
        num_classes=num_classes,
        class_names=tuple(map(str, range(num_classes))),
        low=0 * ends,
        high=ends,
    )

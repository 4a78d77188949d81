"""Images of a user's: the two forms that docs/own-data.md shows."""

import numpy as np
from torch.utils.data import Dataset


def stripes(images: int = 120, side: int = 8, seed: int = 0) -> dict[str, object]:
    """Grey images with a bright row, column or diagonal; a third of them is for test."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    pixels = rng.integers(0, 100, (images, side, side))
    places = rng.integers(0, side, images)
    for image, label, place in zip(pixels, labels, places, strict=True):
        if label == 0:
            image[place] += 150
        elif label == 1:
            image[:, place] += 150
        else:
            np.fill_diagonal(image, 250 - place)
    cut = images * 2 // 3
    return {
        "train": (pixels[:cut], labels[:cut]),
        "test": (pixels[cut:], labels[cut:]),
        "class_names": ["row", "column", "diagonal"],
    }


class Squares(Dataset[tuple[np.ndarray, int]]):
    """Color squares, large or small, in a split of a data set of torch's."""

    def __init__(self, train: bool) -> None:
        self.count, self.first = (60, 0) if train else (24, 1000)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng(self.first + index)
        image = rng.random((8, 8, 3), dtype=np.float32) / 4
        size = 2 + 3 * (index % 2)
        y, x = rng.integers(0, 9 - size, 2)
        image[y : y + size, x : x + size] += rng.uniform(0.4, 0.7, 3).astype(np.float32)
        return image, index % 2


def squares() -> dict[str, object]:
    return {"train": Squares(train=True), "test": Squares(train=False)}

"""For every augmentation: options that do something, of every branch, and options that do not."""

from typing import Any

import torch
from torch import Tensor

from normlab.augment import AUGMENTATIONS, Batch, Transform
from normlab.recipe.augment import AUGMENTATIONS as SPECS

Options = dict[str, Any]

_FILLS: list[Options] = [{"fill": fill} for fill in ("black", "nearest", "reflect")]
_SAMPLINGS: list[Options] = [
    {**fill, "interpolation": how} for fill in _FILLS for how in ("nearest", "bilinear")
]

ON: dict[str, list[Options]] = {
    "crop": [{"padding": 2, **fill} for fill in _FILLS],
    "horizontal_flip": [{"p": 0.5}],
    "vertical_flip": [{"p": 0.5}],
    "shift": [{"x": 0.2, "y": 0.3, **how} for how in _SAMPLINGS],
    "rotation": [{"degrees": 40, **how} for how in _SAMPLINGS],
    "affine": [
        {"degrees": 30, "shear": 20, "shift": 0.2, "scale": [0.6, 1.5], **how} for how in _SAMPLINGS
    ],
    "brightness": [{"strength": 0.4}, {"strength": 1.5}],
    "contrast": [{"strength": 0.4}, {"strength": 1.5}],
    "cutout": [{"size": 4}, {"size": 5}, {"size": 4, "copies": 3}],
    "mixup": [{"alpha": 0.2}, {"alpha": 1.0}],
    "cutmix": [{"alpha": 1.0}],
    "label_smoothing": [{"strength": 0.1}],
}

OFF: dict[str, Options] = {
    "crop": {"padding": 0},
    "horizontal_flip": {"p": 0.0},
    "vertical_flip": {"p": 0.0},
    "shift": {"x": 0.0, "y": 0.0},
    "rotation": {"degrees": 0},
    "affine": {"degrees": 0, "shear": 0, "shift": 0, "scale": [1, 1]},
    "brightness": {"strength": 0},
    "contrast": {"strength": 0},
    "cutout": {"size": 0},
    "mixup": {"alpha": 0},
    "cutmix": {"alpha": 0},
    "label_smoothing": {"strength": 0},
}

CASES = [(kind, options) for kind, several in ON.items() for options in several]


def make(kind: str, **options: Any) -> Transform[Any]:
    return AUGMENTATIONS[kind](SPECS[kind].parse({"kind": kind, **options}))


def unlabelled(images: Tensor) -> Batch:
    return Batch(images, torch.zeros(len(images), dtype=torch.long))

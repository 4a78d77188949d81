"""Augmentation of whole batches beside a pipeline of PIL calls, image by image, as ratios.

    python benchmarks/augment.py                 # both sources' transforms, this machine's threads
    python benchmarks/augment.py --threads 1     # on one core

Each row times its sides in turn, A B A B, after a warm-up: median milliseconds of a batch, and the
median of the ratios PIL / ours. Both sides go from a list of indices to a batch of scaled float32
images. `ours` picks them from a tensor and augments them together; `PIL` makes an image of each,
transforms it as torchvision's PIL backend does, with draws by Python's `random`, turns it back into
an array, scales and stacks. `step` is forward, backward and SGD of the 7,704-parameter net on MNIST
at the same batch size, what the augmentation of source C has to hide behind.

Source C (MNIST): rotation 6, affine 7 with shear 7, shift 0.1 and scale 0.8 to 1.2, brightness and
contrast 0.4. Source A (CIFAR-10's size): rotation 15 with shifts of 0.1, horizontal flip, both sides
bilinear in one resampling with black beyond the border.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from timing import begin, interleaved, keep, options, ratio
from torch import Tensor
from torch.nn import functional as F

from normlab.augment import Pipeline
from normlab.models import build
from normlab.recipe import Recipe
from normlab.recipe.augment import AUGMENTATIONS

Picture = Image.Image
MEAN, STD = 0.1307, 0.3081
BATCHES = (64, 128, 256)
SHAPES = {"A": (3, 32, 32), "C": (1, 28, 28)}
STEPS: dict[str, dict[str, Any]] = {
    "rotation": {"kind": "rotation", "degrees": 6},
    "affine": {"kind": "affine", "degrees": 7, "shear": 7, "shift": 0.1, "scale": [0.8, 1.2]},
    "brightness": {"kind": "brightness", "strength": 0.4},
    "contrast": {"kind": "contrast", "strength": 0.4},
    "rotation and shift": {"kind": "affine", "degrees": 15, "shift": 0.1, "interpolation": "bilinear"},
    "flip": {"kind": "horizontal_flip"},
}  # fmt: skip
SOURCES = {
    "C": ("rotation", "affine", "brightness", "contrast"),
    "A": ("rotation and shift", "flip"),
}


def pil_affine(image: Picture, spec: dict[str, Any]) -> Picture:
    """RandomAffine on a PIL image: the inverse map about the center, whole shifts."""
    angle = math.radians(random.uniform(-spec["degrees"], spec["degrees"]))
    lean = math.tan(math.radians(random.uniform(-spec.get("shear", 0), spec.get("shear", 0))))
    scale = random.uniform(*spec.get("scale", (1, 1)))
    right, down = (round(random.uniform(-1, 1) * spec["shift"] * side) for side in image.size)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    a, b, c, d = cos - lean * sin, sin + lean * cos, -sin, cos
    x, y = image.width / 2, image.height / 2
    e, f = x - a * (x + right) - b * (y + down), y - c * (x + right) - d * (y + down)
    bilinear = spec.get("interpolation") == "bilinear"
    sampling = Image.Resampling.BILINEAR if bilinear else Image.Resampling.NEAREST
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, e, c, d, f), sampling)


PIL: dict[str, Callable[[Picture, dict[str, Any]], Picture]] = {
    "rotation": lambda image, s: image.rotate(random.uniform(-s["degrees"], s["degrees"])),
    "affine": pil_affine,
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(
        random.uniform(1 - s["strength"], 1 + s["strength"])
    ),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(
        random.uniform(1 - s["strength"], 1 + s["strength"])
    ),
    "rotation and shift": pil_affine,
    "flip": lambda image, s: (
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image
    ),
}


def theirs(arrays: np.ndarray, names: tuple[str, ...]) -> Callable[[Tensor], Tensor]:
    """The loop over images; arrays of shape (N, H, W) or (N, H, W, 3), uint8."""

    def run(batch: Tensor) -> Tensor:
        made = []
        for i in batch.tolist():
            image = Image.fromarray(arrays[i])
            for name in names:
                image = PIL[name](image, STEPS[name])
            made.append((np.asarray(image, dtype=np.float32) / 255 - MEAN) / STD)
        images = torch.from_numpy(np.stack(made))
        return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()

    return run


def ours(images: Tensor, names: tuple[str, ...]) -> Callable[[Tensor], Tensor]:
    """The batched pipeline; images of shape (N, C, H, W), scaled."""
    channels = images.shape[1]
    low = torch.full((channels,), -MEAN / STD)
    specs = [AUGMENTATIONS[STEPS[name]["kind"]].parse(STEPS[name]) for name in names]
    augment = Pipeline(specs, num_classes=10, low=low, high=low + 1 / STD)
    generator, labels = torch.Generator().manual_seed(0), torch.zeros(len(images), dtype=torch.long)
    return lambda batch: (
        augment(images.index_select(0, batch), labels.index_select(0, batch), generator).images
    )


def training_step(images: Tensor) -> Callable[[Tensor], None]:
    """Forward, backward and update of the net of source C."""
    recipe = Recipe.parse({"data": "mnist", "model": "mnist-7704", "dropout": 0.03})
    model = build(recipe, (1, 28, 28), 10).model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    labels = torch.arange(len(images)) % 10

    def run(batch: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()

    return run


def measure(source: str, names: tuple[str, ...], count: int, rounds: int) -> dict[str, Any]:
    """One row: these transforms on batches of that size."""
    shape = SHAPES[source]
    raw = torch.randint(0, 256, (1024, *shape), dtype=torch.uint8)
    scaled = (raw / 255 - MEAN) / STD
    arrays = (raw[:, 0] if shape[0] == 1 else raw.permute(0, 2, 3, 1)).contiguous().numpy()
    batch = torch.randperm(len(raw))[:count]
    runs: dict[str, Callable[[Tensor], object]] = {
        "ours": ours(scaled, names),
        "pil": theirs(arrays, names),
    }
    if source == "C":
        runs["step"] = training_step(scaled)
    times = interleaved({name: lambda r=run: r(batch) for name, run in runs.items()}, rounds)
    row: dict[str, Any] = {"source": source, "transforms": list(names), "batch": count}
    row |= {f"{name}_ms": round(1000 * median(taken), 3) for name, taken in times.items()}
    row |= {
        f"{name}/ours": round(ratio(times, name, "ours"), 2) for name in times if name != "ours"
    }
    return row


def main() -> None:
    given = options("Augmentation beside PIL, as ratios.", rounds=40).parse_args()
    begin(given)
    print(f"{'source':8}{'transforms':42}{'batch':>6}{'ours ms':>9}{'PIL ms':>9}{'ratio':>8}{'step ms':>9}")  # fmt: skip
    rows = []
    for source, names in SOURCES.items():
        for some in [*((name,) for name in names), names]:
            for count in BATCHES if some == names else (128,):
                row = measure(source, some, count, given.rounds)
                rows.append(row)
                print(
                    f"{source:8}{', '.join(some):42}{count:>6}{row['ours_ms']:>9.2f}"
                    f"{row['pil_ms']:>9.2f}{row['pil/ours']:>8.1f}{row.get('step_ms', ''):>9}",
                    flush=True,
                )
    keep(rows, given)


if __name__ == "__main__":
    main()

"""Training loops in plain PyTorch, as people write them; no benchmark, and nothing of normlab in it.

`loader_epoch` is the loop of the tutorials: a `DataLoader` over pictures that are transformed one by one.
`tensor_epoch` is what those write who have measured: images in one tensor, a batch an index, either
layout, the optimizer without a loop over parameters, nothing waited for within an epoch.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor, nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

Picture = Image.Image
Transform = Callable[[Picture], Picture]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Training:
    """How a loop trains.

    Attributes:
        optimizer: "sgd" or "adam".
        lr: Learning rate.
        momentum: Of SGD; beta1 of Adam.
        eps: Of Adam.
        precision: "float32" or "bfloat16", by autocast.
        layout: A name in `LAYOUTS`.
        l1: Weight of the sum of the absolute values of all parameters in the loss; 0 for none.
        l2: Weight of half the sum of their squares.
    """

    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    eps: float = 1e-8
    precision: str = "float32"
    layout: str = "contiguous"
    l1: float = 0.0
    l2: float = 0.0

    def made(self, net: nn.Module, **form: bool) -> optim.Optimizer:
        """The optimizer of a net; `form` is torch's `foreach` or `fused`."""
        if self.optimizer == "sgd":
            return optim.SGD(net.parameters(), lr=self.lr, momentum=self.momentum, **form)
        betas = (self.momentum, 0.999)
        return optim.Adam(net.parameters(), lr=self.lr, betas=betas, eps=self.eps, **form)

    def autocast(self) -> AbstractContextManager[object]:
        """Where the forward pass runs."""
        bfloat16 = self.precision == "bfloat16"
        return torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext()

    def loss(self, net: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of logits (N, K) and classes (N,), and the penalties."""
        loss = F.cross_entropy(logits, labels)
        if self.l1:
            loss = loss + self.l1 * sum(p.abs().sum() for p in net.parameters())
        if self.l2:
            loss = loss + self.l2 / 2 * sum(p.square().sum() for p in net.parameters())
        return loss


def affine(
    *,
    degrees: float,
    shear: float = 0.0,
    shift: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
    bilinear: bool = False,
) -> Transform:
    """RandomAffine of a picture: the inverse map about the center, whole shifts, black beyond."""
    sampling = Image.Resampling.BILINEAR if bilinear else Image.Resampling.NEAREST

    def run(image: Picture) -> Picture:
        angle = math.radians(random.uniform(-degrees, degrees))
        lean = math.tan(math.radians(random.uniform(-shear, shear)))
        times = random.uniform(*scale)
        right, down = (round(random.uniform(-1, 1) * shift * side) for side in image.size)
        cos, sin = math.cos(angle) / times, math.sin(angle) / times
        a, b, c, d = cos - lean * sin, sin + lean * cos, -sin, cos
        x, y = image.width / 2, image.height / 2
        e, f = x - a * (x + right) - b * (y + down), y - c * (x + right) - d * (y + down)
        return image.transform(image.size, Image.Transform.AFFINE, (a, b, e, c, d, f), sampling)

    return run


def rotation(*, degrees: float) -> Transform:
    """RandomRotation of a picture."""
    return lambda image: image.rotate(random.uniform(-degrees, degrees))


def brightness(*, strength: float) -> Transform:
    """A picture times a random factor."""
    return lambda image: ImageEnhance.Brightness(image).enhance(
        random.uniform(1 - strength, 1 + strength)
    )


def contrast(*, strength: float) -> Transform:
    """A picture blended with its mean grey by a random factor."""
    return lambda image: ImageEnhance.Contrast(image).enhance(
        random.uniform(1 - strength, 1 + strength)
    )


TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "rotation": rotation,
    "affine": affine,
    "brightness": brightness,
    "contrast": contrast,
}
"""kind -> transform of one picture; the options are those of the recipe's augmentation."""


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures that become tensors one by one, by the steps of torchvision's `ToTensor` and `Normalize`.

    Args:
        images: (N, H, W) or (N, H, W, 3), uint8.
        labels: (N,).
        transforms: Applied to a picture, in this order.
        mean: Per channel, of values from 0 to 1.
        std: Likewise.
    """

    def __init__(
        self,
        images: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any],
        transforms: Sequence[Transform],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.images, self.labels = images, labels.tolist()
        self.transforms = transforms
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images[index])
        for transform in self.transforms:
            picture = transform(picture)
        pixels = torch.from_numpy(np.array(picture))
        pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        image = pixels.contiguous().to(torch.float32).div(255)
        return image.sub_(self.mean).div_(self.std), self.labels[index]


def loader(pictures: Pictures, batch_size: int, *, workers: int = 0, shuffle: bool = True) -> Any:
    """The DataLoader of the tutorials; its workers stay from epoch to epoch."""
    return DataLoader(
        pictures, batch_size, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0
    )


def loader_epoch(
    net: nn.Module, batches: Any, optimizer: optim.Optimizer, training: Training
) -> tuple[float, float]:
    """Train an epoch.

    Returns:
        Mean loss, and the share that was right.
    """
    net.train()
    total, right, seen = 0.0, 0, 0
    for images, labels in batches:
        optimizer.zero_grad()
        with training.autocast():
            logits = net(images.to(memory_format=LAYOUTS[training.layout]))
        loss = training.loss(net, logits.float(), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        right += (logits.argmax(dim=1) == labels).sum().item()
        seen += len(labels)
    return total / seen, right / seen


def loader_accuracy(net: nn.Module, batches: Any) -> float:
    """Share of images that the net gets right, in eval mode."""
    net.eval()
    right, seen = 0, 0
    with torch.no_grad():
        for images, labels in batches:
            right += (net(images).argmax(dim=1) == labels).sum().item()
            seen += len(labels)
    return right / seen


def tensor_epoch(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: optim.Optimizer,
    training: Training,
    *,
    batch_size: int,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> tuple[float, float]:
    """Train an epoch on images in memory.

    Args:
        net: In the layout of `training`.
        images: (N, C, H, W) in either layout: its batches have the layout of `training`.
        labels: (N,).
        optimizer: Of the net.
        training: How.
        batch_size: Images of a step.
        augment: From a batch to another.

    Returns:
        Mean loss, and the share that was right.
    """
    net.train()
    last = training.layout == "channels_last"
    stored = images.permute(0, 2, 3, 1).contiguous() if last else images
    total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
    for batch in torch.randperm(len(labels)).split(batch_size):
        given, wanted = stored.index_select(0, batch), labels.index_select(0, batch)
        given = given.permute(0, 3, 1, 2) if last else given
        if augment is not None:
            given = augment(given).contiguous(memory_format=LAYOUTS[training.layout])
        with training.autocast():
            logits = net(given)
        loss = training.loss(net, logits.float(), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            total += loss * len(batch)
            right += (logits.argmax(dim=1) == wanted).sum()
    return float(total) / len(labels), float(right) / len(labels)


def batched(
    specs: Sequence[dict[str, Any]], low: Tensor, high: Tensor
) -> Callable[[Tensor], Tensor]:
    """The same transforms on a whole batch by `grid_sample`, as those write them who have measured.

    Args:
        specs: `kind` and options of `TRANSFORMS`.
        low: The scaled value of black, (C,).
        high: That of white.
    """
    low, high = low[:, None, None], high[:, None, None]

    def between(count: int, least: float, most: float) -> Tensor:
        return torch.empty(count).uniform_(least, most)

    def moved(images: Tensor, spec: dict[str, Any]) -> Tensor:
        count, degrees, shear = len(images), spec["degrees"], spec.get("shear", 0.0)
        angle = torch.deg2rad(between(count, -degrees, degrees))
        lean = torch.tan(torch.deg2rad(between(count, -shear, shear)))
        scale, shift = between(count, *spec.get("scale", (1.0, 1.0))), 2 * spec.get("shift", 0.0)
        cos, sin = angle.cos() / scale, angle.sin() / scale
        across, down = between(count, -shift, shift), between(count, -shift, shift)
        rows = (cos - lean * sin, sin + lean * cos, across, -sin, cos, down)
        grid = F.affine_grid(
            torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False
        )
        mode = spec.get("interpolation", "nearest")
        return F.grid_sample(images - low, grid, mode, "zeros", align_corners=False) + low

    def blended(images: Tensor, spec: dict[str, Any]) -> Tensor:
        factor = between(len(images), 1 - spec["strength"], 1 + spec["strength"]).view(-1, 1, 1, 1)
        grey = images.mean((1, 2, 3), keepdim=True) if spec["kind"] == "contrast" else low
        return torch.lerp(grey.expand_as(images), images, factor).clamp(low, high)

    def run(images: Tensor) -> Tensor:
        for spec in specs:
            images = moved(images, spec) if "degrees" in spec else blended(images, spec)
        return images

    return run

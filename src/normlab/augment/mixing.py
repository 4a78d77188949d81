"""Mixup and cutmix: each image gets a part of another image of its batch, and of its target.

mixup (Zhang et al. 2018, arXiv:1710.09412)

    image = w image + (1 - w) other,   target likewise,   w ~ Beta(alpha, alpha)

cutmix (Yun et al. 2019, arXiv:1905.04899)

    a box of height H sqrt(1 - w), width W sqrt(1 - w) shows the other, target by area

The other is the image's partner in a random permutation of the batch. Each image has its own w and
box (the authors' codes draw one per batch). The box's center is uniform over the pixels and the
border clips it; its sides are rounded to whole pixels, odd ones included; the weight of the target
is then the share of pixels really kept.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from normlab.augment.boxes import random_boxes
from normlab.augment.transform import Batch, PixelRange, Transform, uniform, work_dtype
from normlab.recipe import augment


def beta(images: Tensor, alpha: float, generator: Generator) -> Tensor:
    """A draw of Beta(alpha, alpha) for each image, shape (N,), float32; alpha above 0.

    It is G / (G + G') with two gamma variables G of shape alpha, taken as logarithms: for a small
    alpha both are below the smallest float. G = G1 U^(1 / alpha) with G1 of shape alpha + 1 and U
    uniform (Marsaglia & Tsang 2000).
    """
    shape = torch.full((2, len(images)), alpha + 1, dtype=torch.float64, device=images.device)
    logs = torch._standard_gamma(shape, generator=generator).log_()
    drawn = torch.stack([uniform(images, 0, 1, generator) for _ in range(2)])
    logs += torch.log1p(-drawn.double()) / alpha
    return torch.sigmoid(logs[0] - logs[1]).float()


def mixup(batch: Batch, partners: Tensor, weights: Tensor) -> Batch:
    """Average images and targets with those of their partners.

    Args:
        batch: With targets.
        partners: Index of each image's partner, shape (N,).
        weights: What each image keeps of itself, shape (N,), 0 to 1.
    """
    keep = weights.to(work_dtype(batch.images))[:, None, None, None]
    others = batch.images.index_select(0, partners) * (1 - keep)
    images = (batch.images * keep).add_(others).to(batch.images.dtype)
    return batch._replace(images=images, targets=_mixed_targets(batch, partners, weights))


def cutmix(batch: Batch, partners: Tensor, boxes: Tensor, shares: Tensor) -> Batch:
    """Show the partners inside the boxes.

    Args:
        batch: With targets.
        partners: Index of each image's partner, shape (N,).
        boxes: 1 for pixels to take from the partner, else 0, shape (N, H, W).
        shares: Share of pixels in each box, shape (N,).
    """
    # Pixels are finite, so products with 0 and 1 choose exactly.
    inside = boxes[:, None]
    images = (batch.images * (1 - inside)).add_(batch.images.index_select(0, partners).mul_(inside))
    return batch._replace(images=images, targets=_mixed_targets(batch, partners, 1 - shares))


def _mixed_targets(batch: Batch, partners: Tensor, weights: Tensor) -> Tensor:
    assert batch.targets is not None, "mixing needs targets"
    keep = weights.to(batch.targets.dtype)[:, None]
    return batch.targets * keep + batch.targets[partners] * (1 - keep)


class Mixup(Transform[augment.Mixup]):
    """Mix whole images; `last`: `lambda`, the mean weight of an image itself."""

    soft = True
    mixes = True

    def apply(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """The batch mixed."""
        weights = beta(batch.images, self.spec.alpha, generator)
        self.last = {"lambda": weights.mean()}
        return mixup(batch, _partners(batch, generator), weights)


class Cutmix(Transform[augment.Cutmix]):
    """Mix by boxes; `last`: `lambda`, the mean share of an image that is itself."""

    soft = True
    mixes = True

    def apply(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """The batch mixed."""
        height, width = batch.images.shape[2:]
        side = (1 - beta(batch.images, self.spec.alpha, generator)).sqrt_()
        heights, widths = ((side * size).round_().long() for size in (height, width))
        boxes, shares = random_boxes(batch.images, heights, widths, generator)
        self.last = {"lambda": 1 - shares.mean()}
        return cutmix(batch, _partners(batch, generator), boxes, shares)


def _partners(batch: Batch, generator: Generator) -> Tensor:
    return torch.randperm(len(batch.labels), generator=generator, device=batch.images.device)

"""Norm layers in lanes: from sums over each image's pixels to the coefficients of affine maps.

Whoever writes a map y sums it, per image, channel and lane. Of these sums a norm makes coefficients
by which a reader of y normalizes it, m near y's mean so that y - m loses no digits; and in
backward, of sums over the gradient g at that view, those of y's gradient:

    view = (y - m) * a + b                           dy = A * g + B * (y - m) + D

    a = A = u * s     b = bias + u * s * (m - mu)    s = 1 / sqrt(variance + eps)
    B = -s^2 * average(u * g * x)                    D = B * (m - mu) - s * average(u * g)

mu, variance and averages are those of the block that a value belongs to, x = (y - mu) * s, and u is
the gain. Batch-instance norm is the sum of two such parts, each with its gate in u. Root mean
square norm takes no mean off: mu = m = 0, the variance is the mean square, and D = 0.

All is computed in float64, and a lane's bits depend on its own numbers alone: there are only
elementwise operations, and sums over the first axis of contiguous arrays, row after row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import float32, nn

from normlab import norms
from normlab.norms.kernels import Pooling

Narrow: TypeAlias = NDArray[np.float32]
Wide: TypeAlias = NDArray[np.float64]

_STATISTICS, _COUNT = ("running_mean", "running_var"), "num_batches_tracked"
_KINDS = {
    *(norms.BatchNorm, norms.GhostBatchNorm, norms.BatchInstanceNorm, norms.InstanceNorm),
    *(norms.GroupNorm, norms.LayerNorm, norms.RMSNorm),
}


def why_not(module: nn.Module) -> str | None:
    """Why a norm has no form in lanes, in words that follow its name; None if it has one."""
    is_a, kind = norms.traits(module), _kind(module)
    parameters = [p for p in module._parameters.values() if p is not None]
    buffers = {name for name, buffer in module._buffers.items() if buffer is not None}
    tracks = isinstance(kind, norms.BatchNorm) and getattr(module, "track_running_stats", False)
    tracked = {*_STATISTICS, _COUNT} if tracks else set()
    reasons = {
        "changes how convolutions are computed": is_a.is_parametrization,
        "follows the progress of the training": is_a.follows_progress,
        "contains its activation": is_a.contains_activation,
        "is not a norm by the statistics of blocks alone": kind is None,
        "has other statistics than its kind": buffers != tracked,
        "has a frozen parameter": not all(p.requires_grad for p in parameters),
        "is not of float32": any(p.dtype is not float32 for p in parameters),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _kind(module: nn.Module) -> norms.MomentNorm | None:
    """The layer that says what a norm computes, in place of torch's own; None for no such norm."""
    had: Any = module
    if type(module) in {nn.BatchNorm2d, norms.TorchBatchNorm}:
        return norms.BatchNorm(1, momentum=had.momentum, eps=had.eps)
    if type(module) in {nn.InstanceNorm2d, norms.TorchInstanceNorm}:
        return norms.InstanceNorm(1, eps=had.eps)
    if type(module) in {nn.GroupNorm, norms.TorchGroupNorm, norms.TorchLayerNorm}:
        return norms.GroupNorm(had.num_channels, groups=had.num_groups, eps=had.eps)
    return had if type(module) in _KINDS else None


class LaneNorm:
    """The coefficients of one norm layer for all lanes; one batch at a time.

    Args:
        module: The layer of one lane, with the options of all. Its activation is not applied.
        pixels: H * W of its map.

    Attributes:
        names: Its parameters, each (C, L).
        buffers: What `forward` moves. `num_batches_tracked`, (L,), is among them where it matters:
            without momentum, or if a batch counts more than once; else the caller counts batches.
        per_image: Whether each image has coefficients of its own; else all share them.

    Raises:
        ValueError: `why_not` knows a reason.
    """

    def __init__(self, module: nn.Module, pixels: int) -> None:
        kind, reason = _kind(module), why_not(module)
        if kind is None or reason:
            raise ValueError(f"{type(module).__name__} has no form in lanes: it {reason}")
        self._kind, self._pixels = kind, pixels
        self._gate: str = getattr(kind, "gate", "")
        self._momentum: float | None = getattr(kind, "momentum", None)
        self._per_split = getattr(kind, "running", "") == "per_split"
        self.per_image = type(kind) is not norms.BatchNorm
        self.names = tuple(name for name, p in module._parameters.items() if p is not None)
        counts = (_COUNT,) if self._momentum is None or self._per_split else ()
        tracks = module._buffers.get(_COUNT) is not None
        self.buffers: tuple[str, ...] = (*_STATISTICS, *counts) if tracks else ()

    def forward(
        self, sums: Narrow, parameters: Mapping[str, Narrow], buffers: Mapping[str, NDArray[Any]]
    ) -> Narrow:
        """Coefficients of the view; running statistics move as the module's do in training.

        Args:
            sums: Per image and channel a pivot K near the map's values, and the sums over pixels of
                y - K and (y - K)^2: (N, C, 3, L). Unless `per_image` the pivot of the first image
                is that of all.
            parameters: Each (C, L).
            buffers: Each (C, L), but for the count; changed in place.

        Returns:
            m, a and b: (S, C, 3, L), S is N if `per_image`, else 1.

        Raises:
            ValueError: The batch is too small for the kind.
        """
        kind, pixels = self._kind, self._pixels
        images = len(sums)
        kind.check_batch(images, pixels)
        with np.errstate(all="ignore"):  # a lane may have diverged
            if not self.per_image:  # all images are as one
                total = _total(sums)
                total[:, 0] = sums[0, :, 0]
                pixels, images = images * pixels, 1
                pivot, first, second = _apart(total[None])
            else:
                pivot, first, second = _apart(sums)
            if isinstance(kind, norms.PooledNorm):
                center, pooling = pivot + first / pixels, kind.pooling(images, pixels)
                squares = second - first * first / pixels
            else:
                center, pooling = np.zeros_like(pivot), Pooling("each", pivot.shape[1])
                squares = second + 2 * pivot * first + pixels * pivot * pivot
            self._weight = np.asarray(parameters.get("weight", 1.0), np.float64)
            self._parts = [_Part(pooling, kind.eps, pixels, center, squares)]
            self._shares = [np.ones(())]
            if self.buffers:
                self._move(self._parts[0], buffers)
            if self._gate:
                gate = parameters[self._gate].astype(np.float64)
                self._shares = [gate, 1 - gate]
                self._parts += [_Part(Pooling("each", 1), kind.eps, pixels, center, squares)]
            elif not self.per_image:
                center = self._parts[0].mean
            self._center = center.astype(np.float32).astype(np.float64)
            self._scale, shift = np.zeros(()), np.asarray(parameters.get("bias", 0.0), np.float64)
            for part, share in zip(self._parts, self._shares, strict=True):
                scale = self._weight * share * part.scale
                self._scale = self._scale + scale
                shift = shift + scale * (self._center - part.mean)
            return _together(self._center, self._scale, shift)

    def backward(self, sums: Narrow) -> tuple[Narrow, dict[str, Narrow]]:
        """Coefficients of the map's gradient, and the gradients of the parameters.

        Args:
            sums: Per image and channel the sums over pixels of g and g * (y - m): (N, C, 2, L).

        Returns:
            A, B and D, (S, C, 3, L) with the S of `forward`; and by `names` gradients of (C, L).
        """
        with np.errstate(all="ignore"):
            by_one, by_map = _apart(_total(sums)[None] if len(self._center) == 1 else sums)
            slope, shift, normalized = np.zeros(()), np.zeros_like(by_one), []
            for part, share in zip(self._parts, self._shares, strict=True):
                offset, u = self._center - part.mean, self._weight * share
                normalized.append((by_map + offset * by_one) * part.scale)
                steep = -part.scale * part.scale * part.averages(u * normalized[-1])
                slope, shift = slope + steep, shift + steep * offset
                if isinstance(self._kind, norms.PooledNorm):
                    shift -= part.scale * part.averages(u * by_one)
            found = {"bias": by_one, "weight": normalized[0]}
            if self._gate:
                (share, rest), (block, alone) = self._shares, normalized
                found["weight"] = share * block + rest * alone
                found[self._gate] = self._weight * (block - alone)
            gradients = {name: _total(found[name]).astype(np.float32) for name in self.names}
            return _together(self._scale, slope, shift), gradients

    def after_step(self, parameters: Mapping[str, Narrow]) -> None:
        """What the module does after an optimizer's step: batch-instance norm clamps its gate."""
        if isinstance(self._kind, norms.BatchInstanceNorm):
            np.clip(parameters[self._gate], 0, 1, out=parameters[self._gate])

    def _move(self, part: _Part, buffers: Mapping[str, NDArray[Any]]) -> None:
        """Move the running statistics by those of the batch, variances unbiased."""
        moments = [part.block_mean, part.block_var * (part.count / (part.count - 1))]
        if not self._per_split:
            weights = part.count / part.count.sum()
            moments = [_total(weights * moment)[None] for moment in moments]
        for new in zip(*moments, strict=True):
            if _COUNT in self.buffers:
                buffers[_COUNT][...] += 1
            share = 1 / buffers[_COUNT] if self._momentum is None else np.float64(self._momentum)
            for name, moment in zip(_STATISTICS, new, strict=True):
                buffers[name][...] = (1 - share) * buffers[name] + share * moment


class _Part:
    """A map normalized by blocks that share statistics, R runs of images by groups of channels.

    Made of the `mean` of each image and channel and the sum of squares about it, both (N, C, L).

    Attributes:
        count, block_mean, block_var: Number of values of each block, (R, 1, 1), mean and biased
            variance, (R, C / channels, L).
        mean, scale: The block's mean and 1 / sqrt(variance + eps) for each image and channel:
            (N, C, L), or (1, C, L) where all images are one run.
    """

    def __init__(self, pooling: Pooling, eps: float, pixels: int, mean: Wide, spread: Wide) -> None:
        self._channels, self._sizes = pooling.channels, pooling.sizes(len(mean))
        rows = np.array(self._sizes, np.float64)[:, None, None] * pooling.channels
        self.count = rows * pixels
        self.block_mean = self._blocks(mean) / rows
        self.mean = self._rows(self.block_mean)
        away = mean - self.mean  # the mean of the variances plus the variance of the means
        within = self._blocks(np.maximum(spread, 0)) / self.count
        self.block_var = within + self._blocks(away * away) / rows
        self.scale = self._rows(1 / np.sqrt(self.block_var + eps))

    def averages(self, sums: Wide) -> Wide:
        """A block's average of what is summed per image and channel, or over a run of all."""
        return self._rows(self._blocks(sums) / self.count)

    def _blocks(self, rows: Wide) -> Wide:
        """Sums over the images and channels of each block: (N, C, L) to (R, C / channels, L)."""
        if len(rows) != len(self._sizes):
            ends = np.cumsum(self._sizes)
            runs = zip(ends - self._sizes, ends, strict=True)
            rows = np.stack([_total(rows[start:end]) for start, end in runs])
        if self._channels == 1:
            return rows
        grouped = rows.reshape(len(rows), -1, self._channels, rows.shape[2])
        return _total(np.ascontiguousarray(np.moveaxis(grouped, 2, 0)))

    def _rows(self, blocks: Wide) -> Wide:
        """The block's value for each image and channel."""
        if self._channels > 1:
            blocks = np.repeat(blocks, self._channels, axis=1)
        several = 1 < len(self._sizes) != sum(self._sizes)
        return np.repeat(blocks, self._sizes, axis=0) if several else blocks


def _apart(sums: NDArray[np.floating[Any]]) -> Wide:
    """(N, C, K, L) as K contiguous arrays (N, C, L), in float64."""
    return np.ascontiguousarray(np.moveaxis(sums, 2, 0), np.float64)


def _together(*coefficients: Wide) -> Narrow:
    """Arrays that broadcast to (S, C, L) as one (S, C, K, L), in float32."""
    return np.stack(np.broadcast_arrays(*coefficients), axis=2).astype(np.float32)


def _total(rows: NDArray[np.floating[Any]]) -> Wide:
    """The sum over the first axis of a contiguous array, in float64, one row after the other."""
    return np.asarray(np.add.reduce(rows, axis=0, dtype=np.float64))

"""Ghost batch normalization (Hoffer, Hubara & Soudry 2017, arXiv:1705.08741).

Batch normalization by the statistics of consecutive parts of the batch:

    y[n] = gain * (x[n] - mean[s(n)]) / sqrt(var[s(n)] + eps) + bias,  s(n) the split of image n

The last split may be smaller; one with a single value per channel joins the one before it. There is
one pair of running buffers, used in eval at any batch size.

Differs from the paper in how the buffers move: once per batch, with the splits' statistics weighted
by their sizes, so that the momentum means what it means in batch norm. The paper moves them once
per split (`running="per_split"`), which makes 8 splits at 0.1 act as 0.57.
"""

from __future__ import annotations

from typing import Literal

from normlab.norms.batch import BatchNorm
from normlab.norms.kernels import Pooling


class GhostBatchNorm(BatchNorm):
    """Batch norm with the training statistics of parts of the batch.

    Args:
        num_channels: Number of channels C.
        splits: Number of parts; give this or `ghost_size`.
        ghost_size: Images in a part.
        running: When the buffers move: "per_batch", or "per_split" as in the paper.
        momentum: Weight of the new statistics in the running ones; None for the plain mean.
        eps: Added to the variance inside the root.
        affine: Learn gain and bias per channel.
        activation: Applied to the result.

    Raises:
        ValueError: Both or neither of the sizes given; in training, one value per channel.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        splits: int | None = None,
        ghost_size: int | None = None,
        running: Literal["per_batch", "per_split"] = "per_batch",
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__(
            num_channels, momentum=momentum, eps=eps, affine=affine, activation=activation
        )
        if (splits is None) == (ghost_size is None):
            raise ValueError("GhostBatchNorm needs exactly one of splits and ghost_size")
        if (splits or ghost_size or 0) < 1:
            name, value = ("splits", splits) if ghost_size is None else ("ghost_size", ghost_size)
            raise ValueError(f"{name} is {value}: at least 1 is needed")
        if running not in {"per_batch", "per_split"}:
            raise ValueError(f"running is '{running}': allowed are per_batch, per_split")
        self.splits = splits
        self.ghost_size = ghost_size
        self.running = running

    def sizes(self, images: int, pixels: int) -> tuple[int, ...]:
        """Number of images in each split of a batch of `images` images with `pixels` pixels."""
        size = self.ghost_size or -(-images // (self.splits or 1))
        whole, rest = images // size, images % size  # torch.compile knows no divmod
        sizes = [size] * whole + [rest] * (rest > 0)
        if pixels == 1 and size == 1:
            return (images,)  # each single value joins the one before it: one split remains
        if pixels == 1 and len(sizes) > 1 and sizes[-1] == 1:
            sizes[-2:] = [sizes[-2] + 1]
        return tuple(sizes)

    def pooling(self, images: int, pixels: int) -> Pooling:
        """The splits, each channel by itself."""
        return Pooling(self.sizes(int(images), pixels), 1)  # a trace is of one batch size

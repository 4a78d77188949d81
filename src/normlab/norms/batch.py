"""Batch normalization (Ioffe & Szegedy 2015, arXiv:1502.03167).

    mean[c] = mean over n, h, w of x        var[c] = biased variance over n, h, w of x
    y = gain * (x - mean) / sqrt(var + eps) + bias

In training the running buffers move with the *unbiased* variance of the batch,
running = (1 - momentum) * running + momentum * batch; in eval they take its place, so that an
image's result does not depend on its companions. As in torch, one value per channel raises, and
momentum None averages over all batches.
"""

from __future__ import annotations

from normlab.norms.kernels import Pooling
from normlab.norms.pooled import RunningPooledNorm


class BatchNorm(RunningPooledNorm):
    """Normalize per channel over batch, height and width; state as `torch.nn.BatchNorm2d`.

    Args:
        num_channels: Number of channels C.
        momentum: Weight of the new batch in the running statistics; None for the plain mean.
        eps: Added to the variance inside the root.
        affine: Learn gain and bias per channel.
        activation: Applied to the result.

    Raises:
        ValueError: In training, on input with one value per channel.
    """

    @property
    def num_features(self) -> int:
        """The name of torch for `num_channels`: `convert_sync_batchnorm` reads it.

        Raises:
            AttributeError: For a subclass, or with an activation, which SyncBatchNorm would drop.
        """
        if type(self) is not BatchNorm or self.activation is not None:
            raise AttributeError(f"{type(self).__name__} is more than torch's batch norm")
        return self.num_channels

    def pooling(self, images: int, pixels: int) -> Pooling:
        """All images together, each channel by itself."""
        return Pooling("all", 1)

    def check_batch(self, images: int, pixels: int) -> None:
        """Raise ValueError for one value per channel: its variance is meaningless."""
        if images * pixels == 1:
            raise ValueError(
                f"{type(self).__name__} needs more than 1 value per channel when training"
            )

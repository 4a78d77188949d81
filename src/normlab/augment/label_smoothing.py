"""Label smoothing (Szegedy et al. 2016, arXiv:1512.00567).

    target = (1 - strength) target + strength / K

with K classes, the true one included, as in torch's `cross_entropy(label_smoothing=...)`.
"""

from __future__ import annotations

from torch import Generator, Tensor

from normlab.augment.transform import Batch, PixelRange, Transform
from normlab.recipe import augment


def smooth(targets: Tensor, strength: float) -> Tensor:
    """Spread a part of the weight over all classes; targets of shape (N, K)."""
    return targets * (1 - strength) + strength / targets.shape[1]


class LabelSmoothing(Transform[augment.LabelSmoothing]):
    """Smooth the targets; `last`: `spread`, the weight that each target loses."""

    soft = True

    def apply(self, batch: Batch, generator: Generator, pixels: PixelRange) -> Batch:
        """The batch with smoothed targets."""
        assert batch.targets is not None, "label smoothing needs targets"
        targets = smooth(batch.targets, self.spec.strength)
        self.last = {"spread": (batch.targets - targets).clamp_(min=0).sum(1).mean()}
        return batch._replace(targets=targets)

"""What a backend is told of a pooled kind, and of the statistics that it moves."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from normlab.norms.kernels.pooling import Pooling


class Spec(NamedTuple):
    """All that a backend knows of a pooled layer; plain values, saved with the graph.

    Attributes:
        pooling: What shares one mean and one variance.
        eps: Added to variances inside roots.
        relu: Whether a ReLU follows in the same pass.
        affine: Whether there are a gain and a bias.
        gate: Name of the parameter that mixes this with instance norm; "" for none.
    """

    pooling: Pooling
    eps: float
    relu: bool
    affine: bool
    gate: str = ""


class Running(NamedTuple):
    """Running statistics that a backend moves with a forward pass.

    Attributes:
        mean: Shape (C,), as `var`; in the maps' dtype, or float32 for bfloat16 maps.
        var: Unbiased.
        batches: How often they moved: int64, no dimension.
        momentum: Share of the new statistics; None for the plain mean.
        per_split: Move once for each run of images, not once for all.
    """

    mean: Tensor
    var: Tensor
    batches: Tensor
    momentum: float | None
    per_split: bool = False

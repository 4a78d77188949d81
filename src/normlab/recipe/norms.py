"""The norms a recipe can name, with their options. The layers themselves are in `normlab.norms`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from normlab.recipe.component import Component, Own, catalog, chosen_from

PositiveInt = Annotated[int, Field(ge=1)]
Eps = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(ge=0, le=1)]


def _exactly_one(spec: Component, first: str, second: str, example: str) -> None:
    if (getattr(spec, first) is None) == (getattr(spec, second) is None):
        raise ValueError(
            f"norm '{spec.kind}' needs exactly one of '{first}' and '{second}', "
            f"for example {example}"
        )


class Norm(Component):
    """A norm; `called` is the name that the field has for it."""

    called: ClassVar[str]


class NoNorm(Norm):
    """No normalization: the identity."""

    title: ClassVar[str] = "norm 'none'"
    called: ClassVar[str] = "no norm"
    kind: Literal["none"]


class BatchNorm(Norm):
    """Statistics over batch, height and width, per channel (Ioffe & Szegedy 2015)."""

    title: ClassVar[str] = "norm 'batch'"
    called: ClassVar[str] = "BatchNorm"
    kind: Literal["batch"]
    momentum: Momentum = 0.1
    eps: Eps = 1e-5
    affine: bool = True


class GhostBatchNorm(Norm):
    """Batch norm by the statistics of parts of the batch (Hoffer et al. 2017)."""

    title: ClassVar[str] = "norm 'ghost_batch'"
    called: ClassVar[str] = "Ghost BatchNorm"
    kind: Literal["ghost_batch"]
    splits: PositiveInt | None = None
    ghost_size: PositiveInt | None = None
    running: Literal["per_batch", "per_split"] = "per_batch"
    momentum: Momentum = 0.1
    eps: Eps = 1e-5
    affine: bool = True

    @model_validator(mode="after")
    def _one_size(self) -> GhostBatchNorm:
        _exactly_one(self, "splits", "ghost_size", "{kind: ghost_batch, splits: 4}")
        return self


class InstanceNorm(Norm):
    """Statistics over height and width, per image and channel (Ulyanov et al. 2016)."""

    title: ClassVar[str] = "norm 'instance'"
    called: ClassVar[str] = "InstanceNorm"
    kind: Literal["instance"]
    eps: Eps = 1e-5
    affine: bool = True


class GroupNorm(Norm):
    """Statistics over height, width and a group of channels, per image (Wu & He 2018)."""

    title: ClassVar[str] = "norm 'group'"
    called: ClassVar[str] = "GroupNorm"
    kind: Literal["group"]
    groups: PositiveInt | None = None
    channels_per_group: PositiveInt | None = None
    eps: Eps = 1e-5
    affine: bool = True

    @model_validator(mode="after")
    def _one_size(self) -> GroupNorm:
        # No default on purpose: 32 groups on 16 channels would silently be instance norm.
        _exactly_one(self, "groups", "channels_per_group", "{kind: group, groups: 4}")
        return self


class LayerNorm(Norm):
    """Statistics over channels, height and width, per image (Ba et al. 2016)."""

    title: ClassVar[str] = "norm 'layer'"
    called: ClassVar[str] = "LayerNorm"
    kind: Literal["layer"]
    eps: Eps = 1e-5
    affine: bool = True


class BatchInstanceNorm(Norm):
    """A learned mix of batch and instance norm per channel (Nam & Kim 2018)."""

    title: ClassVar[str] = "norm 'batch_instance'"
    called: ClassVar[str] = "Batch-InstanceNorm"
    kind: Literal["batch_instance"]
    momentum: Momentum = 0.1
    eps: Eps = 1e-5
    affine: bool = True


class RMSNorm(Norm):
    """Division by the root mean square of each image (Zhang & Sennrich 2019)."""

    title: ClassVar[str] = "norm 'rms'"
    called: ClassVar[str] = "RMSNorm"
    kind: Literal["rms"]
    bias: bool = False
    eps: Eps = 1e-5
    affine: bool = True


class FilterResponseNorm(Norm):
    """Division by each channel's root mean square, then a learned threshold (Singh 2020)."""

    title: ClassVar[str] = "norm 'filter_response'"
    called: ClassVar[str] = "Filter Response Norm"
    kind: Literal["filter_response"]
    learned_eps: bool = False
    eps: Eps = 1e-6
    affine: bool = True


class SwitchableNorm(Norm):
    """A learned mix of instance, layer and batch statistics (Luo et al. 2018)."""

    title: ClassVar[str] = "norm 'switchable'"
    called: ClassVar[str] = "Switchable Norm"
    kind: Literal["switchable"]
    momentum: Momentum = 0.1
    eps: Eps = 1e-5
    affine: bool = True


class BatchRenorm(Norm):
    """Batch norm corrected towards its running statistics (Ioffe 2017)."""

    title: ClassVar[str] = "norm 'batch_renorm'"
    called: ClassVar[str] = "Batch Renorm"
    kind: Literal["batch_renorm"]
    rmax: Annotated[float, Field(ge=1)] = 3.0
    dmax: Annotated[float, Field(ge=0)] = 5.0
    momentum: Momentum = 0.1
    eps: Eps = 1e-5
    affine: bool = True


class ScaledWS(Norm):
    """No layer: convolutions by their scaled standardized weights (Brock et al. 2021)."""

    title: ClassVar[str] = "norm 'scaled_ws'"
    called: ClassVar[str] = "scaled weight standardization"
    kind: Literal["scaled_ws"]


class EvoNormS0(Norm):
    """Group norm and activation in one layer (Liu et al. 2020)."""

    title: ClassVar[str] = "norm 'evonorm_s0'"
    called: ClassVar[str] = "EvoNorm-S0"
    kind: Literal["evonorm_s0"]
    groups: PositiveInt | None = None
    channels_per_group: PositiveInt | None = None
    eps: Eps = 1e-5
    affine: bool = True

    @model_validator(mode="after")
    def _one_size(self) -> EvoNormS0:
        _exactly_one(self, "groups", "channels_per_group", "{kind: evonorm_s0, groups: 4}")
        return self


class EvoNormB0(Norm):
    """Batch and instance deviation and activation in one layer (Liu et al. 2020)."""

    title: ClassVar[str] = "norm 'evonorm_b0'"
    called: ClassVar[str] = "EvoNorm-B0"
    kind: Literal["evonorm_b0"]
    momentum: Momentum = 0.1
    eps: Eps = 1e-5
    affine: bool = True


class TorchBatchNorm(BatchNorm):
    """torch's own batch norm, for comparison with `batch`."""

    title: ClassVar[str] = "norm 'torch_batch'"
    called: ClassVar[str] = "torch's BatchNorm"
    kind: Literal["torch_batch"]  # type: ignore[assignment]


class TorchInstanceNorm(InstanceNorm):
    """torch's own instance norm, for comparison with `instance`."""

    title: ClassVar[str] = "norm 'torch_instance'"
    called: ClassVar[str] = "torch's InstanceNorm"
    kind: Literal["torch_instance"]  # type: ignore[assignment]


class TorchGroupNorm(GroupNorm):
    """torch's own group norm, for comparison with `group`."""

    title: ClassVar[str] = "norm 'torch_group'"
    called: ClassVar[str] = "torch's GroupNorm"
    kind: Literal["torch_group"]  # type: ignore[assignment]


class TorchLayerNorm(LayerNorm):
    """torch's own group norm with one group, for comparison with `layer`."""

    title: ClassVar[str] = "norm 'torch_layer'"
    called: ClassVar[str] = "torch's LayerNorm"
    kind: Literal["torch_layer"]  # type: ignore[assignment]


NORMS = catalog(
    NoNorm,
    BatchNorm,
    GhostBatchNorm,
    InstanceNorm,
    BatchInstanceNorm,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    FilterResponseNorm,
    SwitchableNorm,
    BatchRenorm,
    ScaledWS,
    EvoNormS0,
    EvoNormB0,
    TorchBatchNorm,
    TorchInstanceNorm,
    TorchGroupNorm,
    TorchLayerNorm,
)
"""kind -> the options of a norm; the layer is in `normlab.norms`."""


class OwnNorm(Own):
    """A class of the user's, by import path: ``mypackage.norms:MyNorm``."""

    title: ClassVar[str] = "an own norm"
    group: ClassVar[str] = "normlab.norms"


NormSpec = Annotated[SerializeAsAny[Component], BeforeValidator(chosen_from(NORMS, OwnNorm))]

"""The models a recipe can name, with their options. The networks are in `normlab.models`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from normlab.recipe.base import Component, Own, catalog, chosen_from

ConvBias = Literal["auto", "always", "never"]
"""Whether convolutions carry a bias; `auto`: only those that no norm follows."""

There = Literal["auto", "always", "never"]
"""Whether a norm outside the slots is there; `auto`: where the blocks have norm slots."""

Count = Annotated[int, Field(ge=1, le=4096)]


class Model(Component):
    """What every model of normlab's has; `made_for` names the data set it is shown with."""

    made_for: ClassVar[str]
    conv_bias: ConvBias = "auto"


class DigitsSmall(Model):
    """Three 3x3 convolutions for 8x8 images: 7,514 parameters with any affine norm."""

    title: ClassVar[str] = "model 'digits-small'"
    made_for: ClassVar[str] = "digits"
    kind: Literal["digits-small"]


class Mnist7288(Model):
    """The 7,288-parameter MNIST net: conv, norm, ReLU six times, then a 1x1 classifier."""

    title: ClassVar[str] = "model 'mnist-7288'"
    made_for: ClassVar[str] = "mnist"
    kind: Literal["mnist-7288"]
    conv_bias: ConvBias = "never"


class Mnist7704(Model):
    """The 7,704-parameter MNIST net: conv, ReLU, norm, dropout; 1x1 bottleneck after the pool."""

    title: ClassVar[str] = "model 'mnist-7704'"
    made_for: ClassVar[str] = "mnist"
    kind: Literal["mnist-7704"]
    conv_bias: ConvBias = "never"


class Residual(Model):
    """What the residual nets share."""

    width: Count
    """Channels of the stem; later stages have multiples of it."""
    norm_slots: Annotated[int, Field(ge=0)]
    """How many of a block's convolutions, from the first on, have the norm."""
    stem: Literal["small", "large"] = "small"
    """`small`: 3x3, stride 1; `large`: 7x7, stride 2, zero-padded by 3."""
    stem_pool: Literal["none", "valid", "padded"] = "none"
    """A 3x3 max-pool of stride 2 behind the stem, without padding or padded by 1."""
    stem_norm: There = "auto"
    shortcut_norm: There = "auto"
    """The norm of projection shortcuts."""
    block: Literal["auto", "post", "pre"] = "auto"
    """`post`: norm and activation behind a convolution, the last activation after the addition
    (He et al. 2016a); `pre`: both in front of it, and nothing after the addition (2016b); `auto`:
    `pre` for norms that contain their activation and for `scaled_ws`, as in their papers."""

    def has_norm(self, there: There) -> bool:
        """Whether a norm outside the slots is there."""
        return there == "always" or (there == "auto" and self.norm_slots > 0)


class ResNet(Residual):
    """ResNet of 6n+2 layers, for small images of any size (He et al. 2016); n = 2 has 14."""

    title: ClassVar[str] = "model 'resnet'"
    made_for: ClassVar[str] = "caltech25"
    kind: Literal["resnet"]
    n: Annotated[int, Field(ge=1, le=1000)] = 2
    """Blocks in each of the three stages."""
    width: Count = 16
    norm_slots: Annotated[int, Field(ge=0, le=2)] = 2
    shortcut: Literal["identity", "projection"] = "identity"
    """Where the shape changes: every other pixel and zeros for new channels (option A), or a 1x1
    convolution (option B)."""

    @model_validator(mode="after")
    def _nothing_ignored(self) -> ResNet:
        if self.shortcut == "identity" and self.shortcut_norm != "auto":
            raise ValueError("shortcut_norm needs shortcut: projection; an identity has no norm")
        return self


class ResNet50(Residual):
    """ResNet-50 with a 3x3 stem for small images and every block alike (He et al. 2016)."""

    title: ClassVar[str] = "model 'resnet50'"
    made_for: ClassVar[str] = "cifar10"
    kind: Literal["resnet50"]
    width: Count = 64
    norm_slots: Annotated[int, Field(ge=0, le=3)] = 3
    stride_on: Literal["conv1", "conv2"] = "conv2"
    """Which convolution of a block that shrinks the map has the stride."""
    activation_before_addition: bool = False
    """An activation behind the last convolution of identity blocks, beside the usual one."""
    projection_dropout_slots: Annotated[int, Field(ge=0, le=3)] = 3
    """How many of the three dropout slots projection blocks have."""
    projection_dropout_p: Literal["own", "next"] = "own"
    """`next`: where `dropout.p` is a list, projection blocks take a slot's value from the next."""
    final_pool: Literal["global", "same"] = "global"
    """`same`: 2x2 averages of stride 2, padded where the side is odd, then flattened."""


class ResNet50AsPublished(ResNet50):
    """ResNet-50 as a published CIFAR-10 study had it, quirks included; 23.5 M parameters."""

    title: ClassVar[str] = "model 'resnet50-as-published'"
    kind: Literal["resnet50-as-published"]  # type: ignore[assignment]
    conv_bias: ConvBias = "always"
    stem: Literal["small", "large"] = "large"
    stem_pool: Literal["none", "valid", "padded"] = "valid"
    stem_norm: There = "always"
    shortcut_norm: There = "always"
    stride_on: Literal["conv1", "conv2"] = "conv1"
    activation_before_addition: bool = True
    projection_dropout_slots: Annotated[int, Field(ge=0, le=3)] = 2
    projection_dropout_p: Literal["own", "next"] = "next"
    final_pool: Literal["global", "same"] = "same"


MODELS: dict[str, type[Model]] = catalog(
    DigitsSmall, Mnist7288, Mnist7704, ResNet, ResNet50, ResNet50AsPublished
)
"""kind -> the options of a model; what builds it is in `normlab.models`."""


class OwnModel(Own):
    """A `torch.nn.Module` of the user's, by import path: ``mypackage.nets:Net``."""

    title: ClassVar[str] = "an own model"
    group: ClassVar[str] = "normlab.models"


ModelSpec = Annotated[SerializeAsAny[Component], BeforeValidator(chosen_from(MODELS, OwnModel))]

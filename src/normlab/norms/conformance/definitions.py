"""What each kind is, in formulas, words and settings that layers are checked against.

The formulas themselves are in `normlab.norms.conformance.formulas`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from normlab.norms.conformance import formulas
from normlab.norms.conformance.formulas import Options, Values
from normlab.norms.torch_norms import (
    TorchBatchNorm,
    TorchGroupNorm,
    TorchInstanceNorm,
    TorchLayerNorm,
)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A kind's definition.

    Attributes:
        forward: (x, parameters, options, buffers, training) to the output.
        words: The formula in words, for messages.
        settings: Options to check it with; every entry of a catalog needs some.
        advance: (x, options, buffers) to the buffers after a training step; None without buffers.
        buffer_words: How the buffers move, in words.
        parameters: Initial value of every parameter by name.
        buffers: Initial value of every buffer by name.
        refuses: (images, pixels) of a training batch that the kind must refuse.
        contains_activation: It contains its activation.
        counterpart: torch's layer of the same kind.
        limits: (own options, other kind, other's options, value of gates): equal layers.
    """

    forward: Callable[[Tensor, Values, Options, Values, bool], Tensor]
    words: str
    settings: tuple[Options, ...] = ({},)
    advance: Callable[[Tensor, Options, Values], Values] | None = None
    buffer_words: str = ""
    parameters: dict[str, float | str] = field(default_factory=lambda: {"weight": 1.0, "bias": 0.0})
    buffers: dict[str, float] = field(default_factory=dict)
    refuses: Callable[[int, int], bool] = lambda images, pixels: False
    contains_activation: bool = False
    counterpart: Callable[..., nn.Module] | None = None
    limits: tuple[tuple[Options, str, Options, float | None], ...] = ()
    eps: float = 1e-5


_BATCH_BUFFERS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0}
_BATCH_MOVES = (
    "running = (1 - momentum) * running + momentum * new, the new variance unbiased; "
    "one step of num_batches_tracked a batch"
)
_AFFINE = {"weight": 1.0, "bias": 0.0}


def _one_value(images: int, pixels: int) -> bool:
    return images * pixels == 1


def _one_pixel(images: int, pixels: int) -> bool:
    return pixels == 1


DEFINITIONS: dict[str, Definition] = {
    "none": Definition(forward=formulas.none, words="y = x", parameters={}),
    "batch": Definition(
        forward=formulas.batch,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "N, H, W per channel in training, the running ones in eval",
        settings=({}, {"momentum": 0.3}, {"affine": False}),
        advance=formulas.batch_advance,
        buffer_words=_BATCH_MOVES,
        buffers=_BATCH_BUFFERS,
        refuses=_one_value,
        counterpart=TorchBatchNorm,
    ),
    "ghost_batch": Definition(
        forward=formulas.ghost,
        words="in training batch norm within each consecutive split of the batch (the last may be "
        "smaller, a single value joins the one before it); in eval the running statistics",
        settings=(
            {"splits": 2},
            {"ghost_size": 3},
            {"splits": 8, "momentum": 0.3},
            {"splits": 3, "running": "per_split"},
        ),
        advance=formulas.ghost_advance,
        buffer_words="running = (1 - momentum) * running + momentum * sum over splits of "
        "n_s / N * stat_s, once a batch, variances unbiased within the split",
        buffers=_BATCH_BUFFERS,
        refuses=_one_value,
        limits=(({"splits": 1}, "batch", {}, None),),
    ),
    "instance": Definition(
        forward=formulas.instance,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "H, W per image and channel, in training and in eval",
        settings=({}, {"affine": False}),
        refuses=_one_pixel,
        counterpart=TorchInstanceNorm,
    ),
    "batch_instance": Definition(
        forward=formulas.batch_instance,
        words="y = gain * (rho * x_batch + (1 - rho) * x_instance) + bias, rho a parameter",
        advance=formulas.batch_advance,
        buffer_words=_BATCH_MOVES,
        parameters={**_AFFINE, "rho": 1.0},
        buffers=_BATCH_BUFFERS,
        refuses=_one_pixel,
        limits=(({}, "batch", {}, 1.0), ({}, "instance", {}, 0.0)),
    ),
    "group": Definition(
        forward=formulas.group,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "H, W and a group of consecutive channels, per image",
        settings=({"groups": 3}, {"channels_per_group": 3}, {"groups": 2, "affine": False}),
        counterpart=TorchGroupNorm,
        limits=(
            ({"groups": 1}, "layer", {}, None),
            ({"channels_per_group": 1}, "instance", {}, None),
        ),
    ),
    "layer": Definition(
        forward=formulas.layer,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "C, H, W per image, gain and bias per channel",
        settings=({}, {"affine": False}),
        counterpart=TorchLayerNorm,
    ),
    "rms": Definition(
        forward=formulas.rms,
        words="y = gain * x / sqrt(mean of x^2 over C, H, W + eps), eps inside the root",
        settings=({}, {"bias": True}),
        parameters={"weight": 1.0, "bias": "if asked"},
    ),
    "filter_response": Definition(
        forward=formulas.filter_response,
        words="y = max(gain * x / sqrt(mean of x^2 over H, W + eps) + bias, tau), eps plus "
        "|learned_eps| where that is asked for",
        settings=({}, {"learned_eps": True}),
        parameters={**_AFFINE, "tau": 0.0, "learned_eps": "if asked"},
        contains_activation=True,
        eps=1e-6,
    ),
    "switchable": Definition(
        forward=formulas.switchable,
        words="instance, layer and batch statistics mixed by the softmax of mean_weight for means "
        "and of var_weight for variances",
        advance=formulas.batch_advance,
        buffer_words=_BATCH_MOVES,
        parameters={**_AFFINE, "mean_weight": 1.0, "var_weight": 1.0},
        buffers=_BATCH_BUFFERS,
        refuses=_one_pixel,
    ),
    "batch_renorm": Definition(
        forward=formulas.renorm,
        words="y = gain * ((x - mean) / std * r + d) + bias, r = clip(std / running_std, "
        "1 / rmax, rmax) and d = clip((mean - running_mean) / running_std, -dmax, dmax) constants",
        settings=({}, {"progress": 0.2}, {"progress": 1.0, "momentum": 0.3}),
        advance=formulas.renorm_advance,
        buffer_words="running mean and running standard deviation follow the batch's, "
        "sqrt(biased variance + eps), by momentum",
        buffers={"running_mean": 0.0, "running_std": 1.0, "num_batches_tracked": 0},
        refuses=_one_value,
        limits=(({}, "batch", {}, None),),
    ),
    "evonorm_s0": Definition(
        forward=formulas.evonorm_s0,
        words="y = x * sigmoid(v * x) / std of the group * gain + bias",
        settings=({"groups": 3}, {"channels_per_group": 3}),
        parameters={**_AFFINE, "v": 1.0},
        contains_activation=True,
    ),
    "evonorm_b0": Definition(
        forward=formulas.evonorm_b0,
        words="y = x / max(std of the batch, v * x + std of the instance) * gain + bias",
        advance=formulas.evonorm_b0_advance,
        buffer_words="running variance follows the batch's unbiased one by momentum",
        settings=({}, {"momentum": None}),
        parameters={**_AFFINE, "v": 1.0},
        buffers={"running_var": 1.0, "num_batches_tracked": 0},
        refuses=_one_value,
        contains_activation=True,
    ),
}
"""kind -> its definition; torch's own layers share those of the kinds they are compared with."""
for _kind in ("batch", "instance", "group", "layer"):
    DEFINITIONS[f"torch_{_kind}"] = DEFINITIONS[_kind]

__all__ = ["DEFINITIONS", "Definition", "Options", "Values"]

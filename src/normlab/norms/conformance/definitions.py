"""What each kind is, written once more and as plainly as can be, to hold layers against.

These formulas share nothing with the layers: no moments, no kernels, no mechanism. They work in any
dtype (float64 where they judge) and autograd differentiates them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.torch_norms import (
    TorchBatchNorm,
    TorchGroupNorm,
    TorchInstanceNorm,
    TorchLayerNorm,
)

Values = dict[str, Tensor]
Options = dict[str, Any]


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
        contains_activation: It takes the activation's place.
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


def _row(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def _affine(y: Tensor, p: Values) -> Tensor:
    if "weight" in p:
        y = y * _row(p["weight"])
    return y + _row(p["bias"]) if "bias" in p else y


def _standard(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    mean = x.mean(dims, keepdim=True)
    var = ((x - mean) ** 2).mean(dims, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps)


def _running(x: Tensor, s: Values, eps: float) -> Tensor:
    return (x - _row(s["running_mean"])) / torch.sqrt(_row(s["running_var"]) + eps)


def _none(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return x


def _batch(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return _affine(_standard(x, (0, 2, 3), o["eps"]) if training else _running(x, s, o["eps"]), p)


def _unbiased(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=1)


def _move(s: Values, o: Options, **new: Tensor) -> Values:
    moved = {**s, "num_batches_tracked": s["num_batches_tracked"] + 1}
    share = o.get("momentum", 0.1)
    for name, value in new.items():
        moved[name] = (1 - share) * s[name] + share * value.to(s[name].dtype)
    return moved


def _batch_advance(x: Tensor, o: Options, s: Values) -> Values:
    mean, var = _unbiased(x)
    return _move(s, o, running_mean=mean, running_var=var)


def _splits(x: Tensor, o: Options) -> list[Tensor]:
    size = o.get("ghost_size") or math.ceil(len(x) / o["splits"])
    parts = list(torch.split(x, size))
    joined = parts[:1]
    for part in parts[1:]:
        if (
            part.shape[0] * part.shape[2] * part.shape[3] == 1
            or len(joined[-1]) * x[0, 0].numel() == 1
        ):
            joined[-1] = torch.cat([joined[-1], part])
        else:
            joined.append(part)
    return joined


def _ghost(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    if not training:
        return _batch(x, p, o, s, training)
    return _affine(torch.cat([_standard(part, (0, 2, 3), o["eps"]) for part in _splits(x, o)]), p)


def _ghost_advance(x: Tensor, o: Options, s: Values) -> Values:
    parts = _splits(x, o)
    if o.get("running") == "per_split":
        for part in parts:
            s = _batch_advance(part, o, s)
        return s
    mean = sum(len(part) / len(x) * _unbiased(part)[0] for part in parts)
    var = sum(len(part) / len(x) * _unbiased(part)[1] for part in parts)
    assert isinstance(mean, Tensor)
    assert isinstance(var, Tensor)
    return _move(s, o, running_mean=mean, running_var=var)


def _instance(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return _affine(_standard(x, (2, 3), o["eps"]), p)


def _batch_instance(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    batch, instance = _batch(x, {}, o, s, training), _instance(x, {}, o, s, training)
    return _affine(_row(p["rho"]) * batch + (1 - _row(p["rho"])) * instance, p)


def _groups(x: Tensor, o: Options) -> int:
    return int(o.get("groups") or x.shape[1] // o["channels_per_group"])


def _group(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    grouped = x.reshape(len(x), _groups(x, o), -1)
    return _affine(_standard(grouped, (2,), o["eps"]).reshape(x.shape), p)


def _layer(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return _affine(_standard(x, (1, 2, 3), o["eps"]), p)


def _rms(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return _affine(x / torch.sqrt((x**2).mean((1, 2, 3), keepdim=True) + o["eps"]), p)


def _filter_response(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    eps = _row(p["learned_eps"]).abs() if "learned_eps" in p else o["eps"]
    y = _affine(x / torch.sqrt((x**2).mean((2, 3), keepdim=True) + eps), p)
    return torch.maximum(y, _row(p["tau"]))


def _switchable(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    means, variances = [], []
    for dims in ((2, 3), (1, 2, 3), (0, 2, 3)):
        means.append(x.mean(dims, keepdim=True))
        variances.append(((x - means[-1]) ** 2).mean(dims, keepdim=True))
    if not training:
        means[2], variances[2] = _row(s["running_mean"]), _row(s["running_var"])
    w, v = p["mean_weight"].softmax(0), p["var_weight"].softmax(0)
    mean = w[0] * means[0] + w[1] * means[1] + w[2] * means[2]
    var = v[0] * variances[0] + v[1] * variances[1] + v[2] * variances[2]
    return _affine((x - mean) / torch.sqrt(var + o["eps"]), p)


def _renorm(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    if not training:
        return _affine((x - _row(s["running_mean"])) / _row(s["running_std"]), p)
    mean = x.mean((0, 2, 3), keepdim=True)
    std = torch.sqrt(((x - mean) ** 2).mean((0, 2, 3), keepdim=True) + o["eps"])
    done = o.get("progress", 0.0)
    rmax = 1 + (o.get("rmax", 3.0) - 1) * min(max((done - 0.05) / 0.35, 0.0), 1.0)
    dmax = o.get("dmax", 5.0) * min(max((done - 0.05) / 0.2, 0.0), 1.0)
    r = (std / _row(s["running_std"])).clamp(1 / rmax, rmax).detach()
    d = ((mean - _row(s["running_mean"])) / _row(s["running_std"])).clamp(-dmax, dmax).detach()
    return _affine((x - mean) / std * r + d, p)


def _renorm_advance(x: Tensor, o: Options, s: Values) -> Values:
    mean, var = _unbiased(x)
    return _move(s, o, running_mean=mean, running_std=torch.sqrt(var + o["eps"]))


def _evonorm_s0(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    grouped = x.reshape(len(x), _groups(x, o), -1)
    std = torch.sqrt(grouped.var(2, correction=0, keepdim=True) + o["eps"])
    top = (x * torch.sigmoid(_row(p["v"]) * x)).reshape(grouped.shape)
    return _affine((top / std).reshape(x.shape), p)


def _evonorm_b0(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    var = x.var((0, 2, 3), correction=0) if training else s["running_var"]
    batch = torch.sqrt(_row(var) + o["eps"])
    instance = torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + o["eps"])
    return _affine(x / torch.maximum(batch, _row(p["v"]) * x + instance), p)


def _evonorm_b0_advance(x: Tensor, o: Options, s: Values) -> Values:
    return _move(s, o, running_var=_unbiased(x)[1])


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
    "none": Definition(forward=_none, words="y = x", parameters={}),
    "batch": Definition(
        forward=_batch,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "N, H, W per channel in training, the running ones in eval",
        settings=({}, {"momentum": 0.3}, {"affine": False}),
        advance=_batch_advance,
        buffer_words=_BATCH_MOVES,
        buffers=_BATCH_BUFFERS,
        refuses=_one_value,
        counterpart=TorchBatchNorm,
    ),
    "ghost_batch": Definition(
        forward=_ghost,
        words="in training batch norm within each consecutive split of the batch (the last may be "
        "smaller, a single value joins the one before it); in eval the running statistics",
        settings=(
            {"splits": 2},
            {"ghost_size": 3},
            {"splits": 8, "momentum": 0.3},
            {"splits": 3, "running": "per_split"},
        ),
        advance=_ghost_advance,
        buffer_words="running = (1 - momentum) * running + momentum * sum over splits of "
        "n_s / N * stat_s, once a batch, variances unbiased within the split",
        buffers=_BATCH_BUFFERS,
        refuses=_one_value,
        limits=(({"splits": 1}, "batch", {}, None),),
    ),
    "instance": Definition(
        forward=_instance,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "H, W per image and channel, in training and in eval",
        settings=({}, {"affine": False}),
        refuses=_one_pixel,
        counterpart=TorchInstanceNorm,
    ),
    "batch_instance": Definition(
        forward=_batch_instance,
        words="y = gain * (rho * x_batch + (1 - rho) * x_instance) + bias, rho a parameter",
        advance=_batch_advance,
        buffer_words=_BATCH_MOVES,
        parameters={**_AFFINE, "rho": 1.0},
        buffers=_BATCH_BUFFERS,
        refuses=_one_pixel,
        limits=(({}, "batch", {}, 1.0), ({}, "instance", {}, 0.0)),
    ),
    "group": Definition(
        forward=_group,
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
        forward=_layer,
        words="y = gain * (x - mean) / sqrt(var + eps) + bias, mean and biased variance over "
        "C, H, W per image, gain and bias per channel",
        settings=({}, {"affine": False}),
        counterpart=TorchLayerNorm,
    ),
    "rms": Definition(
        forward=_rms,
        words="y = gain * x / sqrt(mean of x^2 over C, H, W + eps), eps inside the root",
        settings=({}, {"bias": True}),
        parameters={"weight": 1.0, "bias": "if asked"},
    ),
    "filter_response": Definition(
        forward=_filter_response,
        words="y = max(gain * x / sqrt(mean of x^2 over H, W + eps) + bias, tau)",
        settings=({}, {"learned_eps": True}),
        parameters={**_AFFINE, "tau": 0.0, "learned_eps": "if asked"},
        contains_activation=True,
        eps=1e-6,
    ),
    "switchable": Definition(
        forward=_switchable,
        words="instance, layer and batch statistics mixed by the softmax of mean_weight for means "
        "and of var_weight for variances",
        advance=_batch_advance,
        buffer_words=_BATCH_MOVES,
        parameters={**_AFFINE, "mean_weight": 1.0, "var_weight": 1.0},
        buffers=_BATCH_BUFFERS,
        refuses=_one_pixel,
    ),
    "batch_renorm": Definition(
        forward=_renorm,
        words="y = gain * ((x - mean) / std * r + d) + bias, r = clip(std / running_std, "
        "1 / rmax, rmax) and d = clip((mean - running_mean) / running_std, -dmax, dmax) constants",
        settings=({}, {"progress": 0.2}, {"progress": 1.0, "momentum": 0.3}),
        advance=_renorm_advance,
        buffer_words="running mean and running standard deviation follow the batch's by momentum",
        buffers={"running_mean": 0.0, "running_std": 1.0, "num_batches_tracked": 0},
        refuses=_one_value,
        limits=(({}, "batch", {}, None),),
    ),
    "evonorm_s0": Definition(
        forward=_evonorm_s0,
        words="y = x * sigmoid(v * x) / std of the group * gain + bias",
        settings=({"groups": 3}, {"channels_per_group": 3}),
        parameters={**_AFFINE, "v": 1.0},
        contains_activation=True,
    ),
    "evonorm_b0": Definition(
        forward=_evonorm_b0,
        words="y = x / max(std of the batch, v * x + std of the instance) * gain + bias",
        advance=_evonorm_b0_advance,
        buffer_words="running variance follows the batch's unbiased one by momentum",
        parameters={**_AFFINE, "v": 1.0},
        buffers={"running_var": 1.0, "num_batches_tracked": 0},
        refuses=_one_value,
        contains_activation=True,
    ),
}
for _kind in ("batch", "instance", "group", "layer"):
    DEFINITIONS[f"torch_{_kind}"] = DEFINITIONS[_kind]

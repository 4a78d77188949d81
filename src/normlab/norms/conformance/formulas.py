"""The formula of each kind, written once more and as plainly as can be.

These formulas share nothing with the layers: no moments, no kernels, no mechanism. They work in any
dtype (float64 where they judge) and autograd differentiates them, twice.

Variances are those of `_centred`: the mean of squares of what is left after the mean has been taken
off twice. Taken off once, what a mean of 1e4 loses in rounding stays in every term of the gradient
of the variance, 2 (x - mean) / n (so it does in `Tensor.var`), and a layer with the same slip would
pass.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Values = dict[str, Tensor]
Options = dict[str, Any]


def _row(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def _affine(y: Tensor, p: Values) -> Tensor:
    if "weight" in p:
        y = y * _row(p["weight"])
    return y + _row(p["bias"]) if "bias" in p else y


def _centred(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    once = x - x.mean(dims, keepdim=True)
    return once - once.mean(dims, keepdim=True)


def _var(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (_centred(x, dims) ** 2).mean(dims, keepdim=True)


def _standard(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return _centred(x, dims) / torch.sqrt(_var(x, dims) + eps)


def _running(x: Tensor, s: Values, eps: float) -> Tensor:
    return (x - _row(s["running_mean"])) / torch.sqrt(_row(s["running_var"]).to(x.dtype) + eps)


def none(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """No norm: x itself."""
    return x


def batch(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Batch norm."""
    return _affine(_standard(x, (0, 2, 3), o["eps"]) if training else _running(x, s, o["eps"]), p)


def _unbiased(x: Tensor) -> tuple[Tensor, Tensor]:
    count = x.numel() // x.shape[1]
    return x.mean((0, 2, 3)), _var(x, (0, 2, 3)).flatten() * count / (count - 1)


def _move(s: Values, o: Options, **new: Tensor) -> Values:
    moved = {**s, "num_batches_tracked": s["num_batches_tracked"] + 1}
    share = o.get("momentum", 0.1)
    if share is None:  # the plain mean of all batches
        share = 1 / int(moved["num_batches_tracked"])
    for name, value in new.items():
        moved[name] = (1 - share) * s[name] + share * value.to(s[name].dtype)
    return moved


def batch_advance(x: Tensor, o: Options, s: Values) -> Values:
    """The running mean and unbiased variance after a batch."""
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


def ghost(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Batch norm of each split of the batch."""
    if not training:
        return batch(x, p, o, s, training)
    return _affine(torch.cat([_standard(part, (0, 2, 3), o["eps"]) for part in _splits(x, o)]), p)


def ghost_advance(x: Tensor, o: Options, s: Values) -> Values:
    """Running statistics after a batch in splits."""
    parts = _splits(x, o)
    if o.get("running") == "per_split":
        for part in parts:
            s = batch_advance(part, o, s)
        return s
    mean = sum(len(part) / len(x) * _unbiased(part)[0] for part in parts)
    var = sum(len(part) / len(x) * _unbiased(part)[1] for part in parts)
    assert isinstance(mean, Tensor)
    assert isinstance(var, Tensor)
    return _move(s, o, running_mean=mean, running_var=var)


def instance(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Instance norm."""
    return _affine(_standard(x, (2, 3), o["eps"]), p)


def batch_instance(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """A mix of batch and instance norm by rho."""
    rho, parts = _row(p["rho"]), (batch(x, {}, o, s, training), instance(x, {}, o, s, training))
    return _affine(rho * parts[0] + (1 - rho) * parts[1], p)


def _groups(x: Tensor, o: Options) -> int:
    return int(o.get("groups") or x.shape[1] // o["channels_per_group"])


def group(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Group norm."""
    grouped = x.unflatten(1, (_groups(x, o), -1)).flatten(2)  # type: ignore[no-untyped-call]
    return _affine(_standard(grouped, (2,), o["eps"]).view_as(x), p)


def layer(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Layer norm over C, H, W."""
    return _affine(_standard(x, (1, 2, 3), o["eps"]), p)


def rms(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Root mean square norm over C, H, W."""
    return _affine(x / torch.sqrt((x**2).mean((1, 2, 3), keepdim=True) + o["eps"]), p)


def filter_response(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Filter response norm and its threshold."""
    eps = o["eps"] + (_row(p["learned_eps"]).abs() if "learned_eps" in p else 0)
    y = _affine(x / torch.sqrt((x**2).mean((2, 3), keepdim=True) + eps), p)
    return torch.maximum(y, _row(p["tau"]))


def switchable(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Instance, layer and batch norm mixed by softmax weights."""
    offsets, variances = [], []
    for dims in ((2, 3), (1, 2, 3), (0, 2, 3)):
        offsets.append(_centred(x, dims))
        variances.append(_var(x, dims))
    if not training:
        offsets[2], variances[2] = x - _row(s["running_mean"]), _row(s["running_var"])
    w, v = p["mean_weight"].softmax(0), p["var_weight"].softmax(0)
    # The weights sum to 1: x less the mixed mean is the mix of x less each mean.
    offset = w[0] * offsets[0] + w[1] * offsets[1] + w[2] * offsets[2]
    var = v[0] * variances[0] + v[1] * variances[1] + v[2] * variances[2]
    return _affine(offset / torch.sqrt(var + o["eps"]), p)


def renorm(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """Batch renorm; r and d are constants."""
    if not training:
        return _affine((x - _row(s["running_mean"])) / _row(s["running_std"]), p)
    mean = x.mean((0, 2, 3), keepdim=True)
    std = torch.sqrt(_var(x, (0, 2, 3)) + o["eps"])
    done = o.get("progress", 0.0)
    rmax = 1 + (o.get("rmax", 3.0) - 1) * min(max((done - 0.05) / 0.35, 0.0), 1.0)
    dmax = o.get("dmax", 5.0) * min(max((done - 0.05) / 0.2, 0.0), 1.0)
    r = (std / _row(s["running_std"])).clamp(1 / rmax, rmax).detach()
    d = ((mean - _row(s["running_mean"])) / _row(s["running_std"])).clamp(-dmax, dmax).detach()
    return _affine(_centred(x, (0, 2, 3)) / std * r + d, p)


def renorm_advance(x: Tensor, o: Options, s: Values) -> Values:
    """The running mean and standard deviation after a batch."""
    std = torch.sqrt(_var(x, (0, 2, 3)).flatten() + o["eps"])
    return _move(s, o, running_mean=x.mean((0, 2, 3)), running_std=std)


def evonorm_s0(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """EvoNorm S0."""
    grouped = x.unflatten(1, (_groups(x, o), -1)).flatten(2)  # type: ignore[no-untyped-call]
    std = torch.sqrt(_var(grouped, (2,)) + o["eps"])
    std = std.repeat_interleave(x.shape[1] // _groups(x, o), 1)[..., None]
    return _affine(x * torch.sigmoid(_row(p["v"]) * x) / std, p)


def evonorm_b0(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    """EvoNorm B0."""
    var = _var(x, (0, 2, 3)) if training else _row(s["running_var"]).to(x.dtype)
    batch = torch.sqrt(var + o["eps"])
    instance = torch.sqrt(_var(x, (2, 3)) + o["eps"])
    return _affine(x / torch.maximum(batch, _row(p["v"]) * x + instance), p)


def evonorm_b0_advance(x: Tensor, o: Options, s: Values) -> Values:
    """The running unbiased variance after a batch."""
    return _move(s, o, running_var=_unbiased(x)[1])

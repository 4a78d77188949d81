"""Wrong layers, one mistake each, for the conformance kit to catch.

All are written over one plain layer made from a definition, right in everything but the mistake:
`plain("batch")` itself passes the kit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import DEFINITIONS, Options, Values
from tests.norms.plain import Advance, Forward, plain


@dataclass(frozen=True)
class Planted:
    """A mistake: its class of mistake, what is wrong, the kind it claims to be, the layer."""

    mistake: str
    wrong: str
    kind: str
    layer: Callable[..., nn.Module]
    options: dict[str, Any] | None = None


def row(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def gained(y: Tensor, p: Values) -> Tensor:
    if "weight" in p:
        y = y * row(p["weight"])
    return y + row(p["bias"]) if "bias" in p else y


def standard(x: Tensor, dims: tuple[int, ...], eps: float, correction: int = 0) -> Tensor:
    mean = x.mean(dims, keepdim=True)
    return (x - mean) / torch.sqrt(x.var(dims, correction=correction, keepdim=True) + eps)


def right(kind: str) -> Forward:
    return DEFINITIONS[kind].forward


def in_training(kind: str, wrong: Callable[[Tensor, Values, Options], Tensor]) -> Forward:
    """The kind's definition in eval, something else in training."""
    return lambda x, p, o, s, t: wrong(x, p, o) if t else right(kind)(x, p, o, s, t)


def moves(kind: str, wrong: Callable[[Values, Tensor, Options, Values], Values]) -> Advance:
    """Change what the kind's buffers become: (right ones, x, options, ones before) to wrong ones."""
    advance = DEFINITIONS[kind].advance
    assert advance is not None
    return lambda x, o, s: wrong(advance(x, o, s), x, o, s)


def biased(new: Values, x: Tensor, o: Options, s: Values) -> Values:
    share = o.get("momentum", 0.1)
    return {
        **new,
        "running_var": (1 - share) * s["running_var"] + share * x.var((0, 2, 3), correction=0),
    }


def swapped_momentum(new: Values, x: Tensor, o: Options, s: Values) -> Values:
    share = 1 - o.get("momentum", 0.1)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    return {
        **new,
        "running_mean": (1 - share) * s["running_mean"] + share * mean,
        "running_var": (1 - share) * s["running_var"] + share * var,
    }


def root_kept(new: Values, x: Tensor, o: Options, s: Values) -> Values:
    share = o.get("momentum", 0.1)
    return {**new, "running_var": (1 - share) * s["running_var"] + share * x.std((0, 2, 3))}


def uncounted(new: Values, x: Tensor, o: Options, s: Values) -> Values:
    return {**new, "num_batches_tracked": s["num_batches_tracked"]}


def per_split(x: Tensor, o: Options, s: Values) -> Values:
    advance = DEFINITIONS["ghost_batch"].advance
    assert advance is not None
    return advance(x, {**o, "running": "per_split"}, s)


def eps_outside(x: Tensor, p: Values, o: Options) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    return gained((x - mean) / (x.std((0, 2, 3), correction=0, keepdim=True) + o["eps"] + 1e-3), p)


def squares(x: Tensor, p: Values, o: Options) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    var = (x**2).mean((0, 2, 3), keepdim=True) - mean**2
    return gained((x - mean) / torch.sqrt(var.clamp_min(0) + o["eps"]), p)


def detached(x: Tensor, p: Values, o: Options) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True).detach()
    var = x.var((0, 2, 3), correction=0, keepdim=True).detach()
    return gained((x - mean) / torch.sqrt(var + o["eps"]), p)


def strided(x: Tensor, p: Values, o: Options) -> Tensor:
    size = o.get("ghost_size") or math.ceil(len(x) / o["splits"])
    parts = math.ceil(len(x) / size)
    y = torch.empty_like(x)
    for part in range(parts):
        y[part::parts] = standard(x[part::parts], (0, 2, 3), o["eps"])
    return gained(y, p)


def ragged_refused(x: Tensor, p: Values, o: Options) -> Tensor:
    size = o.get("ghost_size") or math.ceil(len(x) / o["splits"])
    if len(x) % size:
        raise ValueError("the batch must divide")
    return right("ghost_batch")(x, p, o, {}, True)


def gate_made_anew(self: nn.Module, x: Tensor) -> Tensor:
    self.rho = nn.Parameter(self.rho.detach().clone())  # type: ignore[operator, union-attr]
    return type(self).right_forward(self, x)  # type: ignore[attr-defined, no-any-return]


def made_anew() -> type[nn.Module]:
    made = plain("batch_instance")
    made.right_forward = made.forward  # type: ignore[attr-defined]
    made.forward = gate_made_anew  # type: ignore[method-assign, assignment]
    return made


def swapped_gate(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("batch_instance")(x, {**p, "rho": 1 - p["rho"]}, o, s, training)


def frozen_gate(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("batch_instance")(x, {**p, "rho": p["rho"].detach()}, o, s, training)


def shuffled_groups(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    groups = o.get("groups") or x.shape[1] // o["channels_per_group"]
    order = torch.arange(x.shape[1]).view(-1, groups).t().flatten()
    y = right("group")(x[:, order], {}, o, s, training)
    return gained(y[:, order.argsort()], p)


def one_group(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("layer")(x, p, o, s, training)


def hwio(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    y = right("group")(
        x.transpose(1, 0), {}, {**o, "groups": 1, "channels_per_group": None}, s, training
    )
    return gained(y.transpose(1, 0), p)


def per_pixel(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return gained(standard(x, (1,), o["eps"]), p)


def over_everything(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return gained(standard(x, (0, 1, 2, 3), o["eps"]), p)


def rms_outside(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return gained(x / ((x**2).mean((1, 2, 3), keepdim=True).sqrt() + o["eps"]), p)


def rms_centered(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return gained(standard(x, (1, 2, 3), o["eps"]), p)


def plain_relu(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("filter_response")(x, {**p, "tau": torch.zeros_like(p["tau"])}, o, s, training)


def extra_relu(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("filter_response")(x, p, o, s, training).relu()


def fr_eps_outside(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    y = x / ((x**2).mean((2, 3), keepdim=True).sqrt() + 1e-3)
    return torch.maximum(gained(y, p), row(p["tau"]))


def one_vector(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("switchable")(x, {**p, "var_weight": p["mean_weight"]}, o, s, training)


def no_softmax(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    logs = {name: (p[name] / p[name].sum()).log() for name in ("mean_weight", "var_weight")}
    return right("switchable")(x, {**p, **logs}, o, s, training)


def renorm_gradient(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    if not training:
        return right("batch_renorm")(x, p, o, s, training)
    mean = x.mean((0, 2, 3), keepdim=True)
    std = torch.sqrt(x.var((0, 2, 3), correction=0, keepdim=True) + o["eps"])
    done = o["progress"]
    rmax = 1 + 2 * min(max((done - 0.05) / 0.35, 0.0), 1.0)
    dmax = 5 * min(max((done - 0.05) / 0.2, 0.0), 1.0)
    r = (std / row(s["running_std"])).clamp(1 / rmax, rmax)
    d = ((mean - row(s["running_mean"])) / row(s["running_std"])).clamp(-dmax, dmax)
    return gained((x - mean) / std * r + d, p)


def renorm_variance(new: Values, x: Tensor, o: Options, s: Values) -> Values:
    share = o.get("momentum", 0.1)
    return {**new, "running_std": (1 - share) * s["running_std"] + share * x.var((0, 2, 3))}


def renorm_unclipped(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("batch_renorm")(
        x, p, {**o, "progress": 1.0, "rmax": 1e6, "dmax": 1e6}, s, training
    )


def swish_without_v(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("evonorm_s0")(x, {**p, "v": torch.ones_like(p["v"])}, o, s, training)


def instance_std(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("evonorm_s0")(x, p, {"eps": o["eps"], "groups": x.shape[1]}, s, training)


def smaller_of_both(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    var = x.var((0, 2, 3), correction=0) if training else s["running_var"]
    batch = torch.sqrt(row(var) + o["eps"])
    instance = torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + o["eps"])
    return gained(x / torch.minimum(batch, (row(p["v"]) * x + instance).abs() + 0.1), p)


def b0_batch_only(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    var = x.var((0, 2, 3), correction=0) if training else s["running_var"]
    return gained(x / torch.sqrt(row(var) + o["eps"]), p)


def decides_by_value(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    if float(x.detach().abs().max()) > 1e30:
        return x
    return right("layer")(x, p, o, s, training)


def instance_running(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    return right("instance")(x, p, o, s, training) if training else gained(x, p)


class KeepsScale(nn.Module):
    """A "no norm" that kept the gain."""

    def __init__(self, num_channels: int, *, activation: str | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.activation = nn.ReLU() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x * row(self.weight).to(x.dtype))  # type: ignore[no-any-return]


class UnsavedBuffers(plain("batch")):  # type: ignore[misc]
    """Running statistics that no state dict holds."""

    def __init__(self, num_channels: int, **options: Any) -> None:
        super().__init__(num_channels, **options)
        for name, buffer in list(self.named_buffers()):
            self.register_buffer(name, buffer, persistent=False)


class MovesInEval(plain("batch")):  # type: ignore[misc]
    """Statistics that move in eval as well."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)
        if not self.training and x.numel():
            with torch.no_grad():
                self.running_mean.lerp_(x.mean((0, 2, 3)).to(self.running_mean), 0.1)
        return y


def no_after_step() -> type[nn.Module]:
    made = plain("batch_instance")
    made.after_step = lambda self: None  # type: ignore[attr-defined]
    return made


def _always_batch(x: Tensor, p: Values, o: Options, s: Values, t: bool) -> Tensor:
    return right("batch")(x, p, o, s, True)


def _always_ghost(x: Tensor, p: Values, o: Options, s: Values, t: bool) -> Tensor:
    return right("ghost_batch")(x, p, o, s, True)


def _no_affine(kind: str) -> Forward:
    return lambda x, p, o, s, t: right(kind)(
        x, {k: v for k, v in p.items() if k not in {"weight", "bias"}}, o, s, t
    )


def _bias_scaled(x: Tensor, p: Values, o: Options) -> Tensor:
    y = standard(x, (0, 2, 3), o["eps"])
    return y if "weight" not in p else (y + row(p["bias"])) * row(p["weight"])


STATISTICS, STATE, MODE, AFFINE, GRADIENT = (
    "statistics",
    "running state",
    "mode",
    "affine",
    "gradient",
)
AXES, ROOT, GATE, ACTIVATION, NUMERICS, USE = "axes", "eps", "gate", "activation", "numerics", "use"

PLANTED = [
    Planted(STATE, "biased running variance", "batch", plain("batch", advance=moves("batch", biased))),
    Planted(STATE, "momentum swapped", "batch", plain("batch", advance=moves("batch", swapped_momentum))),
    Planted(STATE, "running variance is a standard deviation", "batch", plain("batch", advance=moves("batch", root_kept))),
    Planted(STATE, "batches not counted", "batch", plain("batch", advance=moves("batch", uncounted))),
    Planted(STATE, "buffers in no state dict", "batch", UnsavedBuffers),
    Planted(STATE, "statistics move in eval", "batch", MovesInEval),
    Planted(ROOT, "eps outside the root", "batch", plain("batch", forward=in_training("batch", eps_outside))),
    Planted(MODE, "batch statistics in eval", "batch", plain("batch", forward=_always_batch)),
    Planted(STATISTICS, "unbiased variance to normalize", "batch", plain("batch", forward=in_training("batch", lambda x, p, o: gained(standard(x, (0, 2, 3), o["eps"], 1), p)))),
    Planted(AFFINE, "gain and bias never applied", "batch", plain("batch", forward=_no_affine("batch"))),
    Planted(AFFINE, "bias multiplied by the gain", "batch", plain("batch", forward=in_training("batch", _bias_scaled))),
    Planted(AXES, "statistics over N and H alone", "batch", plain("batch", forward=in_training("batch", lambda x, p, o: gained(standard(x, (0, 2), o["eps"]), p)))),
    Planted(NUMERICS, "variance as a difference of squares", "batch", plain("batch", forward=in_training("batch", squares), dtype=torch.float32)),
    Planted(GRADIENT, "no gradient through the statistics", "batch", plain("batch", forward=in_training("batch", detached))),
    Planted(NUMERICS, "statistics in bfloat16", "batch", plain("batch", dtype=torch.bfloat16)),
    Planted(USE, "one value per channel accepted", "batch", plain("batch", refuse=False)),
    Planted(ACTIVATION, "activation ignored", "batch", plain("batch", activate=False)),
    Planted(STATE, "momentum unscaled by the splits", "ghost_batch", plain("ghost_batch", advance=per_split)),
    Planted(STATE, "biased running variance", "ghost_batch", plain("ghost_batch", advance=moves("ghost_batch", biased))),
    Planted(MODE, "ghost statistics in eval", "ghost_batch", plain("ghost_batch", forward=_always_ghost)),
    Planted(AXES, "every k-th image instead of consecutive ones", "ghost_batch", plain("ghost_batch", forward=in_training("ghost_batch", strided))),
    Planted(USE, "ragged batches refused", "ghost_batch", plain("ghost_batch", forward=in_training("ghost_batch", ragged_refused))),
    Planted(STATISTICS, "no splits at all", "ghost_batch", plain("ghost_batch", forward=right("batch"))),
    Planted(AFFINE, "affine off", "instance", plain("instance", forward=_no_affine("instance"))),
    Planted(MODE, "something else in eval", "instance", plain("instance", forward=instance_running)),
    Planted(USE, "1x1 maps accepted", "instance", plain("instance", refuse=False)),
    Planted(GATE, "gate made anew in forward", "batch_instance", made_anew()),
    Planted(GATE, "gate the wrong way round", "batch_instance", plain("batch_instance", forward=swapped_gate)),
    Planted(GATE, "gate without gradient", "batch_instance", plain("batch_instance", forward=frozen_gate)),
    Planted(GATE, "gate never clamped", "batch_instance", no_after_step()),
    Planted(AXES, "interleaved groups", "group", plain("group", forward=shuffled_groups)),
    Planted(STATISTICS, "another number of groups", "group", plain("group", forward=one_group)),
    Planted(AXES, "HWIO: images taken for channels", "group", plain("group", forward=hwio)),
    Planted(AXES, "statistics per pixel", "layer", plain("layer", forward=per_pixel)),
    Planted(AXES, "statistics over the batch too", "layer", plain("layer", forward=over_everything)),
    Planted(USE, "cannot be traced", "layer", plain("layer", forward=decides_by_value)),
    Planted(ROOT, "eps outside the root", "rms", plain("rms", forward=rms_outside)),
    Planted(STATISTICS, "mean taken off", "rms", plain("rms", forward=rms_centered)),
    Planted(ACTIVATION, "ReLU instead of the threshold", "filter_response", plain("filter_response", forward=plain_relu)),
    Planted(ACTIVATION, "extra ReLU", "filter_response", plain("filter_response", forward=extra_relu)),
    Planted(ROOT, "eps outside the root", "filter_response", plain("filter_response", forward=fr_eps_outside)),
    Planted(GATE, "one weight vector for means and variances", "switchable", plain("switchable", forward=one_vector)),
    Planted(GATE, "weights without softmax", "switchable", plain("switchable", forward=no_softmax)),
    Planted(GRADIENT, "gradient through r and d", "batch_renorm", plain("batch_renorm", forward=renorm_gradient)),
    Planted(STATE, "running variance instead of deviation", "batch_renorm", plain("batch_renorm", advance=moves("batch_renorm", renorm_variance))),
    Planted(STATISTICS, "r and d never clipped", "batch_renorm", plain("batch_renorm", forward=renorm_unclipped)),
    Planted(GATE, "v left out", "evonorm_s0", plain("evonorm_s0", forward=swish_without_v)),
    Planted(AXES, "deviation per channel instead of group", "evonorm_s0", plain("evonorm_s0", forward=instance_std)),
    Planted(ACTIVATION, "takes a second activation", "evonorm_s0", plain("evonorm_s0", refuse=False)),
    Planted(STATISTICS, "smaller deviation instead of larger", "evonorm_b0", plain("evonorm_b0", forward=smaller_of_both)),
    Planted(STATISTICS, "instance part left out", "evonorm_b0", plain("evonorm_b0", forward=b0_batch_only)),
    Planted(STATE, "biased running variance", "evonorm_b0", plain("evonorm_b0", advance=moves("evonorm_b0", biased))),
    Planted(AFFINE, "a gain in no norm", "none", KeepsScale),
]  # fmt: skip

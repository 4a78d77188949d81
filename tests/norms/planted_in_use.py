"""Wrong layers whose values are right: each gets a way in which torch uses layers wrong.

Each names the checks that catch it, and no other may: most are one check's own mistake.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function, forward_ad
from torch.nn.utils import parametrize

from normlab.norms.conformance.definitions import DEFINITIONS, Options, Values
from tests.norms.plain import plain

Layer = Callable[..., nn.Module]
EVONORM = {"groups": 3}
BARE = {"affine": False}
SECOND_ORDER = {
    "derivatives",
    "second derivatives",
    "functional_call",
    "mode changed before backward",
    "buffers changed before backward",
}


@dataclass(frozen=True)
class InUse:
    """A mistake: what is wrong, the kind it claims to be, the layer, the checks that see it."""

    wrong: str
    kind: str
    layer: Layer
    caught: set[str]
    options: dict[str, Any] = field(default_factory=dict)


def formula(kind: str, change: Callable[[Tensor, Tensor, Values, Options], Tensor]) -> Layer:
    """A plain layer whose output is changed: (y, x, parameters, options) to another y."""

    def forward(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
        return change(DEFINITIONS[kind].forward(x, p, o, s, training), x, p, o)

    return plain(kind, forward=forward)


def by_hand() -> bool:
    """Whether a layer runs as it is: not compiled, traced or in forward mode."""
    return not (
        torch.compiler.is_compiling() or torch.jit.is_tracing() or forward_ad._current_level >= 0
    )


# Mistakes in what backward does ------------------------------------------------------------------


class Written(Function):
    """Layer norm without gain, its backward written as a loop's would be: by what was saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, o: Options) -> Tensor:
        ctx.save_for_backward(x)
        ctx.strides, ctx.options = x.stride(), o
        return DEFINITIONS["layer"].forward(x, {}, o, {}, True)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return Written.gradient(x, dy, ctx.options), None

    @staticmethod
    def gradient(x: Tensor, dy: Tensor, o: Options) -> Tensor:
        with torch.enable_grad():
            kept = x if x.requires_grad else x.detach().requires_grad_()
            y = DEFINITIONS["layer"].forward(kept.to(dy.dtype), {}, o, {}, True)
        (dx,) = torch.autograd.grad(y, kept, dy, create_graph=torch.is_grad_enabled())
        return dx


class DerivedOnce(Written):
    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        with torch.no_grad():
            return Written.gradient(ctx.saved_tensors[0], dy, ctx.options), None


class AsTheForwardLay(Written):
    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        moved = torch.as_strided(x.detach(), x.shape, ctx.strides) - x.detach()
        return Written.gradient(x, dy, ctx.options) * (1 + moved.abs()), None


class OneDtype(Written):
    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if x.dtype != dy.dtype:
            raise RuntimeError("this cannot be")
        return Written.gradient(x, dy, ctx.options), None


class AnyDevice(Written):
    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        x = torch.empty(x.shape, dtype=x.dtype) if x.is_meta else x
        return Written.gradient(x, dy, ctx.options), None


class OneByOne(Written):
    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        if not torch.is_grad_enabled():
            dy = dy.detach()  # fails for many gradients at once, and speaks of aten::detach
        return Written.gradient(ctx.saved_tensors[0], dy, ctx.options), None


def written(function: type[Function], *, in_forward_mode: bool = False) -> Layer:
    def forward(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
        if by_hand() or (in_forward_mode and forward_ad._current_level >= 0):
            return function.apply(x, o)  # type: ignore[no-any-return, no-untyped-call]
        return DEFINITIONS["layer"].forward(x, p, o, s, training)

    return plain("layer", forward=forward)


class ReadLate(plain("batch")):  # type: ignore[misc]
    """What `late` gives is asked again when the gradient is: it must be what it was."""

    def late(self) -> Any:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)
        if by_hand() and y.requires_grad:
            before = self.late()
            y.register_hook(lambda dy: dy if self.late() == before else 2 * dy)
        return y


class ModeReadLate(ReadLate):
    def late(self) -> bool:
        return self.training


class BuffersReadLate(ReadLate):
    def late(self) -> Any:
        return self.running_mean.tolist()


# Mistakes in where the gain comes from -----------------------------------------------------------


class OwnGainsOnly(plain("layer")):  # type: ignore[misc]
    """A gain that is no parameter is a constant."""

    def parts(self) -> Values:
        own = {*self._parameters, *getattr(self, "parametrizations", {})}
        return {n: v if n in own else v.detach() for n, v in super().parts().items()}


class OriginalGain(plain("layer")):  # type: ignore[misc]
    """Under a parametrization it reads what the gain is made from."""

    def parts(self) -> Values:
        made: Values = super().parts()
        if parametrize.is_parametrized(self, "weight"):
            made["weight"] = self.parametrizations.weight.original
        return made


class ParametersOnly(plain("layer")):  # type: ignore[misc]
    """Plain tensors in the parameters' places get no gradient."""

    def parts(self) -> Values:
        return {
            n: v.detach() if n in self._parameters and not isinstance(v, nn.Parameter) else v
            for n, v in super().parts().items()
        }


# Mistakes in state and modes ---------------------------------------------------------------------


def lerp(x: Tensor, o: Options, s: Values) -> Values:
    """The running statistics' own dtype holds the difference: inf - inf, after an overflow."""
    advance = DEFINITIONS["batch"].advance
    assert advance is not None
    new = advance(x, {**o, "momentum": 1.0}, s)
    share = 1 / int(new["num_batches_tracked"]) if o["momentum"] is None else o["momentum"]
    moved = {n: s[n] + share * (new[n].to(s[n].dtype) - s[n]) for n in new if n[0] == "r"}
    return {**new, **moved}


def keeps_statistics(self: Any) -> None:
    """Parameters alone are reset, but for the first time."""
    for name, value in {"weight": 1.0, "bias": 0.0}.items():
        if name in self._parameters:
            nn.init.constant_(self.get_parameter(name), value)
    if not hasattr(self, "made"):
        self.made = True
        self.reset_running_stats()


class Uncounted(plain("batch")):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.numel() else x  # type: ignore[no-any-return]


class NoBatchNorm(plain("layer")):  # type: ignore[misc]
    """A batch norm that torch's tools do not take for one."""

    definition = DEFINITIONS["batch"]
    forward_as = staticmethod(DEFINITIONS["batch"].forward)
    advance_as = DEFINITIONS["batch"].advance and staticmethod(DEFINITIONS["batch"].advance)
    kind = "batch"


class FoldedReLU(plain("layer")):  # type: ignore[misc]
    """Computes the ReLU itself and never calls the module."""

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.activation, nn.ReLU):
            return super().forward(x)  # type: ignore[no-any-return]
        module, self.activation = self.activation, nn.Identity()
        y: Tensor = super().forward(x).relu()
        self.activation = module
        return y


class EpsOfTheStart(plain("layer")):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kept = self.eps

    def options(self) -> Options:
        return {**super().options(), "eps": self.kept}


class OneCompiledSize(plain("layer")):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_dynamo_compiling() and x.shape[0] == 7:
            raise ValueError("compiled for another size")
        return super().forward(x)  # type: ignore[no-any-return]


class VarOfTensor(plain("evonorm_s0")):  # type: ignore[misc]
    """In the map's own dtype with Tensor.var, whose gradient is around a rounded mean."""

    def forward(self, x: Tensor) -> Tensor:
        self.dtype = torch.promote_types(x.dtype, torch.float32)
        return super().forward(x)  # type: ignore[no-any-return]

    @staticmethod
    def forward_as(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
        grouped = x.unflatten(1, (o["groups"], -1))
        std = torch.sqrt(grouped.var((2, 3, 4), correction=0, keepdim=True) + o["eps"])
        std = std.expand(-1, -1, grouped.shape[2], -1, -1).flatten(1, 2)
        row = {name: value[:, None, None] for name, value in p.items()}
        return x * torch.sigmoid(row["v"] * x) / std * row["weight"] + row["bias"]


# Mistakes in numbers -----------------------------------------------------------------------------


def one_traced_size(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    y = DEFINITIONS["layer"].forward(x, p, o, s, training)
    return y.reshape(len(x), *x.shape[1:])


def one_exported_size(y: Tensor, x: Tensor, p: Values, o: Options) -> Tensor:
    return y * x.new_ones(operator.index(x.shape[0]), 1, 1, 1)


def rounded_twice(y: Tensor, x: Tensor, p: Values, o: Options) -> Tensor:
    return y if p["weight"].dtype.itemsize > 2 else (y * 256).round() / 256


def eps_in_half(x: Tensor, p: Values, o: Options, s: Values, training: bool) -> Tensor:
    eps = (
        torch.full((), o["eps"], dtype=p["weight"].dtype) if p["weight"].is_floating_point() else 0
    )
    return DEFINITIONS["layer"].forward(x, p, {**o, "eps": eps}, s, training)


def squares_overflow(y: Tensor, x: Tensor, p: Values, o: Options) -> Tensor:
    return y * x.detach().float().square().isfinite()


def cancels(y: Tensor, x: Tensor, p: Values, o: Options) -> Tensor:
    mean = x.detach().mean((1, 2, 3), keepdim=True).abs()
    return y * (1 + 1e-13 * torch.where(mean < 1e6, mean, 0.0) ** 2)


# Mistakes in what is refused ---------------------------------------------------------------------


class AnyNumber(plain("layer")):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.real.float() if not x.is_floating_point() else x)  # type: ignore[no-any-return]


class AnySize(plain("layer")):  # type: ignore[misc]
    """Broadcasts a gain of one value."""

    def check(self, x: Tensor) -> None:
        if not x.is_floating_point():
            raise TypeError(f"x is {x.dtype}")


class Follows(plain("layer")):  # type: ignore[misc]
    """Moves a map that was left behind to the layer's device."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.device))  # type: ignore[no-any-return]


IN_USE = [
    InUse("a gradient that has no derivative", "layer", written(DerivedOnce), SECOND_ORDER, BARE),
    InUse("the mode is read in backward", "batch", ModeReadLate, {"mode changed before backward"}),
    InUse("the buffers are read in backward", "batch", BuffersReadLate, {"derivatives", "buffers changed before backward"}),
    InUse("plain tensors get no gradient", "layer", ParametersOnly, {"derivatives", "functional_call"}),
    InUse("a made gain is a constant", "layer", OwnGainsOnly, {"gain made by a net"}),
    InUse("a parametrization is passed over", "layer", OriginalGain, {"parametrized gain"}),
    InUse("saved maps read by the forward's strides", "layer", written(AsTheForwardLay), {"saved tensors elsewhere"}, BARE),
    InUse("saved maps of another dtype", "layer", written(OneDtype), {"saved tensors, other dtype"}, BARE),
    InUse("saved maps read on any device", "layer", written(AnyDevice), {"saved tensors, other device"}, BARE),
    InUse("no gradients in batches", "layer", written(OneByOne), {"vectorized jacobian"}, BARE),
    InUse("no forward mode", "layer", written(Written, in_forward_mode=True), {"forward-mode AD"}, BARE),
    InUse("rounded twice in half", "layer", formula("layer", rounded_twice), {"half"}),
    InUse("eps rounded to half", "layer", plain("layer", forward=eps_in_half), {"small eps in half"}),
    InUse("inf - inf in a running variance", "batch", plain("batch", advance=lerp), {"statistics beyond half"}),
    InUse("a traced batch is a constant", "layer", plain("layer", forward=one_traced_size), {"torch.jit.trace", "torch.export"}),
    InUse("an exported batch is a constant", "layer", formula("layer", one_exported_size), {"torch.export"}),
    InUse("one compiled batch size", "layer", OneCompiledSize, {"torch.compile"}),
    InUse("a folded ReLU", "layer", FoldedReLU, {"activation module"}),
    InUse("eps of the constructor", "layer", EpsOfTheStart, {"options changed"}),
    InUse("squares overflow", "filter_response", formula("filter_response", squares_overflow), {"very large maps"}),
    InUse("digits lost far from 0", "evonorm_s0", formula("evonorm_s0", cancels), {"large offset"}, EVONORM),
    InUse("Tensor.var in float32", "evonorm_s0", VarOfTensor, {"large offset", "very large maps"}, EVONORM),
    InUse("an empty batch is not counted", "batch", Uncounted, {"empty batch"}),
    InUse("older state dicts are refused", "batch", plain("batch", _load_from_state_dict=nn.Module._load_from_state_dict), {"older state dict"}),
    InUse("running statistics are not reset", "batch", plain("batch", reset_parameters=keeps_statistics), {"reset_parameters"}),
    InUse("not found by update_bn", "batch", NoBatchNorm, {"update_bn", "older state dict"}),
    InUse("integers are normalized", "layer", AnyNumber, {"integer and complex maps"}),
    InUse("a gain of one value is broadcast", "layer", AnySize, {"state of wrong size"}),
    InUse("a map left behind is fetched", "layer", Follows, {"another device"}),
]  # fmt: skip

"""What one node of a traced model does to the output of a norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from normlab.models.surgery.character import Character, character
from normlab.models.surgery.finding import MAP_NORMS
from normlab.models.surgery.stand_in import stand_in
from normlab.regularizers import RandomLayer

Verdict = Character | Literal["ends", "joins"] | None
"""As in `character`, or: weights, a norm or the sum with another map end the search; the map is put
beside others; None if unknown."""

_NORMS = (*MAP_NORMS, _NormBase, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
_PASSING_MODULES = {
    f"torch.nn.modules.{name}"
    for name in (
        "channelshuffle",
        "dropout",
        "flatten",
        "padding",
        "pixelshuffle",
        "pooling",
        "upsampling",
    )
}
_SHAPES = {"size", "dim", "ndimension", "numel", "stride"}
_VALUES = {"data", "T", "mT", "H", "mH", "real"}
"""Attributes of a tensor that hold its values; the others tell of its shape, dtype and device."""
_PASSING = {
    *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "squeeze", "unsqueeze"),
    *("expand", "contiguous", "clone", "detach", "to", "float", "double", "half", "type"),
    *("getitem", "chunk", "split", "unbind", "narrow", "select", "interpolate", "pad"),
    *("dropout", "dropout2d", "alpha_dropout", "feature_dropout", "mean", "sum", "identity"),
    *("avg_pool2d", "max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "lp_pool2d"),
}
_COMBINING = {
    *("add", "iadd", "radd", "sub", "isub", "rsub", "mul", "imul", "rmul", "div", "truediv"),
    "itruediv",
}
_JOINING = {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"}
_WEIGHING = {"linear", "matmul", "mm", "bmm", "baddbmm", "addmm", "einsum", "bilinear"}


def of_call(module: nn.Module, others: list[fx.Node], channels: int) -> Verdict:
    """What a module does that is called on a norm's output, and on `others` as well."""
    if isinstance(module, nn.PReLU):
        return "bends"
    if isinstance(module, _NORMS):
        return "ends"
    if any(True for _ in module.parameters()):
        return "ends" if type(module).__module__.startswith("torch.") else None
    return None if others else _of_module(module, channels)


def _of_module(module: nn.Module, channels: int) -> Character | None:
    """What a module without parameters does to a map."""
    if type(module).__module__ in _PASSING_MODULES or isinstance(module, RandomLayer):
        return "passes"
    try:
        return character(stand_in(module).eval().forward, channels)
    except Exception:  # a module that cannot be copied
        return None


def of_function(user: fx.Node, node: fx.Node, others: list[fx.Node], channels: int) -> Verdict:
    """What a function or a tensor's method does to the output `node`, and to `others` as well."""
    name, is_alone = name_of(user), user.all_input_nodes == [node]
    known: Verdict = None
    if user.op not in {"call_function", "call_method"}:
        return None
    if _tells_shape(user):
        known = "nothing"
    elif name in _JOINING:
        known = "joins"
    elif name in _WEIGHING or name.startswith(("conv", "scaled_dot")) or name.endswith("_norm"):
        known = "ends"
    elif name in _PASSING or name == "getattr":
        known = "passes"
    elif name in _COMBINING and not is_alone:
        known = "ends" if others else "passes"
    return known or (character(_alone(user), channels) if is_alone else None)


def name_of(node: fx.Node) -> str:
    """Of the function or method that a node calls; the one that works in place has the same."""
    target = node.target
    return (target if isinstance(target, str) else getattr(target, "__name__", "")).strip("_")


def _alone(user: fx.Node) -> Callable[[Tensor], object]:
    """A node with one input, as a function of it."""

    def run(x: Tensor) -> object:
        args = fx.node.map_arg(user.args, lambda _: x)
        kwargs = fx.node.map_arg(user.kwargs, lambda _: x)
        if user.op == "call_method":
            return getattr(args[0], str(user.target))(*args[1:], **kwargs)
        return user.target(*args, **kwargs)  # type: ignore[operator]

    return run


def data_of(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that are made from the input's values, not from its shape or from parameters."""
    data: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or (
            not _tells_shape(node) and any(n in data for n in node.all_input_nodes)
        ):
            data.add(node)
    return data


def _tells_shape(node: fx.Node) -> bool:
    if node.op == "call_function" and name_of(node) == "getattr":
        return node.args[1] not in _VALUES
    return node.op == "call_method" and name_of(node) in _SHAPES

"""From a model to a graph of operations on maps, by its layers; see `normlab.train.lanes.graph`."""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from normlab.convolutions import Conv2d
from normlab.models.pooling import AveragePool, GlobalAveragePool
from normlab.models.residual import Add as AddLayer
from normlab.models.residual import ZeroPad
from normlab.norms import NoNorm, is_norm
from normlab.regularizers import Dropout, RandomLayer, SpatialDropout, StochasticDepth
from normlab.train.lanes.graph import Add, Conv, Graph, Map, Mask, Operation, Pool, Read
from normlab.train.lanes.norms import why_not

_CONVOLUTIONS = (nn.Conv2d, Conv2d)
_AVERAGES = (nn.AvgPool2d, AveragePool, nn.AdaptiveAvgPool2d, GlobalAveragePool)
_UNITS: dict[type[RandomLayer], Any] = {
    Dropout: "element",
    SpatialDropout: "map",
    StochasticDepth: "image",
}
_Steps = tuple[tuple[str, str], ...]
"""What follows a stored map until it is read: ("norm", name), ("relu", ""), ("mask", name)."""


class NoLanes(Exception):  # noqa: N818
    """A model, or a recipe, has no form for lanes; the message says why."""


@dataclass(frozen=True)
class _Value:
    """A result within the model: a stored map and what follows it so far."""

    map: int
    steps: _Steps = ()
    stride: int = 1
    is_padded: bool = False
    is_flat: bool = False


@dataclass
class _Making:
    """The graph in the making; maps get their views at the end."""

    shapes: list[tuple[int, int, int]]
    rows: dict[str, int]
    dropping: Collection[str]
    operations: list[tuple[type[Operation], dict[str, Any], list[_Value], int]] = field(
        default_factory=list
    )

    def write(
        self,
        kind: type[Operation],
        reads: list[_Value],
        shape: tuple[int, int, int],
        **options: Any,
    ) -> _Value:
        """One more operation and its map (C, H, W)."""
        if any(value.is_padded for value in reads[:1]):
            raise NoLanes("a thinned shortcut is read by something else than a sum")
        self.shapes.append(shape)
        self.operations.append((kind, options, reads, len(self.shapes) - 1))
        return _Value(len(self.shapes) - 1)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_norm(m) or isinstance(m, NoNorm) or not any(True for _ in m.children())


def translate(
    model: nn.Module, shape: tuple[int, int, int], dropping: Collection[str] = ()
) -> Graph:
    """The graph of a model.

    Args:
        model: In training mode; only its layers and shapes are looked at.
        shape: (C, H, W) of an image.
        dropping: The names of the random layers that drop anything.

    Raises:
        NoLanes: A layer has no form for lanes; the message names it.
    """
    before = _state(model)
    try:
        traced = _Tracer().trace(model)
    except Exception as error:  # code of the user's that cannot be followed
        raise NoLanes(f"the model's code cannot be followed: {error}") from None
    after = _state(model)
    if changed := [name for name in before.keys() | after.keys() if _differ(name, before, after)]:
        # It is followed once: what it does in later steps would stay unseen.
        raise NoLanes(f"the model's code changes {min(changed)!r} as it runs")
    _check_use(model, traced)
    modules = dict(model.named_modules())
    parameters = tuple((name, tuple(p.shape)) for name, p in model.named_parameters())
    rows, at = {}, 0
    for name, size in parameters:
        rows[name] = at
        at += torch.Size(size).numel()
    making = _Making([shape], rows, dropping)
    values: dict[fx.Node, _Value] = {}
    result: _Value | None = None
    for node in traced.nodes:
        given = [values[a] for a in node.all_input_nodes]
        if node.op == "placeholder":
            values[node] = _Value(0)
        elif node.op == "call_module":
            module = modules[str(node.target)]
            values[node] = _layer(making, str(node.target), module, given)
        elif node.op == "call_function" and node.target in (operator.add, torch.add):
            values[node] = _sum(making, given if not node.kwargs else [])
        elif node.target in (torch.flatten, "flatten"):
            values[node] = _flat(given[0], *node.args[1:], **node.kwargs)
        elif node.op == "output":
            result = given[0]
        else:
            raise NoLanes(f"the model calls {getattr(node.target, '__name__', node.target)}")
    if result is None or result.steps or making.shapes[result.map][1:] != (1, 1):
        raise NoLanes("something follows the layer that makes the logits")
    if not making.operations or making.operations[-1][3] != result.map:
        raise NoLanes("the logits are not what the last layer makes")
    return _finish(making, parameters)


def _state(model: nn.Module) -> dict[str, object]:
    """What code of a model can change in a forward, by name: copies, or texts that tell a change.

    Values of parameters are not looked at: no forward changes them that can be trained.
    """
    found: dict[str, object] = {}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in {"_modules", "_parameters", "_buffers"}:
                found[f"{prefix}.{name}".lstrip(".")] = repr(value)
        for name, parameter in module.named_parameters(prefix, recurse=False):
            found[f"{name}.requires_grad"] = parameter.requires_grad
        for name, buffer in module.named_buffers(prefix, recurse=False):
            found[name] = buffer.detach().clone()
    return found


def _differ(name: str, one: dict[str, object], other: dict[str, object]) -> bool:
    ours, theirs = one.get(name), other.get(name)
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor) and not ours.is_meta:
        return not torch.equal(ours, theirs)
    return type(ours) is not type(theirs) or not (isinstance(ours, Tensor) or ours == theirs)


def _check_use(model: nn.Module, traced: fx.Graph) -> None:
    """Refuse what the operations of a graph would not show."""
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if len(names) > len(list(model.parameters())):
        raise NoLanes("parameters are shared between layers")
    if sum(node.op == "placeholder" for node in traced.nodes) != 1:
        raise NoLanes("the model takes more than images")
    called = [str(node.target) for node in traced.nodes if node.op == "call_module"]
    for name in names:
        if name.rpartition(".")[0] not in called:
            raise NoLanes(f"parameter '{name}' belongs to no layer of its own that is called")
    for name in called:
        if is_norm(model.get_submodule(name)) and called.count(name) > 1:
            raise NoLanes(f"{name}: a norm that is used twice has no form for lanes")


def _flat(value: _Value, start_dim: int = 0, end_dim: int = -1) -> _Value:
    if (start_dim, end_dim) != (1, -1):
        raise NoLanes("only whole images are flattened in lanes")
    return replace(value, is_flat=True)


def _layer(making: _Making, name: str, module: nn.Module, given: list[_Value]) -> _Value:
    value = given[0]
    if isinstance(module, AddLayer):
        return _sum(making, given)
    if type(module) in _CONVOLUTIONS:
        return _convolution(making, name, module, value)
    if type(module) is nn.Linear:
        return _linear(making, name, module, value)
    if type(module) is nn.MaxPool2d or type(module) in _AVERAGES:
        return _pool(making, name, module, value)
    followed = _followed(making, name, module, value)
    if followed is None:
        raise NoLanes(f"{name}: {type(module).__name__} has no form for lanes")
    return followed


def _followed(making: _Making, name: str, module: nn.Module, value: _Value) -> _Value | None:
    """A value followed by what is no operation of its own."""
    if type(module) is nn.Identity:
        return value
    if type(module) is nn.Flatten:
        return _flat(value, module.start_dim, module.end_dim)
    if isinstance(module, ZeroPad):
        return replace(value, stride=module.stride, is_padded=True)
    steps: _Steps = ()
    if is_norm(module) or isinstance(module, NoNorm):
        steps = _normalized(name, module)
    elif isinstance(module, nn.ReLU):
        steps = _activation(name, module)
    elif isinstance(module, RandomLayer):
        steps = _dropped(making, name, module, value)
    else:
        return None
    return replace(value, steps=(*value.steps, *steps))


def _normalized(name: str, module: nn.Module) -> _Steps:
    steps: _Steps = ()
    if not isinstance(module, NoNorm):
        if reason := why_not(module):
            raise NoLanes(f"{name}: it {reason}")
        steps = (("norm", name),)
    activation = getattr(module, "activation", None)
    return steps if activation is None else (*steps, *_activation(name, activation))


def _dropped(making: _Making, name: str, module: RandomLayer, value: _Value) -> _Steps:
    if name not in making.dropping:
        return ()
    if value.is_flat and making.shapes[value.map][1:] != (1, 1):
        raise NoLanes(f"{name}: dropout of a flattened map has no form for lanes")
    if type(module) not in _UNITS:
        raise NoLanes(f"{name}: {type(module).__name__} has no form for lanes")
    return (("mask", f"{_UNITS[type(module)]}:{name}"),)


def _activation(name: str, module: nn.Module) -> _Steps:
    if type(module) is not nn.ReLU:
        raise NoLanes(f"{name}: {type(module).__name__} has no form for lanes")
    return (("relu", ""),)


def _linear(making: _Making, name: str, module: nn.Linear, value: _Value) -> _Value:
    channels, height, width = making.shapes[value.map]
    if channels * height * width != module.in_features:
        raise NoLanes(f"{name}: the linear layer does not read a whole map")
    return making.write(
        Conv,
        [value],
        (module.out_features, 1, 1),
        kernel=(height, width),
        stride=1,
        padding=(0, 0),
        weight=making.rows[f"{name}.weight"],
        bias=making.rows.get(f"{name}.bias"),
    )


def _convolution(making: _Making, name: str, module: nn.Module, value: _Value) -> _Value:
    assert isinstance(module, nn.Conv2d)
    plain = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
    if not plain or isinstance(module.padding, str) or module.stride[0] != module.stride[1]:
        raise NoLanes(f"{name}: groups, dilation or such a padding has no form for lanes")
    if max(module.kernel_size) > 7 or not all(
        p < k for p, k in zip(module.padding, module.kernel_size, strict=True)
    ):
        raise NoLanes(f"{name}: a kernel of {module.kernel_size} has no form for lanes")
    _, height, width = making.shapes[value.map]
    made = [
        (size + 2 * p - k) // module.stride[0] + 1
        for size, p, k in zip((height, width), module.padding, module.kernel_size, strict=True)
    ]
    return making.write(
        Conv,
        [value],
        (module.out_channels, made[0], made[1]),
        kernel=module.kernel_size,
        stride=module.stride[0],
        padding=module.padding,
        weight=making.rows[f"{name}.weight"],
        bias=making.rows.get(f"{name}.bias"),
    )


def _pool(making: _Making, name: str, module: nn.Module, value: _Value) -> _Value:
    channels, height, width = making.shapes[value.map]
    if isinstance(module, nn.AdaptiveAvgPool2d):
        if module.output_size not in (1, (1, 1)):
            raise NoLanes(f"{name}: an average over parts of a map has no form for lanes")
        window = stride = (height, width)
    else:
        assert isinstance(module, nn.MaxPool2d | nn.AvgPool2d)
        window, stride = _pair(module.kernel_size), _pair(module.stride)
        if module.ceil_mode or module.padding not in (0, (0, 0)):
            raise NoLanes(f"{name}: a pool with padding or ceil_mode has no form for lanes")
        odd = [getattr(module, "divisor_override", None), getattr(module, "return_indices", False)]
        if any(odd) or getattr(module, "dilation", 1) not in (1, (1, 1)):
            raise NoLanes(f"{name}: a pool with such options has no form for lanes")
    made = [(size - k) // s + 1 for size, k, s in zip((height, width), window, stride, strict=True)]
    if window != stride and made != [1, 1]:
        raise NoLanes(f"{name}: a pool whose windows overlap has no form for lanes")
    return making.write(
        Pool,
        [value],
        (channels, made[0], made[1]),
        window=window,
        is_max=isinstance(module, nn.MaxPool2d),
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _sum(making: _Making, given: list[_Value]) -> _Value:
    if len(given) != 2:
        raise NoLanes("a sum of a map with itself or a number has no form for lanes")
    branch, shortcut = given
    if branch.is_padded:
        branch, shortcut = shortcut, branch
    return making.write(Add, [branch, shortcut], making.shapes[branch.map], stride=shortcut.stride)


def _finish(making: _Making, parameters: tuple[tuple[str, tuple[int, ...]], ...]) -> Graph:
    """Give the maps their views and say which reader writes a gradient first."""
    views: dict[int, set[_Steps]] = {}
    for _, _, reads, _ in making.operations:
        for value in reads:
            views.setdefault(value.map, set()).add(value.steps)
    maps = tuple(
        _map(number, shape, views.get(number, set())) for number, shape in enumerate(making.shapes)
    )
    masks = tuple((m.mask, m) for m in maps if m.mask)
    if len({mask for mask, _ in masks}) < len(masks):
        raise NoLanes("one dropout layer is used twice")
    if maps[0].norm:
        raise NoLanes("a norm of the images themselves has no form for lanes")
    if any(
        not v.map and kind is not Conv for kind, _, reads, _ in making.operations for v in reads
    ):
        raise NoLanes("the images are read by something else than a convolution")
    if any(number not in views for *_, number in making.operations[:-1]):
        raise NoLanes("a layer is called whose result nothing reads")
    seen: set[tuple[int, bool]] = set()
    operations: list[Operation] = []
    for kind, options, reads, number in reversed(making.operations):
        made = []
        for value in reads:
            stored = maps[value.map]
            raw = not value.steps and not stored.is_plain
            own = (stored.number, raw and stored.norm is not None)
            made.append(Read(stored, raw, own not in seen))
            seen.add(own)
        operations.append(_operation(kind, made, maps[number], options))
    return Graph(maps, tuple(reversed(operations)), parameters, masks)


def _operation(
    kind: type[Operation], reads: list[Read], out: Map, options: dict[str, Any]
) -> Operation:
    if kind is Add:
        return Add(reads[0], reads[1], out, **options)
    if kind is Pool:
        return Pool(reads[0], out, **options)
    return Conv(reads[0], out, **options)


def _map(number: int, shape: tuple[int, int, int], views: set[_Steps]) -> Map:
    channels, height, width = shape
    own = {steps for steps in views if steps}
    if len(own) > 1:
        raise NoLanes("a map is read in two ways, neither of them as it is")
    steps = own.pop() if own else ()
    kinds = [kind for kind, _ in steps]
    rectified = kinds[:2] == ["relu", "norm"] and () not in views
    if rectified:
        steps, kinds = steps[1:], kinds[1:]
    if kinds != [k for k in ("norm", "relu", "mask") if k in kinds]:
        raise NoLanes(f"{', '.join(kinds)} in this order have no form for lanes")
    of = dict(steps)
    unit, _, name = of.get("mask", "").partition(":")
    mask = Mask(name, unit) if name else None  # type: ignore[arg-type]
    return Map(number, channels, height, width, rectified, of.get("norm"), "relu" in kinds, mask)

"""The layer table of a model: kernel, stride, map, receptive field and parameters of each layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from normlab.errors import UserError
from normlab.models.residual import Add
from normlab.models.roles import WEIGHTED
from normlab.norms import NORMS, MomentNorm, NoNorm, PooledNorm, is_norm

_VIEW = "_normlab_view"
_Window = tuple[int | None, int | None, int | None]
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_SHOWN = (*_POOLS, nn.AdaptiveAvgPool2d, Add)


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer: sizes in pixels; None where a layer has no such size.

    Attributes:
        depth: Convolutions and linear layers on the longest path from the image to here, this one
            included, as in "a ResNet of 14 layers" (He et al. 2016). Shortcuts run beside them.
    """

    name: str
    kind: str
    kernel: int | None
    padding: int | None
    stride: int | None
    channels: int
    map_size: int
    receptive_field: int
    formula: str
    parameters: int
    depth: int


def layer_table(
    model: nn.Module, shape: tuple[int, int, int], *, images: int = 2
) -> list[LayerRow]:
    """The layers of a model in the order they run, found by one forward pass in training mode.

    The pass runs on a copy without values (on torch's meta device): the model stays as it is.

    Args:
        model: Any module.
        shape: (C, H, W) of one image.
        images: Number of images in the batch.

    Raises:
        UserError: A layer refuses its input; the message names the layer and the map.
    """
    model = copy.deepcopy(model).to("meta").train()
    rows: list[LayerRow] = []
    current = {"name": "", "map": ""}

    def enter(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...]) -> None:
            current["name"] = name
            maps = list(_tensors(inputs))
            current["map"] = "x".join(map(str, maps[0].shape[1:])) if maps else "?"
            if maps and maps[0].dim() == 4 and is_norm(module) and _is_single(module, maps[0]):
                raise ValueError(
                    f"{type(module).__name__} has one value per group here: "
                    "it is its own mean, and there is no deviation to divide by"
                )

        return hook

    def leave(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            maps, made = list(_tensors(inputs)), next(_tensors(output), None)
            if not maps or made is None:
                return
            window = _window(module, maps[0])
            view = _seen_through(module, window, _joined(maps))
            _remember(made, view)
            if _is_shown(module):
                formula, parameters = _count(module)
                rows.append(
                    LayerRow(
                        name=name,
                        kind=type(module).__name__,
                        kernel=window[0],
                        padding=window[1],
                        stride=window[2],
                        channels=made.shape[1 if made.dim() == 4 else -1],
                        map_size=made.shape[-1] if made.dim() == 4 else 1,
                        receptive_field=view.field,
                        formula=formula,
                        parameters=parameters,
                        depth=view.depth,
                    )
                )

        return hook

    leaves = [(name, module) for name, module in model.named_modules() if not _has_layers(module)]
    for name, module in leaves:
        if isinstance(module, MomentNorm) and type(module) in NORMS.values():
            module.forward = partial(_checked, module)  # type: ignore[method-assign]
        short = name.removeprefix("layers.")
        module.register_forward_pre_hook(enter(short))
        module.register_forward_hook(leave(short))
    counted = "a batch of one map" if images == 1 else "a map"
    try:
        with torch.no_grad(), _Views():
            model(torch.empty(images, *shape, device="meta"))
    except Exception as error:  # a model of the user's can fail in any way
        raise UserError(
            f"layer '{current['name']}' cannot take {counted} of {current['map']} "
            f"(channels x height x width): {error}"
        ) from None
    return rows


class _View(NamedTuple):
    """What one value of a map sees of the image: pixels a side, from one to the next; how deep."""

    field: int = 1
    jump: int = 1
    depth: int = 0


class _Views(TorchFunctionMode):
    """Carries views through what happens between layers; a sum sees what its widest part sees."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function and mark its results."""
        result = func(*args, **(kwargs or {}))
        view = _joined(_tensors((args, kwargs)))
        for tensor in _tensors(result):
            _remember(tensor, view)
        return result


def _joined(tensors: Iterable[Tensor]) -> _View:
    views = [getattr(tensor, _VIEW, _View()) for tensor in tensors]
    return _View(*map(max, zip(*views, strict=True))) if views else _View()


def _remember(tensor: Tensor, view: _View) -> None:
    setattr(tensor, _VIEW, view)


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in a function's arguments or result."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _seen_through(module: nn.Module, window: _Window, view: _View) -> _View:
    kernel, _, stride = window
    dilation = _side(getattr(module, "dilation", 1))
    field = view.field + ((kernel or 1) - 1) * dilation * view.jump
    return _View(field, view.jump * (stride or 1), view.depth + isinstance(module, WEIGHTED))


def layer_count(rows: Iterable[LayerRow]) -> int:
    """Number of layers with weights on the longest path through a model, from its table."""
    return max((row.depth for row in rows), default=0)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _checked(norm: MomentNorm, x: Tensor) -> Tensor:
    """What a norm's forward says of a map; without values there is nothing more to it."""
    norm.check_map(x)
    return torch.empty_like(x)


def _is_single(norm: nn.Module, x: Tensor) -> bool:
    """Whether a group of an image's channels, where a norm has them, is a single value."""
    images, channels, pixels = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    if isinstance(norm, MomentNorm):
        norm.check_batch(images, pixels)  # it knows better what it needs
    if isinstance(norm, PooledNorm):
        pooling = norm.pooling(images, pixels)
        return pooling.images == "each" and pooling.channels * pixels == 1
    return channels * pixels == getattr(norm, "num_groups", getattr(norm, "groups", None))


def _has_layers(module: nn.Module) -> bool:
    # A norm holds its activation but is one layer.
    return bool(list(module.children())) and not (is_norm(module) or isinstance(module, NoNorm))


def _is_shown(module: nn.Module) -> bool:
    weighted = any(True for _ in module.parameters())
    return weighted or isinstance(module, _SHOWN) or is_norm(module)


def _window(module: nn.Module, x: Tensor) -> _Window:
    """Kernel, padding and stride."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        into, out = x.shape[-1], _side(module.output_size or x.shape[-1])
        if out == 1:
            return into, 0, 1  # the window is the whole map
        stride = max(into // out, 1)
        return into - (out - 1) * stride, 0, stride
    if isinstance(module, (nn.Conv2d, *_POOLS)):
        kernel, padding = _side(module.kernel_size), module.padding
        if isinstance(padding, str):  # "valid" or "same"
            reach = (kernel - 1) * _side(module.dilation)
            padding = reach // 2 if padding == "same" else 0
        return kernel, _side(padding), _side(module.stride)
    return None, None, None


def _side(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)


def _count(module: nn.Module) -> tuple[str, int]:
    total = sum(parameter.numel() for parameter in module.parameters())
    weight = getattr(module, "weight", None)
    if weight is None:
        return "", total
    if isinstance(module, nn.Conv2d):
        rows, columns = module.kernel_size
        per_group = module.in_channels // module.groups
        formula = f"{rows}x{columns}x{per_group}x{module.out_channels}"
    elif isinstance(module, nn.Linear):
        formula = f"{module.in_features}x{module.out_features}"
    else:
        return f"{total // weight.numel()}x{weight.numel()}", total
    bias = getattr(module, "bias", None)
    return formula + (f"+{bias.numel()}" if bias is not None else ""), total

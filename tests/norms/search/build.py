"""From a case to a layer and its maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normlab.norms import ACTIVATIONS, make
from tests.norms.search.cases import Case

FILL = float("nan")  # in the gaps of a layout: what is read from there shows
CANARY = 12345.0  # behind state that is too short: what is written there shows
_SIGNED = {"bias", "tau"}


class Capped(nn.ReLU):
    """A ReLU that ends at 0.5: no ReLU of torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=0.5)


class Mine(Tensor):
    """A tensor class of a user's."""


class Twice(nn.Module):
    """A parametrization."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def activation(name: str) -> nn.Module | None:
    """The module behind a layer; a new one at each call."""
    if name == "capped":
        return Capped()
    if name == "in_place":
        return nn.ReLU(inplace=True)
    return ACTIVATIONS[name]() if name else None


def generator(case: Case, more: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 * case.seed + more)


def layer(case: Case, kind: str = "") -> nn.Module:
    """The layer with random parameters and running statistics, before anything odd is done."""
    options = dict(case.options)
    progress = options.pop("progress", None)
    made = make(kind or case.kind, case.channels, **options)
    if case.activation:
        made.activation = activation(case.activation)
    if progress is not None:
        made.progress = progress
    source = generator(case, 1)
    with torch.no_grad():
        for name, tensor in (*made.named_parameters(), *made.named_buffers()):
            drawn = torch.rand(tensor.shape, generator=source, dtype=torch.float64)
            if tensor.is_floating_point():
                signed = name in _SIGNED or name == "running_mean"
                tensor.copy_(1.2 * drawn - 0.6 if signed else 0.3 + 0.6 * drawn)
    dtype = case.layer_dtype or case.dtype
    if getattr(torch, dtype).is_floating_point:
        made.to(getattr(torch, dtype))
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name not in case.frozen)
    return made.to(case.layer_device).train(case.training)


def values(case: Case, shape: tuple[int, ...], more: int) -> Tensor:
    """Numbers of a map, in float64."""
    source = generator(case, more)
    drawn = torch.randn(shape, generator=source, dtype=torch.float64)
    if drawn.dim() > 2:
        rows = shape[:2] + (1,) * (len(shape) - 2)
        drawn = drawn * (0.5 + torch.rand(rows, generator=source, dtype=torch.float64))
        drawn = drawn + 0.5 * torch.randn(rows, generator=source, dtype=torch.float64)
    if case.values == "offset":
        drawn = drawn + 100
    elif case.values == "constant":
        drawn = torch.full_like(drawn, 0.7)
    elif case.values == "huge" and case.dtype != "float16":
        drawn = drawn * 1e18
    elif case.values in {"nan", "infinite"} and drawn.numel():
        drawn.flatten()[drawn.numel() // 2] = float(case.values[:3])
    return drawn


def images(case: Case, size: tuple[int, int, int], more: int) -> Tensor:
    """A map as the case has it, on the CPU; leaf, without gradient."""
    n, height, width = size
    channels = case.channels + {"more_channels": 1, "fewer_channels": -1}.get(case.rank, 0)
    shape = {
        "image": (channels, height, width),
        "volume": (n, channels, 2, height, width),
        "vector": (n, channels),
    }.get(case.rank, (n, channels, height, width))
    drawn = values(case, shape, more)
    dtype = getattr(torch, case.dtype)
    if case.dtype in {"uint8", "int64", "bool"}:
        drawn = (10 * drawn.nan_to_num(1)).abs().clamp(max=200)
    layout = case.layout
    if layout in {"sparse", "mkldnn"} and case.device == "meta":
        layout = "contiguous"  # there are none
    return lay(drawn.to(dtype), layout)


def lay(t: Tensor, layout: str) -> Tensor:
    """The same numbers another way in memory (expanded ones repeat the first)."""
    if layout in _ANY_RANK:
        return _ANY_RANK[layout](t)
    return _MAPS[layout](t, *t.shape) if t.dim() == 4 and layout in _MAPS else t


_LAST = torch.channels_last
_ANY_RANK: dict[str, Callable[[Tensor], Tensor]] = {
    "parameter": lambda t: nn.Parameter(t, requires_grad=False),
    "subclass": lambda t: t.as_subclass(Mine),
    "sparse": lambda t: t.to_sparse(),
    "mkldnn": lambda t: t.to_mkldnn() if t.dtype is torch.float32 and t.numel() else t,
    "negated": lambda t: torch._neg_view(-t) if t.is_floating_point() else t,
    "offset": lambda t: _empty(t, t.numel() + 1)[1:].view(t.shape).copy_(t),
}
_MAPS: dict[str, Callable[[Tensor, int, int, int, int], Tensor]] = {
    "channels_last": lambda t, n, c, h, w: t.contiguous(memory_format=_LAST),
    "strided": lambda t, n, c, h, w: _empty(t, n, c, h, 2 * w)[..., ::2].copy_(t),
    "padded_rows": lambda t, n, c, h, w: _empty(t, n, c, h, w + 3)[..., 1 : w + 1].copy_(t),
    "some_channels": lambda t, n, c, h, w: _empty(t, n, c + 3, h, w)[:, 2 : c + 2].copy_(t),
    "some_channels_last": lambda t, n, c, h, w: (
        _empty(t, n, c + 3, h, w).contiguous(memory_format=_LAST)[:, 2 : c + 2].copy_(t)
    ),
    "every_other_image": lambda t, n, c, h, w: _empty(t, 2 * n, c, h, w)[::2].copy_(t),
    "transposed": lambda t, n, c, h, w: t.transpose(2, 3).contiguous().transpose(2, 3),
    "channels_first": lambda t, n, c, h, w: t.transpose(0, 1).contiguous().transpose(0, 1),
    "offset_channels_last": lambda t, n, c, h, w: (
        _empty(t, t.numel() + 1)[1:].view(n, h, w, c).permute(0, 3, 1, 2).copy_(t)
    ),
    "expanded_images": lambda t, n, c, h, w: t[:1].expand(t.shape) if n else t,
    "expanded_channels": lambda t, n, c, h, w: t[:, :1].expand(t.shape),
    "expanded_pixels": lambda t, n, c, h, w: t[..., :1, :1].expand(t.shape) if h * w else t,
}


def _empty(t: Tensor, *shape: int) -> Tensor:
    return torch.full(shape, FILL if t.is_floating_point() else 1, dtype=t.dtype)


class Handles(dict[str, tuple[Tensor, float]]):
    """By name of a parameter: the tensor whose gradient is asked for, and the parameter over it."""


def make_odd(made: nn.Module, case: Case) -> tuple[Handles, list[Tensor]]:
    """Do to parameters and buffers what the case says.

    Returns:
        Handles on parameters that are made from another tensor, and canaries: memory behind short
        tensors that must stay as it is.
    """
    handles, canaries = Handles(), []
    for name, odd in case.state.items():
        tensor = getattr(made, name)
        if tensor is None:
            continue
        source = tensor.detach()
        if odd == "parametrized":
            parametrize.register_parametrization(made, name, Twice())
            handles[name] = made.parametrizations[name].original, 2.0  # type: ignore[index, union-attr]
            continue
        if odd in {"plain", "made"}:
            delattr(made, name)
            leaf = source.clone().requires_grad_(name not in case.frozen)
            setattr(made, name, leaf * 2 if odd == "made" else leaf)
            handles[name] = leaf, 2.0 if odd == "made" else 1.0
            continue
        new, canary = changed(source, odd)
        if canary is not None:
            canaries.append(canary)
        if name in made._parameters and new is not None:
            wants = name not in case.frozen and new.dtype.is_floating_point
            new = nn.Parameter(new, requires_grad=wants)
        setattr(made, name, new)
    return handles, canaries


_DTYPES = {
    "double": torch.float64,
    "float": torch.float32,
    "half": torch.float16,
    "integer": torch.int64,
    "complex": torch.complex64,
    "int32": torch.int32,
}
_STATES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "matrix": lambda t: t[:, None].clone(),
    "scalar": lambda t: t[0].clone(),
    "strided": lambda t: _empty(t, 2 * len(t)).to(t.device)[::2].copy_(t),
    "expanded": lambda t: t[:1].clone().expand(t.shape),
    "offset": lambda t: _empty(t, len(t) + 1).to(t.device)[1:].copy_(t),
    "negated": lambda t: torch._neg_view(-t),
    "meta": lambda t: t.to("meta"),
    "vector": lambda t: t[None].clone(),
    "none": lambda t: None,
}


def changed(t: Tensor, odd: str) -> tuple[Tensor | None, Tensor | None]:
    """State made odd, and the canary behind it."""
    if odd in _DTYPES:
        return t.to(_DTYPES[odd]), None
    if odd in _STATES:
        return _STATES[odd](t), None
    size = {"short": len(t) - 1, "long": len(t) + 1, "one": 1, "empty": 0}[odd]
    room = torch.full((len(t) + 64,), CANARY, dtype=t.dtype, device=t.device)
    room[:size] = t[torch.arange(size) % len(t)]
    return room[:size], None if t.is_meta else room[size:]

"""Checks that backward is a function of what forward saved, and reaches whatever made the gain."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normlab.norms.conformance.subject import (
    SECOND,
    Subject,
    differences,
    directions,
    first_line,
    images,
    orders,
    says,
    state_of,
)

SHAPE = (6, 4, 3)


def _x(subject: Subject) -> Tensor:
    return images(subject, SHAPE, torch.float64, mean=0.3).requires_grad_()


def _defined(
    subject: Subject, layer: nn.Module, x: Tensor, **values: Tensor
) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """First and second gradients of the definition, with a layer's state and these values.

    Takes the state as it is now; the gradients are asked for by the tensors wanted.
    """
    parameters, buffers = state_of(layer)
    y = subject.defined(x, {**parameters, **values}, buffers, training=layer.training)
    return lambda wanted: orders(y, {name: parameters.get(name, t) for name, t in wanted.items()})


def fast_weights(subject: Subject) -> str | None:
    """functional_call with plain tensors for parameters: their first and second gradients."""
    if subject.definition is None:
        return None
    layer, x = subject.layer(), _x(subject)
    fast = {n: (p.detach() * 3 + 0.1).requires_grad_() for n, p in layer.named_parameters()}
    wanted = {"x": x, **fast}
    _, buffers = state_of(layer)
    expected = orders(subject.defined(x, fast, buffers), wanted)
    found = orders(torch.func.functional_call(layer, fast, (x,)), wanted)
    return differences(found, expected, SECOND, "through functional_call")


class _Doubled(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return 2 * value


def parametrized_gain(subject: Subject) -> str | None:
    """A gain under `torch.nn.utils.parametrize`: the gradients of what it is made from."""
    layer, x = subject.layer(), _x(subject)
    if subject.definition is None or not isinstance(getattr(layer, "weight", None), nn.Parameter):
        return None
    z = layer.get_parameter("weight").detach().clone().requires_grad_()
    expected = _defined(subject, layer, x, weight=2 * z)({"x": x, "the gain's original": z})
    parametrize.register_parametrization(layer, "weight", _Doubled())
    original: Any = layer.parametrizations.weight  # type: ignore[union-attr]
    found = orders(layer(x), {"x": x, "the gain's original": original.original})
    return differences(found, expected, SECOND, "with a parametrized gain")


def made_gain(subject: Subject) -> str | None:
    """A gain that another net makes, no parameter of the layer: that net gets its gradient."""
    layer, x = subject.layer(), _x(subject)
    if subject.definition is None or not isinstance(getattr(layer, "weight", None), nn.Parameter):
        return None
    for create_graph in (False, True):
        layer = subject.layer()
        z = layer.get_parameter("weight").detach().clone().requires_grad_()
        wanted = {"x": x, "what made the gain": z}
        expected = _defined(subject, layer, x, weight=2 * z)(wanted)
        del layer.weight
        layer.weight = 2 * z
        found = orders(layer(x), wanted, create_graph=create_graph)
        expected = {name: value for name, value in expected.items() if name in found}
        wrong = differences(found, expected, SECOND, "with a gain that another net made")
        if wrong:
            return wrong
    return None


def _after(
    subject: Subject, change: Callable[[nn.Module], None], where: str, *, refusal: str | None
) -> str | None:
    """Gradients when a layer is changed between forward and backward: those of the forward."""
    if subject.definition is None:
        return None
    for training in (True, False):
        for create_graph in (False, True):
            layer, x = subject.layer().train(training), _x(subject)
            wanted = {"x": x, **dict(layer.named_parameters())}
            expected = _defined(subject, layer, x)(wanted)
            y = layer(x)
            change(layer)
            try:
                found = orders(y, wanted, create_graph=create_graph)
            except RuntimeError as refused:
                if refusal and re.search(refusal, str(refused)):
                    continue
                return f"backward fails {where}: {first_line(refused)}"
            expected = {name: value for name, value in expected.items() if name in found}
            mode = "in training" if training else "in eval"
            wrong = differences(found, expected, SECOND, f"{where} ({mode})")
            if wrong:
                return f"{wrong}: backward must use what forward used"
    return None


def mode_changed(subject: Subject) -> str | None:
    """train(), eval() and eps changed between forward and backward: the forward's gradients."""

    def change(layer: nn.Module) -> None:
        layer.train(not layer.training)
        if hasattr(layer, "eps"):
            setattr(layer, "eps", 0.5)  # noqa: B010 - a layer is any module here

    return _after(subject, change, "after the mode has changed", refusal=None)


def buffers_changed(subject: Subject) -> str | None:
    """Running statistics moved in between: the forward's gradients, or torch's refusal."""

    def change(layer: nn.Module) -> None:
        if layer.training:
            with torch.no_grad():
                layer(images(subject, SHAPE, torch.float64, mean=2.0, seed=7))
        for buffer in layer.buffers():
            buffer.add_(1)

    return _after(
        subject, change, "after the buffers have moved", refusal="inplace|in-place|modified"
    )


def _saved(
    subject: Subject,
    pack: Callable[[Tensor], Any],
    unpack: Callable[[Any], Tensor],
    *,
    what: str,
    allowed: float,
    refusal: str | None = None,
    dtype: torch.dtype = torch.float64,
) -> str | None:
    """First gradients where hooks keep the saved tensors in another way."""
    if subject.definition is None:
        return None
    for training in (True, False):
        layer = subject.layer(dtype).train(training)
        x = images(subject, SHAPE, dtype, mean=0.3).to(memory_format=torch.channels_last)
        x = x.requires_grad_()
        wanted = {"x": x, **dict(layer.named_parameters())}
        exact = x.detach().double().requires_grad_()
        expected = _defined(subject, layer, exact)({**wanted, "x": exact})
        try:
            with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
                y = layer(x)
            found = orders(y, wanted, create_graph=False)
        except (RuntimeError, ValueError, TypeError) as refused:
            if refusal and re.search(refusal, str(refused)):
                continue
            return f"backward fails with saved tensors {what}: {first_line(refused)}"
        expected = {name: value for name, value in expected.items() if name in found}
        wrong = differences(found, expected, allowed, f"with saved tensors {what}")
        if wrong:
            return says(subject, wrong)
    return None


def saved_elsewhere(subject: Subject) -> str | None:
    """Hooks that give saved tensors back in another layout, or as a copy: the right gradients."""

    def to_array(tensor: Tensor) -> Any:
        return tensor.detach().numpy().copy()  # a channels_last map comes back contiguous

    for dtype, allowed in ((torch.float64, SECOND), (torch.float32, 2e-5)):
        for pack, unpack, what in (
            (to_array, torch.from_numpy, "kept as numpy arrays"),
            (lambda t: t.detach().cpu().clone(), torch.Tensor.contiguous, "copied to the CPU"),
            (_strided, lambda t: t, "given back as strided views"),
        ):
            if subject.is_torchs and pack is _strided:
                continue  # torch 2.13's group norm gives wrong gradients there
            wrong = _saved(subject, pack, unpack, what=what, allowed=allowed, dtype=dtype)
            if wrong:
                return wrong
    return None


def _strided(tensor: Tensor) -> Tensor:
    return torch.stack([tensor.detach(), torch.zeros_like(tensor)], dim=-1)[..., 0]


def saved_in_another_dtype(subject: Subject) -> str | None:
    """Hooks that keep float64 in float32: right to that precision, or a clear refusal."""

    def narrow(tensor: Tensor) -> tuple[torch.dtype, Tensor]:
        kept = tensor.detach()
        return tensor.dtype, kept.float() if kept.dtype == torch.float64 else kept

    return _saved(
        subject, narrow, lambda kept: kept[1].to(kept[0]), what="kept in float32", allowed=1e-5
    ) or _saved(
        subject,
        narrow,
        lambda kept: kept[1],
        what="given back in float32",
        allowed=1e-5,
        refusal="dtype|scalar type|[Dd]ouble|[Ff]loat|saved|hook",
    )


def saved_on_another_device(subject: Subject) -> str | None:
    """Hooks that give saved tensors back on another device: a refusal that says "device"."""
    layer, x = subject.layer(), _x(subject)
    kept: list[torch.Size] = []

    def away(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor.detach().to("meta")

    with torch.autograd.graph.saved_tensors_hooks(away, lambda tensor: tensor):
        y = layer(x)
    if not kept:
        return None
    try:
        (dx,) = torch.autograd.grad((y * directions(x)).sum(), [x])
    except (RuntimeError, ValueError, TypeError) as refused:
        if re.search("device|meta", str(refused)):
            return None
        return f"the refusal does not name the device: {first_line(refused)}"
    where = "with saved tensors on another device"
    return None if dx.device.type == "meta" else f"it gives values {where}: {dx.flatten()[0]:g}"

"""Checks of the ways torch runs a layer: compiled, traced, exported, hooked, and changed in use."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import DEFINITIONS, Options
from normlab.norms.conformance.subject import (
    FLOAT32,
    FLOAT64,
    Subject,
    directions,
    error,
    first_line,
    images,
    outcome,
    says,
    state_of,
)


def compiled(subject: Subject) -> str | None:
    """torch.compile (traced, differentiated by aot_eager) changes nothing, at two batch sizes."""
    torch._dynamo.reset()
    faster = torch.compile(subject.layer(torch.float32), backend="aot_eager", fullgraph=True)
    plain = subject.layer(torch.float32)
    for size in (4, 7):  # the second size makes the batch dynamic
        x = images(subject, (size, 6, 5), torch.float32)
        expected = outcome(plain, x, directions(x))
        x = x.requires_grad_()
        try:
            y = faster(x)
            (gradient,) = torch.autograd.grad((y * directions(x).to(y.dtype)).sum(), [x])
        except Exception as wrong:
            return f"torch.compile cannot trace it with {size} images: {first_line(wrong)}"
        off = error(y, expected["output"]), error(gradient, expected["input gradient"])
        if off[0] > 5 * FLOAT32 or off[1] > 2e-5:
            return f"torch.compile changes its output or gradient with {size} images"
    return None


def _for_five(
    subject: Subject, made: Callable[[Tensor], Tensor], layer: nn.Module, how: str
) -> str | None:
    for size in (5, 3):
        x = images(subject, (size, 6, 5), torch.float32, seed=size)
        wrong = error(made(x), layer(x))
        if wrong > 5 * FLOAT32:
            return says(subject, f"{how}, its output of {size} images is off by {wrong:.1e}")
    return None


def traced(subject: Subject) -> str | None:
    """torch.jit.trace in eval with one image: right for five."""
    layer = subject.layer(torch.float32).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and warns of checks of shapes
        made: Any = torch.jit.trace(layer, images(subject, (1, 6, 5), torch.float32))  # type: ignore[no-untyped-call]
        return _for_five(subject, made, layer, "traced with one image")


def exported(subject: Subject) -> str | None:
    """torch.export in eval with a dynamic batch: right for other sizes."""
    layer = subject.layer(torch.float32).eval()
    x = images(subject, (4, 6, 5), torch.float32)
    dynamic = ({0: torch.export.Dim("batch")},)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.export.export(layer, (x,), dynamic_shapes=dynamic).module()
    except Exception as wrong:
        return f"torch.export refuses a dynamic batch: {first_line(wrong)}"
    return _for_five(subject, made, layer, "exported with a dynamic batch")


def activation(subject: Subject) -> str | None:
    """activation="relu" is the same layer with a ReLU behind it; refused where one is inside."""
    if subject.definition and subject.definition.contains_activation:
        try:
            subject.layer(activation="relu")
        except ValueError:
            return None
        return says(subject, "it takes an activation behind the one it contains")
    x = images(subject, (4, 6, 5), torch.float64)
    plain, folded = subject.layer(), subject.layer(activation="relu")
    expected = outcome(nn.Sequential(plain, nn.ReLU()), x, directions(x))
    found = outcome(folded, x, directions(x))
    for (what, value), (_, want) in zip(found.items(), expected.items(), strict=True):
        if error(value, want) > FLOAT64:
            return f"{what} with activation='relu' is not that of the layer and a ReLU behind it"
    return None


class _Capped(nn.ReLU):
    """What a user may put in place of a ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=0.5)


def activation_module(subject: Subject) -> str | None:
    """`activation` is a module: its hooks are called, and one put in its place is run as it is."""
    if subject.definition and subject.definition.contains_activation:
        return None
    x = images(subject, (4, 6, 5), torch.float32)
    for training in (True, False):
        for name in ("relu", "silu"):
            layer = subject.layer(torch.float32, activation=name).train(training)
            module = getattr(layer, "activation", None)
            seen: list[Tensor] = []
            if not isinstance(module, nn.Module):
                return None
            module.register_forward_hook(lambda _, inputs, y, seen=seen: seen.append(y))
            y = layer(x)
            if len(seen) != 1 or not torch.equal(seen[0], y):
                return (
                    f"a forward hook on {name} is called {len(seen)} times, or not with the output"
                )
        layer, plain = (subject.layer(torch.float32).train(training) for _ in range(2))
        layer.activation = _Capped()
        if error(layer(x), _Capped()(plain(x))) > FLOAT32:
            return "a subclass of nn.ReLU put in the activation's place is not run as it is"
    return None


_CHANGES: Options = {
    "eps": 0.3,
    "momentum": 0.6,
    "groups": 2,
    "splits": 4,
    "ghost_size": 2,
    "progress": 0.5,
}


def changed_options(subject: Subject) -> str | None:
    """An option set on a layer that has run is used from then on, or refused."""
    definition = subject.definition
    if definition is None or definition is DEFINITIONS["none"]:
        return None
    x = images(subject, (8, 4, 3), torch.float64, mean=0.5)
    for name, value in _CHANGES.items():
        layer = subject.layer().train()
        if getattr(layer, name, None) is None:
            continue
        if name != "progress" and name not in {"eps", "momentum", "groups", *subject.options}:
            continue
        layer(x)
        try:
            setattr(layer, name, value)
        except (AttributeError, ValueError, TypeError):
            continue
        options = {**subject.full_options(), name: value}
        if name == "groups":
            options.pop("channels_per_group", None)
        parameters, buffers = state_of(copy.deepcopy(layer))
        expected = definition.forward(x, parameters, options, buffers, True)
        moved = definition.advance(x, options, buffers) if definition.advance else {}
        off = error(layer(x), expected)
        off = max([off, *(error(layer.get_buffer(name), v) for name, v in moved.items())])
        if off > FLOAT64:
            return f"{name} set to {value} after a forward is neither used nor refused"
    return None

"""Checks of state: parameters, buffers, modes of the layer, and what is saved of it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from normlab.norms.conformance.definitions import DEFINITIONS
from normlab.norms.conformance.subject import (
    FLOAT32,
    FLOAT64,
    Subject,
    defined_outcome,
    directions,
    error,
    first_line,
    images,
    outcome,
    says,
    state_of,
)


def signature(subject: Subject) -> str | None:
    """Made as Kind(num_channels, eps=, affine=, activation=), with the defined parameters."""
    layer = subject.fresh()
    definition = subject.definition
    if definition is None:
        return None
    optional = {name for name, value in definition.parameters.items() if value == "if asked"}
    wanted = set(definition.parameters) - optional
    if subject.options.get("affine") is False:
        wanted -= {"weight", "bias"}
    found = {name for name, _ in layer.named_parameters()}
    if not wanted <= found or not found <= wanted | optional:
        return f"its parameters are {sorted(found)}; the definition has {sorted(wanted)}"
    for name, value in definition.parameters.items():
        if name in wanted and not isinstance(value, str):
            start = layer.get_parameter(name)
            if not bool((start == value).all()):
                return f"{name} starts at {start.flatten()[0]:g}; the definition says {value:g}"
    buffers = dict(layer.named_buffers())
    if set(buffers) != set(definition.buffers):
        return f"its buffers are {sorted(buffers)}; the definition has {sorted(definition.buffers)}"
    for name, value in definition.buffers.items():
        if not bool((buffers[name] == value).all()):
            return f"{name} starts at {buffers[name].flatten()[0]:g}; the definition says {value:g}"
    return None


def trains(subject: Subject) -> str | None:
    """Every parameter the definition has is the layer's, and a gradient step reaches it."""
    layer = subject.layer(torch.float32).train()
    x = images(subject, (6, 5, 5), torch.float32, mean=0.5)
    first = list(layer.parameters())
    y = layer(x)
    if [id(p) for p in first] != [id(p) for p in layer.parameters()]:
        return "its forward makes new parameters: an optimizer would hold the old ones"
    if not first:
        return None
    (y * directions(x).float()).sum().backward()
    for name, parameter in layer.named_parameters():
        if parameter.grad is None or not bool(parameter.grad.any()):
            return f"{name} receives no gradient: it would never train"
    return None


def buffers(subject: Subject) -> str | None:
    """Running buffers over 50 training steps, in float64 and float32."""
    definition = subject.definition
    if definition is None or definition.advance is None:
        return None
    for dtype, floor in ((torch.float64, FLOAT64), (torch.float32, 2 * FLOAT32)):
        layer = subject.layer(dtype).train()
        _, expected = state_of(layer)
        for step in range(50):
            x = images(subject, (7, 3, 3), dtype, mean=2.0, seed=step)
            layer(x)
            expected = definition.advance(x.double(), subject.full_options(), expected)
        for name, value in layer.named_buffers():
            wrong = error(value, expected[name])
            if wrong > floor:
                what = f"{name} after 50 steps is off by {wrong:.1e}, allowed {floor:.0e}"
                return says(subject, what, definition.buffer_words)
    return None


def evaluation(subject: Subject) -> str | None:
    """Eval mode: the definition's output, no buffer moves, no image depends on its companions."""
    layer = subject.layer().train()
    for step in range(3):
        layer(images(subject, (7, 3, 3), torch.float64, mean=1.0, seed=step))
    layer.eval()
    x = images(subject, (5, 4, 3), torch.float64, mean=0.3, seed=9)
    before = copy.deepcopy(layer.state_dict())
    y = layer(x)
    for name, value in layer.state_dict().items():
        if not torch.equal(value, before[name]):
            return f"{name} changed in eval mode"
    if error(layer(x[:1]), y[:1]) > FLOAT64:
        return says(subject, "in eval mode an image's output depends on the rest of its batch")
    if subject.definition is not None:
        expected = defined_outcome(subject, layer, x, directions(x))
        found = outcome(layer, x, directions(x))
        for name, value in expected.items():
            wrong = error(found[name], value)
            if wrong > FLOAT64:
                return says(
                    subject, f"{name} in eval mode is off by {wrong:.1e}, allowed {FLOAT64:.0e}"
                )
    return None


def state_round_trip(subject: Subject) -> str | None:
    """A state dict carries everything to a fresh layer; torch's names where torch has the layer."""
    layer = subject.layer().train()
    layer(images(subject, (5, 4, 3), torch.float64))
    fresh = subject.fresh().double()
    fresh.load_state_dict(layer.state_dict())
    x = images(subject, (5, 4, 3), torch.float64, seed=5)
    if error(fresh.eval()(x), layer.eval()(x)) > FLOAT64:
        return "a layer loaded from its state dict computes something else"
    if subject.definition and subject.definition.counterpart:
        theirs = subject.fresh(subject.definition.counterpart).state_dict()
        if set(theirs) != set(layer.state_dict()):
            return f"its state dict has {sorted(layer.state_dict())}, torch's has {sorted(theirs)}"
    return None


def empty_batch(subject: Subject) -> str | None:
    """No images in: none out or a refusal; the batch is counted, as in torch, and moves nothing."""
    layer = subject.layer().train()
    before = copy.deepcopy(layer.state_dict())
    try:
        y = layer(torch.empty(0, subject.channels, 4, 4, dtype=torch.float64))
    except (ValueError, RuntimeError, IndexError):
        return None
    if y.shape != (0, subject.channels, 4, 4):
        return f"the output of an empty batch has shape {tuple(y.shape)}"
    for name, value in layer.state_dict().items():
        if value.is_floating_point() and not torch.equal(value, before[name]):
            return f"an empty batch moved {name}"
        if name == "num_batches_tracked" and int(value) != 1:
            return f"num_batches_tracked is {int(value)} after an empty batch: torch counts it"
    return None


def older_state_dict(subject: Subject) -> str | None:
    """A state dict of before batches were counted loads, as in torch."""
    state = dict(subject.layer().state_dict())
    if state.pop("num_batches_tracked", None) is None:
        return None
    fresh = subject.fresh()
    try:
        fresh.load_state_dict(state)
    except RuntimeError as refusal:
        return f"it refuses a state dict without num_batches_tracked: {first_line(refusal)}"
    tracked = int(fresh.get_buffer("num_batches_tracked"))
    return None if tracked == 0 else f"num_batches_tracked is {tracked} after that: 0 is needed"


def reset_parameters(subject: Subject) -> str | None:
    """Parameters and running statistics are back at their start once they have been reset."""
    layer = subject.layer(torch.float32).train()
    layer(images(subject, (5, 4, 3), torch.float32, mean=1.0))
    if not layer.state_dict():
        return None
    reset = getattr(layer, "reset_parameters", None)
    if reset is None:
        return "it has no reset_parameters()"
    reset()
    start = subject.fresh().state_dict()
    for name, value in layer.state_dict().items():
        if not torch.equal(value, start[name]):
            return f"reset_parameters() leaves {name} other than in a fresh layer"
    return None


def update_bn(subject: Subject) -> str | None:
    """`torch.optim.swa_utils.update_bn` makes the running statistics the mean over the batches."""
    definition = subject.definition
    if definition is None or definition.advance is None:
        return None
    layer = subject.layer().train()
    _, expected = state_of(layer)
    options = {**subject.full_options(), "momentum": None}
    loader = [images(subject, (7, 3, 3), torch.float64, mean=2.0, seed=s) for s in range(3)]
    for x in loader:
        expected = definition.advance(x, options, expected)
    for x in loader[:2]:
        layer(x)  # what update_bn has to forget
    momentum = getattr(layer, "momentum", None)
    torch.optim.swa_utils.update_bn(loader, nn.Sequential(layer))
    for name, value in layer.named_buffers():
        if error(value, expected[name]) > FLOAT64:
            return f"{name} after torch's update_bn is not the mean over its batches"
    if getattr(layer, "momentum", None) != momentum:
        return "update_bn leaves another momentum"
    return None


def statistics_beyond_half(subject: Subject) -> str | None:
    """Trained in half on values of 300, whose variance overflows: no nan, a finite output."""
    layer = subject.layer(torch.float32).half().train()
    for step in range(40):
        layer(images(subject, (6, 4, 4), torch.float16, seed=step) * 300)
    for name, buffer in layer.named_buffers():
        if bool(buffer.isnan().any()):
            return f"{name} in half is nan after maps of 300"
    ones = torch.ones(1, subject.channels, 4, 4, dtype=torch.float16)
    if not bool(layer.eval()(ones).isfinite().all()):
        return "the output in half, in eval after maps of 300, is not finite"
    return None


def gate_range(subject: Subject) -> str | None:
    """A gate pushed out of [0, 1] comes back after the step."""
    layer = subject.layer()
    if subject.definition is not DEFINITIONS["batch_instance"]:
        return None
    rho = layer.get_parameter("rho").detach()
    with torch.no_grad():
        rho.copy_(torch.linspace(-0.5, 1.5, len(rho)))
    step = getattr(layer, "after_step", None)
    if step is None:
        return "it has no after_step: rho is to be clamped to [0, 1] after each optimizer step"
    step()
    if float(rho.min()) < 0 or float(rho.max()) > 1:
        return "after_step leaves rho outside [0, 1]"
    return None

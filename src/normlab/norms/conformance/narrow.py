"""Checks of bfloat16 and half: statistics in float32, one rounding of what comes out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from normlab.norms.conformance.definitions import DEFINITIONS
from normlab.norms.conformance.subject import (
    Subject,
    defined_outcome,
    directions,
    error,
    images,
    outcome,
    says,
    state_of,
)

ROUNDED = 3e-3
"""What one rounding to bfloat16 leaves, 1.7e-3 of the norm, and some values more."""
SUMMED = 2e-5
"""Of gradients and statistics in float32, which nothing rounds to bfloat16."""


def bfloat16(subject: Subject) -> str | None:
    """bfloat16 maps and float32 parameters, as under autocast; in training and eval, either layout.

    Output and input gradient are bfloat16, one rounding from float64 on the same inputs; gradients
    of parameters and running statistics are float32, to its precision.
    """
    if subject.definition is None or subject.is_torchs:
        return _bfloat16_output(subject)
    drawn = images(subject, (6, 8, 8), torch.bfloat16, mean=1.0)
    for lies, form in (
        ("contiguous", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        layer, x = subject.layer(torch.float32), drawn.contiguous(memory_format=form)
        for training in (True, False):
            layer.train(training)
            before = copy.deepcopy(layer)
            wrong = _bfloat16_outcome(subject, layer, x) or _moved(subject, before, layer, x)
            if wrong:
                mode = "training" if training else "eval"
                where = f"in {mode} on a {lies} bfloat16 map"
                return says(subject, f"{wrong} {where}: statistics belong in float32")
    return None


def _bfloat16_outcome(subject: Subject, layer: torch.nn.Module, x: Tensor) -> str | None:
    """What is wrong with output and gradients; moves running statistics in training."""
    weights = directions(x).to(x.dtype)
    expected = defined_outcome(subject, layer, x, weights.double())
    found = outcome(layer, x, weights)
    dtypes = {f"gradient of {name}": p.dtype for name, p in layer.named_parameters()}
    for name, value in expected.items():
        dtype = dtypes.get(name, x.dtype)
        if found[name].dtype is not dtype:
            return f"{name} is {found[name].dtype} and not {dtype}"
        wrong, allowed = error(found[name], value), SUMMED if name in dtypes else ROUNDED
        if not wrong <= allowed:
            return f"{name} is off by {wrong:.1e}, allowed {allowed:.0e},"
    return None


def _moved(
    subject: Subject, before: torch.nn.Module, layer: torch.nn.Module, x: Tensor
) -> str | None:
    """What is wrong with how a forward has moved running statistics."""
    definition = subject.definition
    if definition is None or definition.advance is None or not layer.training:
        return None
    options = subject.full_options()
    expected = definition.advance(x.double(), options, state_of(before)[1])
    for name, value in expected.items():
        wrong = error(layer.get_buffer(name), value)
        if not wrong <= SUMMED:
            return f"{name} is off by {wrong:.1e}, allowed {SUMMED:.0e},"
    return None


def _bfloat16_output(subject: Subject) -> str | None:
    """Of layers without a definition, and torch's own: the output alone, within 1e-2."""
    layer = subject.layer(torch.float32)
    x = images(subject, (6, 8, 8), torch.bfloat16, mean=1.0)
    y = layer(x)
    if y.dtype is not torch.bfloat16 and subject.definition is None:
        return f"the output of a bfloat16 input is {y.dtype}"
    twin = subject.layer(torch.float64)
    expected = (
        subject.defined(x.double(), *state_of(twin)) if subject.definition else twin(x.double())
    )
    wrong = error(y, expected)
    return (
        None
        if wrong <= 1e-2
        else f"the output in bfloat16 is off by {wrong:.1e}, allowed 1e-02: "
        "statistics belong in float32"
    )


def half(subject: Subject) -> str | None:
    """A layer in half or bfloat16 in eval: as exact as one rounding of the output allows."""
    if subject.is_torchs:  # its instance norm rounds more than that
        return None
    for dtype, allowed in ((torch.float16, 4e-4), (torch.bfloat16, 3e-3)):
        layer = subject.layer(torch.float32).train()
        for step in range(3):
            layer(images(subject, (7, 3, 3), torch.float32, mean=3.0, seed=step))
        layer = layer.to(dtype).eval()
        x = images(subject, (6, 8, 8), dtype, mean=3.0)
        wrong = error(layer(x), copy.deepcopy(layer).double()(x.double()))
        if wrong > allowed:
            name = str(dtype).removeprefix("torch.")
            what = f"the output of a {name} layer in eval is off by {wrong:.1e}"
            return f"{what}, allowed {allowed:.0e}: statistics and factors belong in float32"
    return None


def small_eps_in_half(subject: Subject) -> str | None:
    """eps 1e-8, which half cannot hold, on maps of 1e-4: it counts, and nothing is infinite."""
    definition = subject.definition
    if definition is None or definition is DEFINITIONS["none"]:
        return None
    layer = subject.layer(torch.float32, eps=1e-8).half()
    for name, buffer in layer.named_buffers():
        if name == "running_var":
            buffer.zero_()
    layer.eval()
    x = (1e-4 * images(subject, (4, 6, 6), torch.float64)).half()
    parameters, buffers = state_of(layer)
    options = {**subject.full_options(), "eps": 1e-8}
    expected = definition.forward(x.double(), parameters, options, buffers, False)
    wrong = error(layer(x), expected)
    return None if wrong <= 1e-2 else f"the output in half with eps 1e-8 is off by {wrong:.1e}"

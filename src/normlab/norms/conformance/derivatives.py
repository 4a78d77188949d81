"""Checks of derivatives: finite differences, second derivatives, and those taken in other ways."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian

from normlab.norms.conformance.definitions import DEFINITIONS
from normlab.norms.conformance.subject import (
    SECOND,
    Subject,
    differences,
    directions,
    error,
    first_line,
    images,
    orders,
    says,
    state_of,
)

WAY_OUT = r"NORMLAB_BACKEND|reference|vectorize|torch\.func"
"""Words, one of which a refusal must have: what to do instead."""


def derivatives(subject: Subject) -> str | None:
    """gradcheck and gradgradcheck in float64, of x and every parameter."""
    layer = subject.layer()
    x = images(subject, (3, 2, 2), torch.float64).requires_grad_()
    named = dict(layer.named_parameters())

    def function(x: Tensor, *values: Tensor) -> Tensor:
        # A fresh copy of the buffers: the step must not move what the next evaluation sees.
        buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
        state = {**dict(zip(named, values, strict=True)), **buffers}
        y: Tensor = torch.func.functional_call(layer, state, (x,))
        return y

    inputs = (x, *(p.detach().clone().requires_grad_() for p in named.values()))
    constants = subject.definition is DEFINITIONS["batch_renorm"] and "progress" in subject.options
    if constants:  # r and d carry no gradient by definition: finite differences see them move
        return None
    try:
        torch.autograd.gradcheck(function, inputs, atol=1e-6, rtol=1e-4)
    except Exception as wrong:
        return f"the gradient is not the derivative of the output: {first_line(wrong)}"
    try:
        torch.autograd.gradgradcheck(function, inputs, atol=1e-5, rtol=1e-3)
    except Exception as wrong:
        return f"the second derivative is wrong: {first_line(wrong)}"
    return None


def second_derivatives(subject: Subject) -> str | None:
    """First gradients that are kept for more, and second ones: the definition's, in both modes.

    Without a definition the first ones alone are held, against those that are not kept.
    """
    for training in (True, False):
        layer = subject.layer().train(training)
        x = images(subject, (5, 4, 3), torch.float64, mean=0.3).requires_grad_()
        wanted = {"x": x, **dict(layer.named_parameters())}
        twin = copy.deepcopy(layer)
        found = orders(layer(x), wanted)
        if subject.definition is None:
            own = {"x": x, **dict(twin.named_parameters())}
            expected = orders(twin(x), own, create_graph=False)
            found = {name: value for name, value in found.items() if name in expected}
        else:
            parameters, buffers = state_of(twin)
            y = subject.defined(x, parameters, buffers, training=training)
            expected = orders(y, {"x": x, **parameters})
        where = "in training" if training else "in eval"
        wrong = differences(found, expected, SECOND, f"{where}, taken with create_graph,")
        if wrong:
            return says(subject, wrong)
    return None


def _right_or_refused(subject: Subject, run: Callable[[], Tensor], expected: Tensor) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that forward-mode AD is in beta
            found = run()
    except (RuntimeError, NotImplementedError) as refusal:
        if re.search(WAY_OUT, str(refusal)):
            return None
        return f"it is refused without a word on what to do instead: {first_line(refusal)}"
    wrong = error(found, expected)
    return None if wrong <= SECOND else says(subject, f"it is off by {wrong:.1e}")


def _jacobian(layer: torch.nn.Module, x: Tensor, *, vectorize: bool = False) -> Tensor:
    found = jacobian(copy.deepcopy(layer), x, vectorize=vectorize)  # type: ignore[no-untyped-call]
    assert isinstance(found, Tensor)
    return found


def vectorized_jacobian(subject: Subject) -> str | None:
    """jacobian(vectorize=True): as without, or a refusal that names the way out."""
    x = images(subject, (2, 2, 2), torch.float64)
    for training in (True, False):
        layer = subject.layer().train(training)
        wrong = _right_or_refused(
            subject,
            lambda layer=layer: _jacobian(layer, x, vectorize=True),  # type: ignore[misc]
            _jacobian(layer, x),
        )
        if wrong:
            return wrong
    return None


def forward_mode(subject: Subject) -> str | None:
    """Forward-mode AD: the jacobian times the tangent, or a refusal that names the way out."""
    x = images(subject, (2, 2, 2), torch.float64)
    for training in (True, False):
        layer = subject.layer().train(training)
        tangent = directions(x)
        expected = (_jacobian(layer, x).flatten(4) @ tangent.flatten()).view(x.shape)

        def run(layer: torch.nn.Module = layer, tangent: Tensor = tangent) -> Tensor:
            with forward_ad.dual_level():
                y = layer(forward_ad.make_dual(x, tangent))  # type: ignore[no-untyped-call]
                found = forward_ad.unpack_dual(y).tangent  # type: ignore[no-untyped-call]
                return torch.zeros_like(x) if found is None else found

        wrong = _right_or_refused(subject, run, expected)
        if wrong:
            return wrong
    return None

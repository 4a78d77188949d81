"""Checks of what a layer must refuse, by name, as torch does, and never read past its memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import DEFINITIONS
from normlab.norms.conformance.subject import Subject, first_line, images

_SCALARS = {  # dtype: torch's other name of it, in its own messages
    torch.uint8: "Byte",
    torch.int64: "Long",
    torch.bool: "Bool",
    torch.complex64: "ComplexFloat",
}


def _refused(layer: nn.Module, x: Tensor, words: str, what: str) -> str | None:
    """None if the layer refuses x, in training and in eval, with one of these words."""
    for training in (True, False):
        try:
            layer.train(training)(x)
        except (TypeError, ValueError, RuntimeError) as refusal:
            if not re.search(words, str(refusal)):
                return f"the refusal of {what} does not name it: {first_line(refusal)}"
        else:
            return f"{what} is not refused {'in training' if training else 'in eval'}"
    return None


def number_types(subject: Subject) -> str | None:
    """Maps of integers, booleans and complex numbers are refused, naming the dtype."""
    if subject.definition is DEFINITIONS["none"]:
        return None
    for dtype, other in _SCALARS.items():
        x = images(subject, (4, 3, 3), torch.float32).to(dtype)
        name = str(dtype).removeprefix("torch.")
        words = f"{name}|{other}|dtype|datatype"
        wrong = _refused(subject.layer(torch.float32), x, words, f"a map of {dtype}")
        if wrong:
            return wrong
    return None


def _of_wrong_size(subject: Subject) -> Iterator[tuple[str, int, nn.Module]]:
    """Layers with one parameter or buffer per channel of another length."""
    layer = subject.layer(torch.float32)
    named = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    for name, value in named.items():
        if value.shape != (subject.channels,):
            continue
        for size in (1, subject.channels // 2, subject.channels + 2):
            layer = subject.layer(torch.float32)
            wrong = torch.ones(size)
            is_parameter = name in dict(layer.named_parameters())
            setattr(layer, name, nn.Parameter(wrong) if is_parameter else wrong)
            yield name, size, layer


def wrong_sizes(subject: Subject) -> str | None:
    """Gains, biases and running statistics of another length are refused, naming them."""
    x = images(subject, (4, 3, 3), torch.float32)
    for name, size, layer in _of_wrong_size(subject):
        what = f"{name} of {size} values on {subject.channels} channels"
        wrong = _refused(layer, x, name, what)
        if wrong:
            return wrong
    return None


def another_device(subject: Subject) -> str | None:
    """A map left behind when the layer moved, `meta` here, is refused, naming devices."""
    layer = subject.layer(torch.float32)
    if not [*layer.parameters(), *layer.buffers()]:
        return None
    x = images(subject, (4, 3, 3), torch.float32)
    return _refused(layer.to("meta"), x, "device", "a map on another device than the layer")

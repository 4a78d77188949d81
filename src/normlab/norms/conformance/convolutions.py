"""The checks of a norm that is a parametrization of convolutions: scaled weight standardization.

A subject is a class with the signature of `torch.nn.Conv2d` and a parameter `gain` of one value per
output channel. The definition stands here once more, unit by unit, and shares nothing with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.norms.scaled_ws import ScaledWSConv2d

WORDS = "w_hat = gain * (w - mean(w)) * rsqrt(max(var(w) * fan_in, 1e-4)), per output unit"

CONVOLUTIONS: dict[str, type[nn.Module]] = {"scaled_ws": ScaledWSConv2d}
"""Kinds that parametrize convolutions."""

Make = Callable[..., nn.Module]


def defined_weight(weight: Tensor, gain: Tensor) -> Tensor:
    """The weight a convolution should use, written from the paper."""
    units = []
    for unit, g in zip(weight, gain, strict=True):
        centred = unit - unit.mean()
        centred = centred - centred.mean()  # what the first mean lost in rounding
        variance = (centred**2).mean()
        units.append(g * centred / torch.sqrt(torch.clamp(variance * unit.numel(), min=1e-4)))
    return torch.stack(units)


def _layer(make: Make, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    source = torch.Generator().manual_seed(0)
    layer = make(3, 4, 3, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            # Off zero, so that a forgotten mean or gain shows.
            parameter.copy_(0.4 + torch.rand(parameter.shape, generator=source))
    return layer.to(dtype)


def _images(dtype: torch.dtype = torch.float64) -> Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 6, 5, generator=source, dtype=torch.float64).to(dtype)


def _offset(make: Make) -> str | None:
    """Weights whose mean is far from 0, in float32: the standardized weight and its gradient."""
    source = torch.Generator().manual_seed(3)
    drawn = torch.randn(4, 3, 3, 3, generator=source, dtype=torch.float64)
    towards = torch.randn(2, 4, 4, 3, generator=source, dtype=torch.float64)
    for mean in (10.0, 1e3):
        layer, x = _layer(make, torch.float32, bias=False), _images(torch.float32)
        with torch.no_grad():
            layer.weight.copy_(drawn + mean)
        weight = layer.weight.detach().double().requires_grad_()
        y = F.conv2d(x.double(), defined_weight(weight, layer.gain.detach().double()))
        (expected,) = torch.autograd.grad((y * towards).sum(), weight)
        found_y = layer(x)
        (found,) = torch.autograd.grad((found_y * towards.float()).sum(), layer.weight)
        for what, one, other in (("output", found_y, y), ("gradient", found, expected)):
            error = float((one.double() - other).detach().norm() / other.detach().norm())
            if error > 2e-6:
                return f"the {what} at weights of mean {mean:g} is off by {error:.1e}: {WORDS}"
    return None


def _half(make: Make) -> str | None:
    """A half layer: its weight is standardized in float32."""
    layer, x = _layer(make).half(), _images(torch.float16)
    with torch.no_grad():
        layer.weight.mul_(200)  # squares beyond half
    weight = defined_weight(layer.weight.double(), layer.gain.double())
    expected = F.conv2d(x.double(), weight, layer.bias.double())
    error = float(((layer(x).double() - expected).norm() / expected.norm()).detach())
    return None if error <= 2e-3 else f"off by {error:.1e} in half: standardize in float32"


def _refusals(make: Make) -> str | None:
    """Integer images, a gain of another size and another device are refused by name."""
    cases: list[tuple[str, nn.Module, Tensor]] = []
    for size in (1, 3):
        layer = _layer(make)
        layer.gain = nn.Parameter(torch.ones(size, dtype=torch.float64))
        cases.append(("gain", layer, _images()))
    cases.append(("dtype|Byte|type", _layer(make), _images().to(torch.uint8)))
    cases.append(("device|meta", _layer(make).to("meta"), _images()))
    for words, layer, x in cases:
        try:
            layer(x)
        except (TypeError, ValueError, RuntimeError) as refusal:
            if not re.search(words, str(refusal)):
                return f"a refusal does not say one of {words}: {refusal}"
        else:
            return f"not refused: what an error would name by {words}"
    return None


def _reset(make: Make) -> str | None:
    layer = _layer(make)
    layer.reset_parameters()
    return None if bool((layer.gain == 1).all()) else "reset_parameters leaves the gain"


def _exported(make: Make) -> str | None:
    layer, x = _layer(make).eval(), _images()
    made = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    five = torch.cat([x, x, x[:1]])
    right = torch.allclose(made.module()(five), layer(five))
    return None if right else "exported with a dynamic batch it gives another output"


def _output(make: Make, dtype: torch.dtype, tolerance: float, **options: Any) -> str | None:
    layer, x = _layer(make, dtype, **options), _images(dtype)
    bias = None if layer.bias is None else layer.bias.double()
    weight = defined_weight(layer.weight.double(), layer.gain.double())
    expected = F.conv2d(
        x.double(), weight, bias, options.get("stride", 1), options.get("padding", 0)
    )
    found = layer(x).detach().double()
    error = float((found - expected.detach()).abs().max() / expected.detach().abs().max())
    return None if error <= tolerance else f"off by {error:.2g} of its largest value from {WORDS}"


def _gradients(make: Make) -> str | None:
    layer, x = _layer(make), _images()
    names = ("weight", "gain")

    def through(weight: Tensor, gain: Tensor) -> Tensor:
        made = dict(zip(names, (weight, gain), strict=True))
        y: Tensor = torch.func.functional_call(layer, made, (x,))
        return y

    values = tuple(getattr(layer, name).detach().clone().requires_grad_() for name in names)
    if not torch.autograd.gradcheck(through, values, raise_exception=False):
        return f"the gradients of {' and '.join(names)} are not those of its own output"
    if not torch.autograd.gradgradcheck(through, values, raise_exception=False):
        return "the second derivatives are wrong"
    return None


def _constant(make: Make) -> str | None:
    layer = _layer(make)
    with torch.no_grad():
        layer.weight.fill_(0.7)
    y = layer(_images())
    y.sum().backward()
    finite = bool(y.isfinite().all() and layer.weight.grad.isfinite().all())
    return None if finite else "a constant filter gives no finite output or gradient"


def _round_trip(make: Make) -> str | None:
    first, second, x = _layer(make), make(3, 4, 3).double(), _images()
    second.load_state_dict(first.state_dict())
    return None if torch.equal(first(x), second(x)) else "a state dict gives another layer"


def _evaluation(make: Make) -> str | None:
    layer, x = _layer(make), _images()
    return None if torch.equal(layer(x), layer.eval()(x)) else "training and eval differ"


def _compiled(make: Make) -> str | None:
    layer, x = _layer(make, torch.float32), _images(torch.float32)
    torch._dynamo.reset()
    compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for images in (x, torch.cat([x, x, x])):  # a second batch size
        if not torch.allclose(compiled(images), layer(images), rtol=1e-5, atol=1e-6):
            return "another output when compiled"
    return None


def _variance(make: Make) -> str | None:
    torch.manual_seed(0)
    layer = make(64, 64, 3, padding=1, bias=False)
    y = layer(torch.randn(16, 64, 12, 12))[:, :, 1:-1, 1:-1]
    found = float(y.detach().var())
    return None if 0.85 < found < 1.15 else f"variance {found:.2f} of standard normal inputs, not 1"


CHECKS: dict[str, Callable[[Make], str | None]] = {
    "output, float64": lambda make: _output(make, torch.float64, 1e-10),
    "output, float32": lambda make: _output(make, torch.float32, 2e-6),
    "output, bfloat16": lambda make: _output(make, torch.bfloat16, 2e-2),
    "stride, padding and no bias": lambda make: _output(
        make, torch.float64, 1e-10, stride=2, padding=1, bias=False
    ),
    "gradients": _gradients,
    "large offset": _offset,
    "half": _half,
    "refusals": _refusals,
    "reset_parameters": _reset,
    "torch.export": _exported,
    "constant filter": _constant,
    "train and eval": _evaluation,
    "state dict": _round_trip,
    "torch.compile": _compiled,
    "output variance": _variance,
}


def run(make: Make) -> Iterator[tuple[str, str | None]]:
    """Every check with what is wrong, or None."""
    for name, check in CHECKS.items():
        try:
            yield name, check(make)
        except Exception as error:  # what a layer raises is a finding
            yield name, f"raises {type(error).__name__}: {error}"

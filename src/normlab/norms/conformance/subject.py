"""What a check works with: a layer to be checked, maps to run it on, and what it should give.

A subject is a layer class with the options to make it, and the definition to check it against (or
none, for an own kind that is a new one: then the checks that need no definition remain).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import Definition, Options, Values

FLOAT32, FLOAT64 = 2e-6, 1e-10
SECOND = 1e-8
"""Allowed relative error of first and second derivatives in float64."""
_SIGNED = {"bias", "tau"}
SHAPES = ((5, 4, 3), (8, 7, 7), (3, 16, 16))  # images, height, width


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Attributes:
        make: The class, called as ``make(num_channels, **options)``.
        options: Its options.
        definition: What it claims to be, if that is known.
        channels: C of the inputs.
    """

    make: Callable[..., nn.Module]
    options: Options
    definition: Definition | None
    channels: int = 6

    @property
    def is_torchs(self) -> bool:
        """Whether this is torch's own layer: what torch gets wrong is then not ours to mend."""
        return self.definition is not None and self.make is self.definition.counterpart

    def layer(
        self, dtype: torch.dtype = torch.float64, *, channels: int | None = None, **extra: object
    ) -> nn.Module:
        """A fresh layer with random parameters, the same ones at every call."""
        options = {**self.options, **extra}
        progress = options.pop("progress", None)
        layer = self.make(channels or self.channels, **options)
        if progress is not None:
            layer.progress = progress
        source = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                drawn = torch.rand(parameter.shape, generator=source, dtype=torch.float64)
                # Gains, gates and roots are positive; biases and thresholds lie on both sides of 0.
                parameter.copy_(1.2 * drawn - 0.6 if name in _SIGNED else 0.3 + 0.6 * drawn)
        return layer.to(dtype)

    def fresh(self, make: Callable[..., nn.Module] | None = None) -> nn.Module:
        """A layer as it is made, of this class or another one with the same options."""
        options = {key: value for key, value in self.options.items() if key != "progress"}
        return (make or self.make)(self.channels, **options)

    def full_options(self) -> Options:
        """Options as the definition reads them, eps filled in."""
        eps = self.definition.eps if self.definition else 1e-5
        return {"eps": eps, **self.options}

    def defined(
        self, x: Tensor, parameters: Values, buffers: Values, *, training: bool = True
    ) -> Tensor:
        """The definition's output."""
        assert self.definition is not None
        return self.definition.forward(x, parameters, self.full_options(), buffers, training)


Check = Callable[[Subject], "str | None"]


def images(
    subject: Subject,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    mean: float = 0.0,
    seed: int = 0,
    channels: int | None = None,
) -> Tensor:
    """Standard normal maps around a mean, drawn in float64 and rounded to dtype."""
    n, height, width = shape
    source = torch.Generator().manual_seed(seed)
    size = (n, channels or subject.channels, height, width)
    drawn = torch.randn(size, generator=source, dtype=torch.float64)
    # Channels and images of different spread and level, or wrong axes would go unseen.
    drawn = (
        drawn * (0.5 + torch.rand(size[:2], generator=source, dtype=torch.float64))[..., None, None]
    )
    drawn = (
        drawn + 0.5 * torch.randn(size[:2], generator=source, dtype=torch.float64)[..., None, None]
    )
    return (drawn + mean).to(dtype)


def error(found: Tensor, expected: Tensor) -> float:
    """Relative error in the Euclidean norm; infinite if one is not finite where the other is.

    Below a norm of 1e-3 the error is absolute: a gradient may be zero by definition.
    """
    found, expected = found.detach().double(), expected.detach().double()
    if found.shape != expected.shape or not bool((found.isfinite() == expected.isfinite()).all()):
        return float("inf")
    return float((found - expected).norm() / expected.norm().clamp_min(1e-3))


def state_of(layer: nn.Module, dtype: torch.dtype = torch.float64) -> tuple[Values, Values]:
    """A layer's parameters, as leaves of their own, and a copy of its buffers."""
    parameters = {n: p.detach().to(dtype).requires_grad_() for n, p in layer.named_parameters()}
    buffers = {n: b.clone() for n, b in layer.named_buffers()}
    buffers = {n: b.to(dtype) if b.is_floating_point() else b for n, b in buffers.items()}
    return parameters, buffers


def outcome(layer: nn.Module, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Output and gradients of a layer."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    used = dict(layer.named_parameters())
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        (y * weights.to(y.dtype)).sum(), [x, *used.values()], allow_unused=True
    )
    names = ["output", "input gradient", *(f"gradient of {name}" for name in used)]
    zeros = [x, *used.values()]
    filled = [
        torch.zeros_like(v) if g is None else g for g, v in zip(gradients, zeros, strict=True)
    ]
    return dict(zip(names, [y.detach(), *filled], strict=True))


def defined_outcome(
    subject: Subject,
    layer: nn.Module,
    x: Tensor,
    weights: Tensor,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Output and gradients of the definition with a layer's parameters."""
    parameters, buffers = state_of(layer, dtype)
    x = x.detach().to(dtype).requires_grad_()
    y = subject.defined(x, parameters, buffers, training=layer.training)
    wanted = [x, *parameters.values()]
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        (y * weights.to(dtype)).sum(), wanted, allow_unused=True
    )
    filled = [
        torch.zeros_like(v) if g is None else g for g, v in zip(gradients, wanted, strict=True)
    ]
    names = ["output", "input gradient", *(f"gradient of {name}" for name in parameters)]
    return dict(zip(names, [y.detach(), *filled], strict=True))


def directions(x: Tensor) -> Tensor:
    """Weights of a sum, the same for every tensor of that shape."""
    source = torch.Generator().manual_seed(2)
    return torch.randn(x.shape, generator=source, dtype=torch.float64)


def tolerance(subject: Subject, x: Tensor, name: str, layer: nn.Module, floor: float) -> float:
    """Twice the error of torch's own layer, or of the formula in float32; at least `floor`."""
    weights = directions(x)
    exact = defined_outcome(subject, layer, x, weights)
    definition = subject.definition
    assert definition is not None
    if definition.counterpart is not None:
        options = {k: v for k, v in subject.options.items() if k != "progress"}
        other = definition.counterpart(x.shape[1], **options).to(x.dtype)
        other.load_state_dict(layer.state_dict(), strict=False)
        theirs = outcome(other.train(layer.training), x, weights)
    else:
        theirs = defined_outcome(subject, layer, x, weights, torch.float32)
    return max(floor, 2 * error(theirs[name], exact[name])) if name in theirs else floor


def compare(
    subject: Subject, x: Tensor, *, floor: float, training: bool = True, where: str
) -> str | None:
    """Hold output and gradients against the definition; says which is wrong."""
    layer = subject.layer(x.dtype, channels=x.shape[1]).train(training)
    expected = defined_outcome(subject, layer, x, directions(x))
    twin = copy.deepcopy(layer)
    found = outcome(layer, x, directions(x))
    for name, value in expected.items():
        wrong = error(found.get(name, torch.zeros(0)), value)
        if wrong <= floor:
            continue
        allowed = floor if x.dtype == torch.float64 else tolerance(subject, x, name, twin, floor)
        if wrong > allowed:
            return says(subject, f"{name} {where} is off by {wrong:.1e}, allowed {allowed:.0e}")
    return None


def says(subject: Subject, what: str, words: str | None = None) -> str:
    """What is wrong, with the definition in words."""
    definition = words or (subject.definition.words if subject.definition else "")
    return f"{what}. Definition: {definition}" if definition else what


def fits(subject: Subject, shape: tuple[int, int, int]) -> bool:
    """Whether a batch is large enough for the kind in training."""
    refuses = subject.definition.refuses if subject.definition else (lambda n, p: p == 1)
    return not refuses(shape[0], shape[1] * shape[2])


def orders(y: Tensor, wanted: dict[str, Tensor], *, create_graph: bool = True) -> dict[str, Tensor]:
    """First gradients of a function of y by name; with create_graph the second ones too.

    The function is a weighted sum of sin(y): its second derivatives see more than a sum's.
    """
    tensors = list(wanted.values())
    first: tuple[Tensor | None, ...] = torch.autograd.grad(
        (y.sin() * directions(y)).sum(), tensors, create_graph=create_graph, allow_unused=True
    )
    found = _named("gradient of", wanted, first)
    reached = [g for g in first if g is not None and g.requires_grad]
    if create_graph:
        second: tuple[Tensor | None, ...] = (None,) * len(tensors)
        if reached:
            total = torch.stack([(g * directions(g)).sum() for g in reached]).sum()
            second = torch.autograd.grad(total, tensors, allow_unused=True)
        found |= _named("second derivative by", wanted, second)
    return found


def _named(
    what: str, wanted: dict[str, Tensor], gradients: tuple[Tensor | None, ...]
) -> dict[str, Tensor]:
    return {
        f"{what} {name}": torch.zeros_like(tensor) if found is None else found.detach()
        for (name, tensor), found in zip(wanted.items(), gradients, strict=True)
    }


def differences(
    found: dict[str, Tensor], expected: dict[str, Tensor], allowed: float, where: str
) -> str | None:
    """The first of the expected values that is not found so; None if all are."""
    for name, value in expected.items():
        wrong = error(found.get(name, torch.zeros(0)), value)
        if wrong > allowed:
            return f"{name} {where} is off by {wrong:.1e}, allowed {allowed:.0e}"
    return None


def first_line(wrong: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(wrong).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(wrong).__name__

"""The checks: each a function of a subject that returns what is wrong, or None.

A subject is a layer class with the options to make it, and the definition to hold it against (or
none, for an own kind that is a new one: then the checks that need no definition remain).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import DEFINITIONS, Definition, Options, Values

FLOAT32, FLOAT64 = 2e-6, 1e-10
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

    def layer(
        self, dtype: torch.dtype = torch.float64, *, channels: int | None = None, **extra: Any
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


def _named(layer: nn.Module, dtype: torch.dtype = torch.float64) -> tuple[Values, Values]:
    parameters = {n: p.detach().to(dtype).requires_grad_() for n, p in layer.named_parameters()}
    buffers = {n: b.clone() for n, b in layer.named_buffers()}
    buffers = {n: b.to(dtype) if b.is_floating_point() else b for n, b in buffers.items()}
    return parameters, buffers


def _run(layer: nn.Module, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
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


def _expected(
    subject: Subject,
    layer: nn.Module,
    x: Tensor,
    weights: Tensor,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Output and gradients of the definition with a layer's parameters."""
    parameters, buffers = _named(layer, dtype)
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


def _weights(x: Tensor) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.randn(x.shape, generator=source, dtype=torch.float64)


def _allowed(subject: Subject, x: Tensor, name: str, layer: nn.Module, floor: float) -> float:
    """Twice the error of torch's own layer, or of the formula in float32; at least `floor`."""
    weights = _weights(x)
    exact = _expected(subject, layer, x, weights)
    definition = subject.definition
    assert definition is not None
    if definition.counterpart is not None:
        options = {k: v for k, v in subject.options.items() if k != "progress"}
        other = definition.counterpart(x.shape[1], **options).to(x.dtype)
        other.load_state_dict(layer.state_dict(), strict=False)
        theirs = _run(other.train(layer.training), x, weights)
    else:
        theirs = _expected(subject, layer, x, weights, torch.float32)
    return max(floor, 2 * error(theirs[name], exact[name])) if name in theirs else floor


def _compare(
    subject: Subject, x: Tensor, *, floor: float, training: bool = True, where: str
) -> str | None:
    """Hold output and gradients against the definition; says which is wrong."""
    layer = subject.layer(x.dtype, channels=x.shape[1]).train(training)
    expected = _expected(subject, layer, x, _weights(x))
    twin = copy.deepcopy(layer)
    found = _run(layer, x, _weights(x))
    for name, value in expected.items():
        wrong = error(found.get(name, torch.zeros(0)), value)
        if wrong <= floor:
            continue
        allowed = floor if x.dtype == torch.float64 else _allowed(subject, x, name, twin, floor)
        if wrong > allowed:
            return _says(subject, f"{name} {where} is off by {wrong:.1e}, allowed {allowed:.0e}")
    return None


def _says(subject: Subject, what: str, words: str | None = None) -> str:
    definition = words or (subject.definition.words if subject.definition else "")
    return f"{what}. Definition: {definition}" if definition else what


def _fits(subject: Subject, shape: tuple[int, int, int]) -> bool:
    refuses = subject.definition.refuses if subject.definition else (lambda n, p: p == 1)
    return not refuses(shape[0], shape[1] * shape[2])


def signature(subject: Subject) -> str | None:
    """Made as Kind(num_channels, eps=, affine=, activation=), with the defined parameters."""
    options = {k: v for k, v in subject.options.items() if k != "progress"}
    layer = subject.make(subject.channels, **options)
    definition = subject.definition
    if definition is None:
        return None
    optional = {name for name, value in definition.parameters.items() if value == "if asked"}
    wanted = set(definition.parameters) - optional
    if options.get("affine") is False:
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


def float64(subject: Subject) -> str | None:
    """Output and gradients in float64, at means 0 and 10."""
    return _over_shapes(subject, torch.float64, FLOAT64)


def float32(subject: Subject) -> str | None:
    """Output and gradients in float32, at means 0 and 10."""
    return _over_shapes(subject, torch.float32, FLOAT32)


def _over_shapes(subject: Subject, dtype: torch.dtype, floor: float) -> str | None:
    if subject.definition is None:
        return None
    for shape in SHAPES:
        for mean in (0.0, 10.0):
            x = images(subject, shape, dtype, mean)
            where = f"in training ({dtype}, maps {shape[1]}x{shape[2]}, mean {mean:g})".replace(
                "torch.", ""
            )
            found = _compare(subject, x, floor=floor, where=where)
            if found:
                return found
    return None


def derivatives(subject: Subject) -> str | None:
    """gradcheck and gradgradcheck in float64 (the latter on the reference)."""
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
        return f"the gradient is not the derivative of the output: {_first_line(wrong)}"
    try:
        torch.autograd.gradgradcheck(function, inputs, atol=1e-5, rtol=1e-3)
    except Exception as wrong:
        return f"the second derivative is wrong: {_first_line(wrong)}"
    return None


def buffers(subject: Subject) -> str | None:
    """Running buffers over 50 training steps, in float64 and float32."""
    definition = subject.definition
    if definition is None or definition.advance is None:
        return None
    for dtype, floor in ((torch.float64, FLOAT64), (torch.float32, 2 * FLOAT32)):
        layer = subject.layer(dtype).train()
        _, expected = _named(layer)
        for step in range(50):
            x = images(subject, (7, 3, 3), dtype, mean=2.0, seed=step)
            layer(x)
            expected = definition.advance(x.double(), subject.full_options(), expected)
        for name, value in layer.named_buffers():
            wrong = error(value, expected[name])
            if wrong > floor:
                what = f"{name} after 50 steps is off by {wrong:.1e}, allowed {floor:.0e}"
                return _says(subject, what, definition.buffer_words)
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
        return _says(subject, "in eval mode an image's output depends on the rest of its batch")
    if subject.definition is not None:
        expected = _expected(subject, layer, x, _weights(x))
        found = _run(layer, x, _weights(x))
        for name, value in expected.items():
            wrong = error(found[name], value)
            if wrong > FLOAT64:
                return _says(
                    subject, f"{name} in eval mode is off by {wrong:.1e}, allowed {FLOAT64:.0e}"
                )
    return None


def batch_of_one(subject: Subject) -> str | None:
    """A single image in training."""
    return _where_defined(subject, (1, 4, 4), "of a batch of one")


def ragged_batch(subject: Subject) -> str | None:
    """A batch that no split divides, and one smaller than the splits."""
    return _where_defined(subject, (7, 3, 3), "of a batch of 7") or _where_defined(
        subject, (2, 3, 3), "of a batch of 2"
    )


def odd_channels(subject: Subject) -> str | None:
    """Channel counts that fill no vector register: 9 and 3."""
    for channels in (9, 3):
        if channels % subject.options.get("groups", 1) or channels % subject.options.get(
            "channels_per_group", 1
        ):
            continue
        x = images(subject, (4, 5, 3), torch.float64, channels=channels)
        found = subject.definition and _compare(
            subject, x, floor=FLOAT64, where=f"with {channels} channels"
        )
        if found:
            return found
    return None


def small_maps(subject: Subject) -> str | None:
    """1x1 maps: the definition's output, or a ValueError where it has none."""
    return _where_defined(subject, (6, 1, 1), "on 1x1 maps") or _where_defined(
        subject, (1, 1, 1), "on a single value per channel"
    )


def _where_defined(subject: Subject, shape: tuple[int, int, int], where: str) -> str | None:
    x = images(subject, shape, torch.float64)
    if subject.definition is None:
        if _fits(subject, shape) and not bool(subject.layer()(x).isfinite().all()):
            return f"the output {where} is not finite"
        return None
    if _fits(subject, shape):
        try:
            return _compare(subject, x, floor=FLOAT64, where=where)
        except (ValueError, RuntimeError) as refusal:
            return _says(
                subject, f"it refuses an input that has an output ({where}): {_first_line(refusal)}"
            )
    try:
        subject.layer().train()(x)
    except ValueError:
        return None
    return _says(
        subject,
        f"it gives an output {where}, where the variance says nothing: "
        "raise ValueError, as torch does",
    )


def large_offset(subject: Subject) -> str | None:
    """Mean 1e4 and variance 1 in float32: at most twice torch's own error."""
    if subject.definition is None:
        return None
    x = images(subject, (4, 16, 16), torch.float32, mean=1e4)
    layer = subject.layer(torch.float32)
    allowed = _allowed(subject, x, "output", copy.deepcopy(layer), FLOAT32)
    wrong = error(
        layer(x), _expected(subject, subject.layer(torch.float32), x, _weights(x))["output"]
    )
    if wrong > allowed:
        return (
            f"the output at mean 1e4 is off by {wrong:.1e}, allowed {allowed:.1e}: "
            "subtract a center before squaring"
        )
    return None


def constant_input(subject: Subject) -> str | None:
    """Maps without spread: a finite output and finite gradients."""
    x = torch.full((4, subject.channels, 3, 3), 2.5, dtype=torch.float64)
    found = _run(subject.layer(), x, _weights(x))
    for name, value in found.items():
        if not bool(value.isfinite().all()):
            return f"{name} of a constant input is not finite: eps belongs inside the root"
    if subject.definition is not None:
        expected = _expected(subject, subject.layer(), x, _weights(x))
        if float((found["output"] - expected["output"]).abs().max()) > 1e-8:
            return _says(subject, "the output of a constant input is off")
    return None


def bfloat16(subject: Subject) -> str | None:
    """bfloat16 inputs with float32 parameters: within 1e-2 of float64 on the same inputs."""
    layer = subject.layer(torch.float32)
    x = images(subject, (6, 8, 8), torch.bfloat16, mean=1.0)
    y = layer(x)
    if y.dtype is not torch.bfloat16 and subject.definition is None:
        return f"the output of a bfloat16 input is {y.dtype}"
    twin = subject.layer(torch.float64)
    expected = (
        subject.defined(x.double(), *_named(twin)) if subject.definition else twin(x.double())
    )
    wrong = error(y, expected)
    return (
        None
        if wrong <= 1e-2
        else f"the output in bfloat16 is off by {wrong:.1e}, allowed 1e-02: "
        "statistics belong in float32"
    )


def state_round_trip(subject: Subject) -> str | None:
    """A state dict carries everything to a fresh layer; torch's names where torch has the layer."""
    layer = subject.layer().train()
    layer(images(subject, (5, 4, 3), torch.float64))
    options = {k: v for k, v in subject.options.items() if k != "progress"}
    fresh = subject.make(subject.channels, **options).double()
    fresh.load_state_dict(layer.state_dict())
    x = images(subject, (5, 4, 3), torch.float64, seed=5)
    if error(fresh.eval()(x), layer.eval()(x)) > FLOAT64:
        return "a layer loaded from its state dict computes something else"
    if subject.definition and subject.definition.counterpart:
        theirs = subject.definition.counterpart(subject.channels, **options).state_dict()
        if set(theirs) != set(layer.state_dict()):
            return f"its state dict has {sorted(layer.state_dict())}, torch's has {sorted(theirs)}"
    return None


def layouts(subject: Subject) -> str | None:
    """Inputs that lie otherwise in memory, channels_last and strided, give the same."""
    x = images(subject, (4, 6, 5), torch.float32)
    plain = _run(subject.layer(torch.float32), x, _weights(x))
    strided = torch.stack([x, x], dim=-1)[..., 0]
    for name, other in (
        ("a channels_last input", x.contiguous(memory_format=torch.channels_last)),
        ("a non-contiguous input", strided),
    ):
        found = _run(subject.layer(torch.float32), other, _weights(x))
        for what, value in plain.items():
            if error(found[what], value) > 5 * FLOAT32:
                return f"{what} of {name} differs from the contiguous one's"
    return None


def empty_batch(subject: Subject) -> str | None:
    """No images in: none out or a refusal, and no statistics moved."""
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
    return None


def compiled(subject: Subject) -> str | None:
    """torch.compile (traced and differentiated by aot_eager) changes nothing."""
    x = images(subject, (4, 6, 5), torch.float32)
    plain = _run(subject.layer(torch.float32), x, _weights(x))
    torch._dynamo.reset()
    layer = subject.layer(torch.float32)
    faster = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = x.requires_grad_()
    try:
        y = faster(x)
        (gradient,) = torch.autograd.grad((y * _weights(x).to(y.dtype)).sum(), [x])
    except Exception as wrong:
        return f"torch.compile cannot trace it: {_first_line(wrong)}"
    if error(y, plain["output"]) > 5 * FLOAT32 or error(gradient, plain["input gradient"]) > 2e-5:
        return "torch.compile changes its output or gradient"
    return None


def activation(subject: Subject) -> str | None:
    """activation="relu" is the same layer with a ReLU behind it; refused where one is inside."""
    if subject.definition and subject.definition.contains_activation:
        try:
            subject.layer(activation="relu")
        except ValueError:
            return None
        return _says(subject, "it takes an activation behind the one it contains")
    x = images(subject, (4, 6, 5), torch.float64)
    plain, folded = subject.layer(), subject.layer(activation="relu")
    expected = _run(nn.Sequential(plain, nn.ReLU()), x, _weights(x))
    found = _run(folded, x, _weights(x))
    for (what, value), (_, want) in zip(found.items(), expected.items(), strict=True):
        if error(value, want) > FLOAT64:
            return f"{what} with activation='relu' is not that of the layer and a ReLU behind it"
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
    (y * _weights(x).float()).sum().backward()
    for name, parameter in layer.named_parameters():
        if parameter.grad is None or not bool(parameter.grad.any()):
            return f"{name} receives no gradient: it would never train"
    return None


def limits(subject: Subject) -> str | None:
    """Equal to the kinds it contains as limits."""
    if subject.definition is None:
        return None
    from normlab.norms import NORMS

    for own, kind, options, gate in subject.definition.limits:
        if any(key in subject.options for key in ("progress", "running", "momentum", "affine")):
            continue
        try:
            layer = subject.make(subject.channels, **own).double()
        except TypeError:
            continue
        if gate is not None:
            with torch.no_grad():
                layer.get_parameter("rho").fill_(gate)
        x = images(subject, (5, 4, 3), torch.float64, mean=0.5)
        wrong = error(layer(x), NORMS[kind](subject.channels, **options).double()(x))
        if wrong > FLOAT64:
            with_gate = "" if gate is None else f" with its gate at {gate:g}"
            return f"{own or 'it'}{with_gate} must equal {kind}, and is off by {wrong:.1e}"
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


def _first_line(wrong: BaseException) -> str:
    lines = [line.strip() for line in str(wrong).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(wrong).__name__


CHECKS: dict[str, Check] = {
    "signature": signature,
    "trains": trains,
    "float64": float64,
    "float32": float32,
    "derivatives": derivatives,
    "buffers": buffers,
    "eval": evaluation,
    "batch of one": batch_of_one,
    "ragged batch": ragged_batch,
    "odd channels": odd_channels,
    "1x1 maps": small_maps,
    "large offset": large_offset,
    "constant input": constant_input,
    "bfloat16": bfloat16,
    "state dict": state_round_trip,
    "layouts": layouts,
    "empty batch": empty_batch,
    "torch.compile": compiled,
    "activation": activation,
    "limits": limits,
    "gate range": gate_range,
}
"""Name -> check, in the order they run and are shown."""


def run(subject: Subject) -> Iterator[tuple[str, str | None]]:
    """Every check's name and what it found; an exception in a layer is a finding."""
    for name, check in CHECKS.items():
        try:
            yield name, check(subject)
        except Exception as wrong:
            yield name, f"it raises {type(wrong).__name__}: {_first_line(wrong)}"

"""Checks of values: output and first gradients on maps of every size, offset, layout and dtype."""

from __future__ import annotations

import torch

from normlab.norms.conformance.subject import (
    FLOAT32,
    FLOAT64,
    SHAPES,
    Subject,
    compare,
    defined_outcome,
    directions,
    error,
    first_line,
    fits,
    images,
    outcome,
    says,
)


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
            found = compare(subject, x, floor=floor, where=where)
            if found:
                return found
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
        found = subject.definition and compare(
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
        if fits(subject, shape) and not bool(subject.layer()(x).isfinite().all()):
            return f"the output {where} is not finite"
        return None
    if fits(subject, shape):
        try:
            return compare(subject, x, floor=FLOAT64, where=where)
        except (ValueError, RuntimeError) as refusal:
            return says(
                subject, f"it refuses an input that has an output ({where}): {first_line(refusal)}"
            )
    try:
        subject.layer().train()(x)
    except ValueError:
        return None
    return says(
        subject,
        f"it gives an output {where}, where the variance says nothing: "
        "raise ValueError, as torch does",
    )


def large_offset(subject: Subject) -> str | None:
    """Far from 0 in float32: output and gradients, at most twice the error of torch's or a formula.

    Means 10 to 1e4 with a deviation of 1, and mean 1 with a deviation of 1e-5.
    """
    if subject.definition is None:
        return None
    drawn = images(subject, (6, 9, 9), torch.float64)
    for mean, deviation in ((10.0, 1.0), (100.0, 1.0), (1e3, 1.0), (1e4, 1.0), (1.0, 1e-5)):
        x = (drawn * deviation + mean).float()
        where = f"at mean {mean:g}, deviation {deviation:g}"
        wrong = compare(subject, x, floor=FLOAT32, where=where)
        if wrong:
            return f"{wrong}. Subtract a center before squaring, and what it lost in rounding after"
    return None


def very_large_maps(subject: Subject) -> str | None:
    """Maps of 1e18 to 1e20 in float32, whose squares are out of range: output and gradients."""
    if subject.definition is None or subject.is_torchs:  # torch's own layers overflow there
        return None
    for magnitude in (1e18, 1e19, 1e20):
        x = (images(subject, (5, 4, 3), torch.float64) * magnitude).float()
        layer = subject.layer(torch.float32)
        expected = defined_outcome(subject, layer, x, directions(x))
        found = outcome(layer, x, directions(x))
        for name, value in expected.items():
            # Not `error`, to which a gradient of 1e-20 is 0; in float64, where no square overflows.
            size = float(value.double().norm())
            if 0 < size < 1e-34:  # float32 has no digits left for it
                continue
            wrong = float((found[name].double() - value).norm()) / (size or 1.0)
            allowed = 1e-5
            if not wrong <= allowed:
                what = f"{name} of maps of {magnitude:g} is off by {wrong:.1e}, allowed {allowed}"
                return f"{what}: scale before squaring"
    return None


def constant_input(subject: Subject) -> str | None:
    """Maps without spread: a finite output and finite gradients."""
    x = torch.full((4, subject.channels, 3, 3), 2.5, dtype=torch.float64)
    found = outcome(subject.layer(), x, directions(x))
    for name, value in found.items():
        if not bool(value.isfinite().all()):
            return f"{name} of a constant input is not finite: eps belongs inside the root"
    if subject.definition is not None:
        expected = defined_outcome(subject, subject.layer(), x, directions(x))
        if float((found["output"] - expected["output"]).abs().max()) > 1e-8:
            return says(subject, "the output of a constant input is off")
    return None


def layouts(subject: Subject) -> str | None:
    """Inputs that lie otherwise in memory, channels_last and strided, give the same."""
    x = images(subject, (4, 6, 5), torch.float32)
    plain = outcome(subject.layer(torch.float32), x, directions(x))
    strided = torch.stack([x, x], dim=-1)[..., 0]
    for name, other in (
        ("a channels_last input", x.contiguous(memory_format=torch.channels_last)),
        ("a non-contiguous input", strided),
    ):
        found = outcome(subject.layer(torch.float32), other, directions(x))
        for what, value in plain.items():
            if error(found[what], value) > 5 * FLOAT32:
                return f"{what} of {name} differs from the contiguous one's"
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

"""Every way against torch's convolution in float64: all passes, shapes of all kinds, both thread counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from normlab.convolutions import ways
from normlab.convolutions.choice import choose
from normlab.convolutions.shape import Shape
from normlab.native import compiled

LAST = torch.channels_last

SHAPES = [
    # inputs, outputs, height, width, kernel, stride, padding
    Shape(1, 8, 9, 9, (3, 3), (1, 1), (0, 0)),
    Shape(3, 16, 8, 8, (3, 3), (1, 1), (1, 1)),
    Shape(8, 8, 10, 7, (3, 3), (1, 1), (0, 0)),
    Shape(8, 16, 6, 6, (3, 3), (2, 2), (1, 1)),
    Shape(16, 16, 5, 5, (3, 3), (1, 1), (1, 1)),
    Shape(24, 40, 7, 5, (3, 3), (1, 1), (1, 1)),
    Shape(32, 64, 4, 4, (3, 3), (1, 1), (1, 1)),
    Shape(64, 32, 2, 2, (3, 3), (1, 1), (1, 1)),
    Shape(32, 48, 1, 1, (3, 3), (1, 1), (1, 1)),
    Shape(32, 32, 1, 1, (1, 1), (1, 1), (0, 0)),
    Shape(16, 8, 6, 6, (1, 1), (1, 1), (0, 0)),
    Shape(64, 32, 7, 7, (1, 1), (2, 2), (0, 0)),
    Shape(3, 64, 12, 12, (7, 7), (2, 2), (3, 3)),
    Shape(16, 10, 5, 5, (1, 1), (1, 1), (0, 0)),
    Shape(8, 8, 6, 9, (1, 5), (1, 2), (0, 2)),
    Shape(16, 16, 6, 6, (5, 5), (1, 1), (4, 4)),
    Shape(16, 16, 6, 6, (3, 3), (1, 1), (3, 3)),  # more padding than the kernel reaches
    Shape(8, 16, 3, 3, (2, 2), (1, 1), (1, 1)),
    Shape(96, 128, 3, 3, (1, 1), (1, 1), (0, 0)),
]
IMAGES = (3, 17)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def data(shape: Shape, images: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    source = torch.Generator().manual_seed(images)
    x = torch.randn((images, shape.inputs, shape.height, shape.width), generator=source)
    fan = shape.inputs * shape.taps
    weight = torch.randn((shape.outputs, shape.inputs, *shape.kernel), generator=source) / fan**0.5
    dy = torch.randn((images, shape.outputs, *shape.out_size), generator=source)
    bias = torch.randn(shape.outputs, generator=source)
    x, weight, dy = (t.to(dtype).contiguous(memory_format=LAST) for t in (x, weight, dy))
    return x, weight, dy, bias.to(dtype)


def exact(
    shape: Shape, x: torch.Tensor, weight: torch.Tensor, dy: torch.Tensor, bias: torch.Tensor
) -> dict[str, torch.Tensor]:
    x, weight = x.double().requires_grad_(), weight.double().requires_grad_()
    y = F.conv2d(x, weight, bias.double(), shape.stride, shape.padding)
    dx, dw = torch.autograd.grad(y, (x, weight), dy.double())
    return {"forward": y.detach(), "input": dx, "weight": dw}


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("way", ways.WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_way_is_exact_to_rounding(shape: Shape, way: ways.Way, dtype: torch.dtype) -> None:
    for images, count in product(IMAGES, (1, 2)):
        x, weight, dy, bias = data(shape, images, dtype)
        wanted = exact(shape, x, weight, dy, bias)
        found = {}
        with threads(count):
            if ways.can(way, "forward", shape, images, dtype):
                found["forward"] = ways.forward(way, shape, x, weight, bias)
            if ways.can(way, "input", shape, images, dtype):
                found["input"] = ways.input_gradient(way, shape, x, weight, dy)
            if ways.can(way, "weight", shape, images, dtype):
                found["weight"] = ways.weight_gradient(way, shape, x, weight, dy)
        for which, made in found.items():
            assert made.shape == wanted[which].shape
            assert made.dtype is dtype
            within = 1e-5 if dtype is torch.float32 else 3e-2
            assert error(made, wanted[which]) < within, (which, images, count)


def test_the_loops_take_every_shape_that_they_say_they_take() -> None:
    taken = {
        (way, which)
        for shape in SHAPES
        for way in ("rows", "pixels")
        for which in ways.PASSES
        if ways.can(way, which, shape, 4, torch.float32)  # type: ignore[arg-type]
    }
    assert taken == set(product(("rows", "pixels"), ways.PASSES))


def test_a_frame_of_one_shape_is_not_used_for_another() -> None:
    # Both have frames of the same size, with zeros in other places.
    first = Shape(16, 16, 4, 4, (3, 3), (1, 1), (1, 1))
    second = Shape(64, 16, 1, 1, (3, 3), (1, 1), (1, 1))
    assert first.frame == second.frame
    for shape in (first, second, first):
        x, weight, dy, bias = data(shape, 2, torch.float32)
        made = ways.forward("rows", shape, x, weight, bias)
        assert error(made, exact(shape, x, weight, dy, bias)["forward"]) < 1e-5


def test_the_same_bits_every_time() -> None:
    for shape in SHAPES:
        x, weight, dy, bias = data(shape, 17, torch.float32)
        chosen = choose(shape, 17, torch.float32)

        def made(shape: Shape = shape, chosen: ways.Ways = chosen) -> list[torch.Tensor]:
            return [
                ways.forward(chosen.forward, shape, x, weight, bias),  # noqa: B023
                ways.input_gradient(chosen.input, shape, x, weight, dy),  # noqa: B023
                ways.weight_gradient(chosen.weight, shape, x, weight, dy),  # noqa: B023
            ]

        for first, second in zip(made(), made(), strict=True):
            assert torch.equal(first, second)


def test_nan_and_infinity_stay_in_their_images() -> None:
    shape = Shape(16, 16, 5, 5, (3, 3), (1, 1), (1, 1))
    x, weight, _, _ = data(shape, 9, torch.float32)
    x[3, 2, 1, 1], x[5, 0, 0, 0] = float("nan"), float("inf")
    for way in ("rows", "pixels"):
        made = ways.forward(way, shape, x, weight, None)  # type: ignore[arg-type]
        wanted = F.conv2d(x, weight, None, shape.stride, shape.padding)
        assert torch.equal(made.isfinite().all(dim=1), wanted.isfinite().all(dim=1))


def test_loops_need_their_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "is_there", lambda: False)
    for shape in SHAPES:
        assert not ways.can("rows", "forward", shape, 4, torch.float32)
        assert not ways.can("pixels", "weight", shape, 4, torch.float32)

"""bfloat16 maps on the compiled loops: float32 inside, one rounding of what comes out, as torch's."""

from __future__ import annotations

import ctypes
import math
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.data import splits
from normlab.norms import BatchNorm, kernels, make
from normlab.norms.kernels import cpu
from normlab.recipe import Recipe
from normlab.train.loop import Trainer

KINDS: list[tuple[str, dict[str, object]]] = [
    ("batch", {}), ("ghost_batch", {"splits": 3}), ("instance", {}), ("batch_instance", {}),
    ("group", {"groups": 3}), ("layer", {}), ("rms", {}), ("switchable", {}), ("batch_renorm", {}),
]  # fmt: skip
# Enough for a team; blocks of 4 and of a few values; columns of single channels.
SHAPES = [(7, 12, 23, 29), (7, 12, 1, 1), (7, 12, 3, 3), (30, 12, 5, 5)]
REFUSES = {"instance", "batch_instance", "switchable"}  # single pixels
CASES = [
    (kind, options, shape)
    for kind, options in KINDS
    for shape in SHAPES
    if not (kind in REFUSES and shape[2] == 1)
]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
EPS = torch.finfo(torch.bfloat16).eps


def maps(*shape: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(shape, generator=source) + 1).bfloat16()


def is_rounded_once(found: Tensor, exact: Tensor) -> bool:
    """Half a unit in the last place, and what float32 leaves."""
    assert found.dtype is torch.bfloat16
    allowed = 0.51 * EPS * exact.abs() + 1e-5
    return bool(((found.double() - exact).abs() <= allowed).all())


def drawn(layer: nn.Module) -> nn.Module:
    """The layer with parameters of some size, the same at every call."""
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.2 + 0.6 * torch.rand(parameter.shape, generator=source))
    return layer


@pytest.mark.parametrize("layout", LAYOUTS, ids=["nchw", "nhwc"])
@pytest.mark.parametrize(("kind", "options", "shape"), CASES, ids=str)
def test_output_and_gradients_are_those_of_float64_rounded_once(
    kind: str, options: dict[str, object], shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    layer, exact = (drawn(make(kind, 12, activation="relu", **options)) for _ in range(2))
    exact = exact.double()
    dy = maps(*shape, seed=1).contiguous(memory_format=layout)
    for training in (True, False):
        x = maps(*shape).contiguous(memory_format=layout).requires_grad_()
        wide = x.detach().double().requires_grad_()
        y, z = layer.train(training)(x), exact.train(training)(wide)
        assert "Pooled" in type(y.grad_fn).__name__ or "Affine" in type(y.grad_fn).__name__
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            y, [x, *layer.parameters()], dy, allow_unused=True
        )
        wanted: tuple[Tensor | None, ...] = torch.autograd.grad(
            z, [wide, *exact.parameters()], dy.double(), allow_unused=True
        )
        assert is_rounded_once(y, z)
        assert found[0] is not None
        assert wanted[0] is not None
        assert is_rounded_once(found[0], wanted[0])
        assert y.is_contiguous(memory_format=layout)
        assert found[0].is_contiguous(memory_format=layout)
        for ours, theirs in zip(found[1:], wanted[1:], strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                assert ours.dtype is torch.float32
                # Sums may cancel: of what was summed up.
                allowed = 1e-5 + 1e-7 * float(dy.double().abs().sum()) / 12
                torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=allowed)
        for name, buffer in layer.named_buffers():
            expected = exact.get_buffer(name)
            assert buffer.dtype is (torch.float32 if expected.is_floating_point() else torch.int64)
            torch.testing.assert_close(buffer, expected.to(buffer.dtype), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["nchw", "nhwc"])
@pytest.mark.parametrize("kind", ["batch", "layer", "batch_instance", "rms"])
def test_threads_agree(kind: str, layout: torch.memory_format) -> None:
    x, dy = (maps(7, 12, 23, 29, seed=s).contiguous(memory_format=layout) for s in range(2))
    assert x.numel() >= cpu._SHARED_FROM
    found, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            layer, given = make(kind, 12, activation="relu"), x.clone().requires_grad_()
            y = layer(given)
            found.append([y, *torch.autograd.grad(y, [given, *layer.parameters()], dy)])
        finally:
            torch.set_num_threads(before)
    for one, three in zip(*found, strict=True):
        torch.testing.assert_close(one, three)


def test_numbers_are_widened_and_rounded_as_torch_does() -> None:
    from numba import types

    from normlab.norms.kernels.loops.bfloat16 import bfloat16

    numba: Any = import_module("numba")
    carray = numba.carray
    address: Any = types.CPointer

    def work(narrow: Any, wide: Any, count: int) -> None:
        x, y = carray(narrow, 2 * count), carray(wide, 2 * count)
        for i in range(count):
            y[count + i] = x[i]
            x[count + i] = y[i]

    signature = types.void(address(bfloat16), address(types.float32), types.intp)
    compiled = numba.cfunc(signature)(work)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(compiled.address)
    every = torch.arange(1 << 16, dtype=torch.int32)
    narrow = torch.stack([every.to(torch.int16).view(torch.bfloat16)] * 2)
    # Of every upper half: ties and what lies beside them.
    for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        given = ((every << 16) | low).view(torch.float32)
        wide = torch.stack([given, torch.zeros_like(given)])
        run(narrow.data_ptr(), wide.data_ptr(), 1 << 16)
        widened, rounded = wide[1], narrow[1]
        expected = narrow[0].float()
        assert torch.equal(widened.view(torch.int32), expected.view(torch.int32))
        is_nan = given.isnan()
        assert rounded[is_nan].isnan().all()
        assert torch.equal(
            rounded[~is_nan].view(torch.int16), given.bfloat16()[~is_nan].view(torch.int16)
        )


@pytest.mark.parametrize("kind", ["batch", "layer"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=["nchw", "nhwc"])
def test_nan_and_infinity_stay_what_they_are(kind: str, layout: torch.memory_format) -> None:
    x = maps(4, 12, 5, 5).contiguous(memory_format=layout)
    x[0, 3, 2, 2], x[1, 5, 0, 0] = math.nan, math.inf
    for training in (True, False):
        y = make(kind, 12).train(training)(x)
        z = make(kind, 12).double().train(training)(x.double())
        assert torch.equal(y.isnan(), z.isnan())
        assert torch.equal(y.isinf(), z.isinf())


def test_mixed_dtypes_are_torch_s() -> None:
    x = maps(4, 6, 5, 5)
    ours, torchs = BatchNorm(6), nn.BatchNorm2d(6)
    for layer in (ours, torchs):
        given = x.clone().requires_grad_()
        y = layer(given)
        gradients = torch.autograd.grad(y.float().sum(), [given, *layer.parameters()])
        assert [y.dtype, *(g.dtype for g in gradients)] == [
            torch.bfloat16, torch.bfloat16, torch.float32, torch.float32,
        ]  # fmt: skip
        assert layer.get_buffer("running_var").dtype is torch.float32
    torch.testing.assert_close(ours(x), torchs(x), rtol=2 * EPS, atol=1e-2)


@pytest.mark.parametrize("kind", ["batch", "group", "batch_instance"])
def test_a_layer_that_is_bfloat16_itself_gets_gradients_in_it(kind: str) -> None:
    options = {"groups": 2} if kind == "group" else {}
    layer, x = make(kind, 6, **options).bfloat16(), maps(4, 6, 5, 5).requires_grad_()
    exact = make(kind, 6, **options).double()
    wide = x.detach().double().requires_grad_()
    y, z = layer(x), exact(wide)
    assert "Pooled" in type(y.grad_fn).__name__
    dy = maps(4, 6, 5, 5, seed=1)
    found = torch.autograd.grad(y, [x, *layer.parameters()], dy)
    wanted = torch.autograd.grad(z, [wide, *exact.parameters()], dy.double())
    assert is_rounded_once(y, z)
    assert all(map(is_rounded_once, found, wanted))
    for name, buffer in layer.named_buffers():
        torch.testing.assert_close(
            buffer.double(), exact.get_buffer(name).double(), rtol=EPS, atol=EPS
        )


def test_under_autocast_a_convolution_s_map_is_read_as_it_is() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), make("batch", 8, activation="relu"))
    with torch.autocast("cpu", torch.bfloat16):
        y = net(torch.randn(4, 3, 8, 8))
    assert y.dtype is torch.bfloat16
    assert "Pooled" in type(y.grad_fn).__name__
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in net.parameters())


def test_nothing_but_the_input_is_kept_for_backward() -> None:
    x, kept = maps(16, 16, 24, 24).requires_grad_(), 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        make("batch", 16, activation="relu")(x)
    assert x.nbytes <= kept <= 1.05 * x.nbytes


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float64", torch.float64)],
)
def test_a_trial_compiles_for_the_maps_that_it_will_have(
    precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    monkeypatch.setattr(kernels, "prepare", lambda x: seen.append(x.dtype))
    values = {"data": "digits", "model": "digits-small", "norm": "batch", "precision": precision}
    recipe = Recipe.parse(values)
    Trainer(recipe, 0, splits(recipe), torch.device("cpu"), probes=False)
    assert seen == [dtype]

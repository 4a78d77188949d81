"""The layer is `torch.nn.Conv2d` to everyone else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils import parametrizations

from normlab.convolutions import Conv2d, convolve
from normlab.models import swap_norm
from normlab.norms.scaled_ws import ScaledWSConv2d

LAST = torch.channels_last


def pair(
    *args: int, dtype: torch.dtype = torch.float32, **options: object
) -> tuple[Conv2d, nn.Conv2d]:
    """Our layer, channels-last, and torch's, contiguous, with the same weights."""
    ours, theirs = Conv2d(*args, **options), nn.Conv2d(*args, **options)  # type: ignore[arg-type]
    theirs.load_state_dict(ours.state_dict())
    return ours.to(dtype).to(memory_format=LAST), theirs.to(dtype)


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=source).to(dtype).contiguous(memory_format=LAST)


def is_ours(y: Tensor) -> bool:
    return y.grad_fn is not None and y.grad_fn.name() == "_ConvolutionBackward"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"stride": 2, "padding": 1, "bias": False},
        {"padding": "same"},
        {"groups": 8},
        {"dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_results_and_gradients_are_torchs(options: dict[str, object]) -> None:
    ours, theirs = pair(8, 16, 3, **options)
    x = maps(4, 8, 7, 7)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = ours(a), theirs(b)
    torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-5)
    dy = torch.randn_like(z)
    y.backward(dy)
    z.backward(dy)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)
    for name, parameter in ours.named_parameters():
        wanted = theirs.get_parameter(name).grad
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-4)


def test_channels_last_maps_stay_so_and_take_our_ways() -> None:
    ours, _ = pair(8, 16, 3)
    y = ours(maps(4, 8, 7, 7))
    assert is_ours(y)
    assert y.is_contiguous(memory_format=LAST)
    y.sum().backward()
    assert ours.weight.grad is not None
    assert ours.weight.grad.stride() == ours.weight.stride()


def test_a_contiguous_map_is_torchs_and_stays_contiguous() -> None:
    ours, _ = pair(8, 16, 3)
    y = ours.to(memory_format=torch.contiguous_format)(maps(4, 8, 7, 7).contiguous())
    assert not is_ours(y)
    assert y.is_contiguous()


@pytest.mark.parametrize(
    ("shape", "weights"),
    [((4, 9, 7, 7), (16, 8, 3, 3)), ((4, 8, 2, 2), (16, 8, 3, 3)), ((8, 7), (16, 8, 3, 3))],
)
def test_errors_are_torchs(shape: tuple[int, ...], weights: tuple[int, ...]) -> None:
    x, weight = torch.randn(shape), torch.randn(weights)
    with pytest.raises(RuntimeError) as theirs:
        nn.functional.conv2d(x, weight)
    with pytest.raises(RuntimeError) as ours:
        convolve(x, weight)
    assert str(ours.value) == str(theirs.value)


def test_an_image_alone_and_an_empty_batch() -> None:
    ours, theirs = pair(8, 16, 3)
    x = maps(1, 8, 7, 7)[0]
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert ours(maps(0, 8, 7, 7)).shape == (0, 16, 5, 5)


def test_derivatives_of_derivatives() -> None:
    ours, theirs = pair(8, 8, 3, padding=1)
    x = maps(2, 8, 4, 4)

    def second(layer: nn.Conv2d) -> list[Tensor]:
        given = x.clone().requires_grad_()
        (dx,) = torch.autograd.grad(layer(given).pow(3).sum(), given, create_graph=True)
        return list(torch.autograd.grad(dx.square().sum(), [given, *layer.parameters()]))

    for made, wanted in zip(second(ours), second(theirs), strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-3, atol=1e-2)


def test_float64_is_torchs_and_passes_gradcheck() -> None:
    ours, _ = pair(2, 3, 3, dtype=torch.float64)
    x = maps(2, 2, 5, 5, dtype=torch.float64).requires_grad_()
    given = (x, ours.weight, ours.bias)
    assert gradcheck(convolve, given)
    assert gradgradcheck(convolve, given)


def test_autocast_makes_bfloat16_of_it_with_float32_gradients() -> None:
    ours, theirs = pair(16, 16, 1)
    x = maps(32, 16, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y, z = ours(x), theirs(x)
    assert y.dtype is z.dtype is torch.bfloat16
    torch.testing.assert_close(y, z, rtol=2e-2, atol=2e-2)
    y.sum().backward()
    assert ours.weight.grad is not None
    assert ours.weight.grad.dtype is torch.float32


def test_autocast_leaves_float64_alone() -> None:
    ours, theirs = pair(16, 16, 1, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        for layer in (ours, theirs):
            assert layer(maps(2, 16, 4, 4, dtype=torch.float64)).dtype is torch.float64


def compiled(layer: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = torch.compile(layer, backend="eager", fullgraph=True)(x)
    return made


def exported(layer: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = torch.export.export(layer, (x,)).module()(x)
    return made


def traced(layer: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = torch.fx.symbolic_trace(layer)(x)
    return made


def batched(layer: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = torch.func.vmap(layer)(x[:, None])
    return made[:, 0]


def tangent(layer: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = torch.func.jvp(layer, (x,), (torch.ones_like(x),))[0]
    return made


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("way", [compiled, exported, traced, batched, tangent])
def test_who_looks_at_operations_sees_torchs(way: Callable[[nn.Module, Tensor], Tensor]) -> None:
    ours, theirs = pair(8, 16, 3)
    x = maps(3, 8, 6, 6)
    torch.testing.assert_close(way(ours, x), theirs(x), rtol=1e-5, atol=1e-5)


def test_it_copies_pickles_and_loads_as_torchs_layer() -> None:
    ours, theirs = pair(8, 16, 3)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert torch.equal(copy.deepcopy(ours).weight, ours.weight)
    assert ours.to("meta")(maps(2, 8, 5, 5).to("meta")).shape == (2, 16, 3, 3)


def test_weights_may_come_from_anywhere() -> None:
    torch.manual_seed(0)
    ours, theirs = pair(8, 16, 3)
    parametrizations.weight_norm(ours)
    parametrizations.weight_norm(theirs)
    x = maps(3, 8, 6, 6)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert is_ours(ours(x))


def test_a_hook_may_change_a_gradient() -> None:
    ours, theirs = pair(8, 16, 3)
    x = maps(3, 8, 6, 6)
    for layer in (ours, theirs):
        y = layer(x)
        y.register_hook(lambda dy: (dy * 2).contiguous())
        y.square().sum().backward()
    assert ours.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-3)


def test_weight_standardization_takes_our_ways() -> None:
    layer = ScaledWSConv2d(8, 16, 3).to(memory_format=LAST)
    assert isinstance(layer, Conv2d)
    assert is_ours(layer(maps(2, 8, 6, 6)))


def test_surgery_leaves_it_in_place() -> None:
    net = nn.Sequential(Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    swap_norm(net, "group", groups=2)
    assert type(net[0]) is Conv2d
    assert not isinstance(net[1], nn.BatchNorm2d)

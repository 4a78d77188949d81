"""Layers in float16 and bfloat16: statistics in float32, one rounding of what comes out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from normlab.norms import make

KINDS = ["torch_batch", "batch"]
HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_half_layer_in_eval_is_as_exact_as_torch_s(kind: str, dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    layer, torchs = make(kind, 8), nn.BatchNorm2d(8)
    for _ in range(3):
        layer(torch.randn(8, 8, 6, 6, generator=source) * 2 + 3)
    torchs.load_state_dict(layer.state_dict())
    x = (torch.randn(64, 8, 6, 6, generator=source) * 2 + 3).to(dtype)

    def error(made: nn.Module) -> float:
        made.eval().to(dtype)
        exact = copy.deepcopy(made).double()(x.double())
        return float((made(x).double() - exact).detach().abs().max())

    assert error(layer) <= 1.5 * error(torchs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_eps_counts_in_half(kind: str) -> None:
    layer = make(kind, 8, eps=1e-8).eval().half()
    layer.get_buffer("running_var").zero_()
    y = layer(torch.full((2, 8, 4, 4), 0.001).half())
    # 0.001 / sqrt(1e-8) = 10
    torch.testing.assert_close(y.float(), torch.full((2, 8, 4, 4), 10.0), rtol=1e-2, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_beyond_half_are_no_nan(kind: str) -> None:
    layer, source = make(kind, 8).half(), torch.Generator().manual_seed(0)
    for _ in range(200):  # a variance of 90,000, where float16 ends at 65,504
        layer(torch.randn(16, 8, 8, 8, generator=source).half() * 300)
    assert not layer.get_buffer("running_var").isnan().any()
    assert layer.eval()(torch.ones(1, 8, 2, 2).half()).isfinite().all()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("batch", {}), ("instance", {}), ("layer", {}), ("group", {"groups": 4}), ("switchable", {})],
)
def test_a_gradient_that_cancels_is_rounded_once(
    kind: str, options: dict[str, int], dtype: torch.dtype
) -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(8, 8, 5, 5, generator=source).to(dtype)
    # Ones, by which dx is zero, and a little more.
    dy = (1 + 0.1 * torch.randn(x.shape, generator=source)).to(dtype)

    def dx(maps: Tensor) -> Tensor:
        layer, maps = make(kind, 8, **options), maps.clone().requires_grad_()
        layer = layer.double() if maps.dtype is torch.float64 else layer
        (found,) = torch.autograd.grad(layer(maps), maps, dy.to(maps.dtype))
        return found.double()

    exact = dx(x.double())
    # Relative to each value: half a unit in the last place, and what float32 sums leave.
    allowed = 0.51 * torch.finfo(dtype).eps * exact.abs() + 2e-6
    assert ((dx(x) - exact).abs() <= allowed).all()

"""The kinds of plain torch operations: what the conformance kit does not ask of them."""

import math

import pytest
import torch
from torch import Tensor, nn

from normlab.norms import NORMS, make

OPTIONS = {
    "ghost_batch": {"splits": 2},
    "group": {"groups": 2},
    "evonorm_s0": {"groups": 2},
    "torch_group": {"groups": 2},
}


@pytest.mark.parametrize("kind", NORMS)
def test_a_channels_last_map_stays_one(kind: str) -> None:
    x = torch.randn(4, 8, 5, 5).contiguous(memory_format=torch.channels_last)
    y = make(kind, 8, **OPTIONS.get(kind, {}))(x)
    assert y.is_contiguous(memory_format=torch.channels_last)


def s0(x: Tensor) -> Tensor:
    grouped = x.reshape(len(x), 2, -1)
    mean = grouped.mean(2, keepdim=True)
    std = ((grouped - mean) ** 2).mean(2, keepdim=True).add(1e-5).sqrt()
    return ((x * torch.sigmoid(x)).reshape(grouped.shape) / std).reshape(x.shape)


def b0(x: Tensor) -> Tensor:
    def std(dims: tuple[int, ...]) -> Tensor:
        mean = x.mean(dims, keepdim=True)
        return ((x - mean) ** 2).mean(dims, keepdim=True).add(1e-5).sqrt()

    return x / torch.maximum(std((0, 2, 3)), x + std((2, 3)))


@pytest.mark.parametrize(("mean", "deviation"), [(10, 1), (100, 1), (1e3, 1), (1, 1e-5)])
@pytest.mark.parametrize(("kind", "formula"), [("evonorm_s0", s0), ("evonorm_b0", b0)])
def test_evonorm_s_gradient_far_from_0_is_as_exact_as_the_plain_formula_s(
    kind: str, formula: object, mean: float, deviation: float
) -> None:
    source = torch.Generator().manual_seed(0)
    drawn = torch.randn(16, 8, 14, 14, dtype=torch.float64, generator=source)
    x, dy = (drawn * deviation + mean).float(), torch.randn(drawn.shape, generator=source)

    def dx(function: object, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        y = function(x)  # type: ignore[operator]
        return torch.autograd.grad((y * dy.to(y.dtype)).sum(), x)[0].double()

    exact = dx(formula, x.double())

    def error(found: Tensor) -> float:
        return float((found - exact).abs().max() / exact.abs().max())

    ours = error(dx(make(kind, 8, **OPTIONS.get(kind, {})), x))
    assert ours <= max(1.5 * error(dx(formula, x)), 5e-7)


def test_filter_response_s_learned_eps_is_added_to_the_fixed_one() -> None:
    """y = 3 / sqrt(9 + 1 + |-6|) = 0.75 on a 1x1 map."""
    layer = make("filter_response", 1, learned_eps=True, eps=1.0)
    assert layer.learned_eps.item() == pytest.approx(1e-4)
    nn.init.constant_(layer.learned_eps, -6.0)
    assert layer(torch.full((1, 1, 1, 1), 3.0)).item() == pytest.approx(3 / math.sqrt(16))


def test_evonorm_b0_is_not_turned_into_synchronized_batch_norm() -> None:
    with pytest.raises((AttributeError, TypeError), match="EvoNormB0"):
        nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(make("evonorm_b0", 4)))


def test_torch_group_s_groups_are_those_it_uses() -> None:
    layer = make("torch_group", 8, groups=2)
    layer.groups = 8
    x = torch.randn(2, 8, 3, 3)
    assert torch.equal(layer(x), nn.functional.group_norm(x, 8, layer.weight, layer.bias))
    with pytest.raises(ValueError, match="groups is 3"):
        layer.groups = 3

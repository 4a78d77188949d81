"""AGC against the definition written out by loops, and clipping by norm against torch's."""

import math

import pytest
import torch
from torch import Tensor, nn

from normlab.models import build, select
from normlab.recipe import Recipe
from normlab.regularizers import clip_adaptively, clip_by_norm
from normlab.train.optimizer import Updater

BASE = {"data": "digits", "model": "digits-small", "lr": 0.1, "momentum": 0.0, "epochs": 1}


def norm(values: Tensor) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in values.flatten()))


def by_the_definition(weight: Tensor, gradient: Tensor, clip: float, eps: float) -> Tensor:
    """Brock et al. 2021, unit by unit, in Python's floats."""
    units = range(len(weight)) if weight.ndim > 1 else [slice(None)]
    out = gradient.clone().double()
    for unit in units:
        largest, size = clip * max(norm(weight[unit]), eps), norm(gradient[unit])
        if size > largest:
            out[unit] = gradient[unit].double() * largest / max(size, 1e-6)
    return out


def parameter(*shape: int, seed: int, size: float = 1.0, slope: float = 1.0) -> nn.Parameter:
    source = torch.Generator().manual_seed(seed)
    made = nn.Parameter(size * torch.randn(*shape, generator=source))
    made.grad = slope * torch.randn(*shape, generator=source)
    return made


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (5, 7), (8,), (3, 1, 1, 1), (1, 2, 3, 3)])
@pytest.mark.parametrize(("size", "slope"), [(1.0, 1.0), (0.0, 1.0), (1e-5, 3.0), (1.0, 1e-9)])
def test_agc_agrees_with_the_definition(shape: tuple[int, ...], size: float, slope: float) -> None:
    weight = parameter(*shape, seed=1, size=size, slope=slope)
    assert weight.grad is not None
    expected = by_the_definition(weight.detach(), weight.grad, 0.02, 1e-3)
    clip_adaptively([weight], 0.02)
    assert torch.allclose(weight.grad.double(), expected, rtol=1e-6, atol=1e-12)


def test_the_ratio_is_at_most_clip_after() -> None:
    weight = parameter(16, 8, 3, 3, seed=2)
    clip_adaptively([weight], 0.01)
    assert weight.grad is not None
    ratio = weight.grad.flatten(1).norm(dim=1) / weight.detach().flatten(1).norm(dim=1)
    assert float(ratio.max()) <= 0.01 * (1 + 1e-5)


def test_the_share_of_clipped_units_is_returned() -> None:
    weight = nn.Parameter(torch.ones(4, 1))  # norms 1: gradients above 0.1 are clipped
    weight.grad = torch.tensor([[0.05], [0.2], [0.3], [0.01]])
    bias = nn.Parameter(torch.zeros(1))  # one more unit, far below 0.1 * eps
    bias.grad = torch.zeros(1)
    assert float(clip_adaptively([weight, bias], 0.1)) == pytest.approx(2 / 5)


def test_an_infinite_clip_is_the_identity() -> None:
    weight = parameter(4, 3, seed=3)
    assert weight.grad is not None
    before = weight.grad.clone()
    assert float(clip_adaptively([weight], math.inf)) == 0
    assert torch.equal(weight.grad, before)


def test_a_weight_without_gradient_is_left_out() -> None:
    assert float(clip_adaptively([nn.Parameter(torch.ones(2))], 0.1)) == 0
    assert float(clip_by_norm([nn.Parameter(torch.ones(2))], 0.1)) == 0


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping_by_norm_is_torch_s(limit: float) -> None:
    ours = [parameter(4, 3, seed=4), parameter(7, seed=5)]
    theirs = [parameter(4, 3, seed=4), parameter(7, seed=5)]
    found = clip_by_norm(ours, limit)
    assert float(found) == pytest.approx(float(nn.utils.clip_grad_norm_(theirs, limit)))
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-5)


def updated(values: dict[str, object], net: nn.Module) -> None:
    for index, p in enumerate(net.parameters()):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(index))
    Updater(Recipe.parse({**BASE, **values}), net, 1).step(0)


def test_parameters_that_start_at_zero_move_under_agc() -> None:
    net = build(Recipe.parse({**BASE, "norm": "batch"}), (1, 8, 8), 10).model
    biases = select(net, ["norm_bias"])
    assert all(not bool(bias.detach().any()) for bias in biases)
    updated({"agc": 0.02}, net)
    for bias in biases:
        # lr * clip * eps: the floor stands in for the norm of the weights
        assert norm(bias.detach()) == pytest.approx(0.1 * 0.02 * 1e-3, rel=1e-4)


@pytest.mark.parametrize("model", ["digits-small", "mnist-7288"])
@pytest.mark.parametrize("reorder", [False, True])
def test_the_head_is_left_out_by_role(model: str, reorder: bool) -> None:
    # mnist-7288's head is a convolution without a bias; re-ordered, the head is defined first.
    values = {**BASE, "model": model, "agc": 1e-4}
    net = build(Recipe.parse(values), (1, 28, 28), 10).model
    if reorder:
        layers = net.get_submodule("layers")._modules
        net.get_submodule("layers")._modules = {"head": layers.pop("head"), **layers}
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    updated({"model": model, "agc": 1e-4}, net)
    for index, (name, p) in enumerate(net.named_parameters()):
        gradient = torch.randn(p.shape, generator=torch.Generator().manual_seed(index))
        moved = before[name] - p.detach()
        clipped = not torch.allclose(moved, 0.1 * gradient, rtol=1e-3, atol=1e-6)
        assert clipped == ("head" not in name), name


def test_agc_acts_on_the_whole_gradient_before_momentum_and_decay() -> None:
    values = {"agc": 0.01, "l2": 10.0, "weight_decay": 0.5, "momentum": 0.9}
    net = build(Recipe.parse({**BASE, **values}), (1, 8, 8), 10).model
    (weight, *_) = select(net, ["weight"])
    start = weight.detach().clone()
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    updated(values, net)
    clipped = by_the_definition(start, gradient + 10.0 * start, 0.01, 1e-3)
    expected = start.double() * (1 - 0.1 * 0.5) - 0.1 * clipped
    assert torch.allclose(weight.detach().double(), expected, rtol=1e-5, atol=1e-7)

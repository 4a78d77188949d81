"""The output units of a weight, by its module's type: AGC against the definition in loops."""

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from normlab.errors import UserError
from normlab.models import roles, units
from normlab.norms.scaled_ws import ScaledWSConv2d
from normlab.recipe import Recipe
from normlab.regularizers import clip_adaptively
from normlab.train.liveness import UpdateWatcher
from normlab.train.optimizer import Updater

CLIP, EPS = 0.02, 1e-3


def columns(groups: int) -> Callable[[Tensor], list[Tensor]]:
    """The units of a transposed convolution: per group, one output's weights at all its inputs."""

    def of(weight: Tensor) -> list[Tensor]:
        size = len(weight) // groups
        return [
            weight[group * size : (group + 1) * size, output]
            for group in range(groups)
            for output in range(weight.shape[1])
        ]

    return of


def rows(weight: Tensor) -> list[Tensor]:
    return list(weight)


def whole(weight: Tensor) -> list[Tensor]:
    return [weight]


LAYERS: dict[str, tuple[nn.Module, Callable[[Tensor], list[Tensor]], int]] = {
    "linear": (nn.Linear(5, 7), rows, 7),
    "bilinear": (nn.Bilinear(3, 4, 6), rows, 6),
    "embedding": (nn.Embedding(9, 4), rows, 9),
    "conv1d": (nn.Conv1d(4, 6, 3), rows, 6),
    "conv2d": (nn.Conv2d(4, 6, 3), rows, 6),
    "conv2d, groups": (nn.Conv2d(4, 6, 3, groups=2), rows, 6),
    "conv3d": (nn.Conv3d(2, 3, 2), rows, 3),
    "scaled_ws": (ScaledWSConv2d(4, 6, 3), rows, 6),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3), columns(1), 6),
    "transposed 2d": (nn.ConvTranspose2d(4, 6, 3), columns(1), 6),
    "transposed 2d, as many in as out": (nn.ConvTranspose2d(4, 4, 3), columns(1), 4),
    "transposed 2d, groups": (nn.ConvTranspose2d(4, 6, (2, 3), groups=2), columns(2), 6),
    "transposed 2d, depthwise": (nn.ConvTranspose2d(4, 4, 3, groups=4), columns(4), 4),
    "transposed 3d": (nn.ConvTranspose3d(4, 2, 2, groups=2), columns(2), 2),
    "a norm over three dimensions": (nn.LayerNorm([3, 4, 4]), whole, 1),
}


def norm(values: Tensor) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in values.flatten()))


def filled(layer: nn.Module) -> nn.Module:
    """Weights and gradients of many sizes, some units below their limit and some above."""
    source = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source)
        size = 10 ** (4 * torch.rand(parameter.shape, generator=source) - 4)
        parameter.grad = size * torch.randn(parameter.shape, generator=source)
    return layer


def clipped(weight: nn.Parameter, split: Callable[[Tensor], list[Tensor]]) -> tuple[Tensor, int]:
    """The gradient by Brock et al.'s definition, unit by unit, and how many were clipped."""
    assert weight.grad is not None
    gradient, count = weight.grad.clone().double(), 0
    for unit, slope in zip(split(weight.detach()), split(gradient), strict=True):
        largest, size = CLIP * max(norm(unit), EPS), norm(slope)
        if size > largest:
            slope.mul_(largest / size)
            count += 1
    return gradient, count


@pytest.mark.parametrize("kind", LAYERS)
def test_each_output_unit_is_clipped_by_itself(kind: str) -> None:
    layer, split, outputs = LAYERS[kind]
    weight = filled(layer).get_parameter("weight")
    if split is not whole:  # limits that units of one layer do not share
        for k, unit in enumerate(split(weight.grad)):  # type: ignore[arg-type]
            unit.mul_(10.0 ** (-3 * (k % 2)))
    expected, count = clipped(weight, split)
    (found,) = units(layer, ["weight"] if split is not whole else ["norm_gain"])
    share = clip_adaptively(found.rows(), CLIP, EPS)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad.double(), expected, rtol=1e-5, atol=1e-12)
    assert float(share) == pytest.approx(count / outputs)


@pytest.mark.parametrize("kind", LAYERS)
def test_biases_gains_and_gates_are_one_vector_each(kind: str) -> None:
    layer = filled(LAYERS[kind][0])
    for unit in units(layer, ["bias", "norm_bias", "norm_gain"]):
        expected, _ = clipped(unit.parameter, whole)
        clip_adaptively(unit.rows(), CLIP, EPS)
        assert unit.parameter.grad is not None
        torch.testing.assert_close(unit.parameter.grad.double(), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_liveness_agrees_by_its_own_definition(kind: str) -> None:
    agc = {"clip": CLIP, "eps": EPS, "roles": "all"}
    recipe = Recipe.parse({"data": "digits", "model": "digits-small", "agc": agc})
    layer = filled(LAYERS[kind][0])
    watcher = UpdateWatcher(recipe, layer, lambda: 0.1)
    Updater(recipe, layer, 1).step(0, watcher.updated)
    (check,) = watcher.conclude()
    assert check.live, check.found


@pytest.mark.parametrize("kind", ["transposed 2d", "transposed 2d, groups"])
def test_liveness_finds_a_transposed_weight_clipped_by_rows(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["normlab.models.units"], "_ConvTransposeNd", nn.LazyLinear)
    recipe = Recipe.parse(
        {"data": "digits", "model": "digits-small", "agc": {"clip": CLIP, "roles": "all"}}
    )
    layer = filled(LAYERS[kind][0])
    watcher = UpdateWatcher(recipe, layer, lambda: 0.1)
    Updater(recipe, layer, 1).step(0, watcher.updated)
    (check,) = watcher.conclude()
    assert not check.live
    assert "not as declared on weight" in check.found


def tied(first: nn.Module, second: nn.Module) -> nn.Module:
    second.weight = first.weight
    return nn.Sequential(first, second)


def test_a_weight_shared_by_two_ways_of_units_is_refused() -> None:
    model = tied(nn.Conv2d(4, 6, 3, bias=False), nn.ConvTranspose2d(6, 4, 3, bias=False))
    with pytest.raises(UserError, match=r"'0.weight' .* 0 \(Conv2d\), 1 \(ConvTranspose2d\)"):
        units(model, ["weight"])
    assert units(model, ["bias"]) == []


def test_a_weight_shared_by_one_way_of_units_is_clipped_once() -> None:
    model = tied(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    assert len(units(model, ["weight"])) == 1


def test_parameters_without_a_gradient_have_no_rows() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3)
    assert all(unit.rows() == [] for unit in units(layer, roles(layer).values()))

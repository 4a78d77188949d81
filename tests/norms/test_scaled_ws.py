"""Scaled weight standardization against its formula and its purpose."""

import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from normlab.models import build, roles
from normlab.norms import ACTIVATIONS
from normlab.norms.scaled_ws import GAINS, ScaledActivation, ScaledWSConv2d, standardize
from normlab.recipe import Recipe


def definition(weight: Tensor, gain: Tensor) -> Tensor:
    out = []
    for unit, g in zip(weight, gain, strict=True):
        mean, var, fan_in = unit.mean(), ((unit - unit.mean()) ** 2).mean(), unit.numel()
        out.append(g * (unit - mean) / torch.sqrt(torch.clamp(var * fan_in, min=1e-4)))
    return torch.stack(out)


def without_mean(weight: Tensor, gain: Tensor) -> Tensor:
    return gain.view(-1, 1, 1, 1) * weight / weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def without_gain(weight: Tensor, gain: Tensor) -> Tensor:
    return definition(weight, torch.ones_like(gain))


def hwio(weight: Tensor, gain: Tensor) -> Tensor:
    return definition(weight.transpose(0, 3), gain[:3]).transpose(0, 3)


def conforms(function: object) -> bool:
    weight = torch.randn(3, 4, 3, 3, dtype=torch.float64) + 0.5
    gain = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    return torch.allclose(function(weight, gain), definition(weight, gain), rtol=1e-10)  # type: ignore[operator]


def test_the_weight_is_the_formula_s() -> None:
    assert conforms(standardize)
    assert not any(map(conforms, (without_mean, without_gain, hwio)))


def test_a_constant_filter_stays_finite() -> None:
    assert standardize(torch.ones(2, 3, 3, 3)).eq(0).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gains_keep_the_variance_of_a_normal_input(name: str) -> None:
    module = ACTIVATIONS[name]()

    def moment(power: int) -> float:
        def integrand(z: float) -> float:
            return float(module(torch.tensor(z, dtype=torch.float64))) ** power * stats.norm.pdf(z)

        return sum(integrate.quad(integrand, *part)[0] for part in ((-10, 0), (0, 10)))

    assert pytest.approx(1 / math.sqrt(moment(2) - moment(1) ** 2), rel=1e-5) == GAINS[name]


def test_the_output_s_variance_follows_the_prediction() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 32, 12, 12)
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [ScaledWSConv2d(32, 32, 3), ScaledActivation("relu")]
    for layer in layers:
        x = layer(x)
        if isinstance(layer, ScaledWSConv2d):
            assert 0.8 < float(x.detach().var(dim=(0, 2, 3)).mean()) < 1.25


def test_a_model_has_scaled_convolutions_in_place_of_norms() -> None:
    values = {"data": "digits", "model": "digits-small", "norm": "scaled_ws"}
    model = build(Recipe.parse(values), (1, 8, 8), 10).model
    assert sum(isinstance(m, ScaledWSConv2d) for m in model.modules()) == 3
    assert sum(isinstance(m, ScaledActivation) for m in model.modules()) == 3
    found = roles(model)
    assert sum(role == "norm_gain" for role in found.values()) == 3
    assert not any(role == "norm_bias" for role in found.values())

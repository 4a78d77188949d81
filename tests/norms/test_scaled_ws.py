"""Scaled weight standardization against its formula and its purpose."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from normlab.errors import UserError
from normlab.models import build, roles
from normlab.norms import ACTIVATIONS
from normlab.norms.conformance import assert_conforms, check
from normlab.norms.conformance.convolutions import defined_weight
from normlab.norms.scaled_ws import GAINS, ScaledActivation, ScaledWSConv2d, standardize
from normlab.recipe import Recipe


def without_mean(weight: Tensor, gain: Tensor) -> Tensor:
    return gain.view(-1, 1, 1, 1) * weight / weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def without_gain(weight: Tensor, gain: Tensor) -> Tensor:
    return defined_weight(weight, torch.ones_like(gain))


def hwio(weight: Tensor, gain: Tensor) -> Tensor:
    return defined_weight(weight.transpose(0, 3), gain[:3]).transpose(0, 3)


def without_fan_in(weight: Tensor, gain: Tensor) -> Tensor:
    return defined_weight(weight, gain) * weight[0].numel() ** 0.5


def frozen_gain(weight: Tensor, gain: Tensor) -> Tensor:
    return defined_weight(weight, gain.detach())


def with_squares(weight: Tensor, gain: Tensor) -> Tensor:
    flat = weight.flatten(1)
    var = flat.square().mean(1) - flat.mean(1).square()
    scale = gain * torch.rsqrt((var * flat.shape[1]).clamp_min(1e-4))
    return (weight - flat.mean(1).view(-1, 1, 1, 1)) * scale.view(-1, 1, 1, 1)


def planted(
    function: Callable[[Tensor, Tensor], Tensor], *, wide: bool = True, checked: bool = True
) -> type[nn.Module]:
    """A layer by this function, in float64 if wide; if checked it refuses what it should."""

    class Planted(ScaledWSConv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight, gain = self.weight, self.gain
            if checked and x.device != weight.device:
                raise RuntimeError("another device")
            if checked and gain.shape != weight.shape[:1]:
                raise ValueError("gain of another size")
            if wide:
                weight, gain = weight.double(), gain.double()
            made = function(weight, gain.expand(len(weight))).to(self.weight.dtype)
            return self._conv_forward(x, made, self.bias)

    return Planted


def test_the_kit_passes_ours_and_a_plain_one() -> None:
    assert_conforms("scaled_ws")
    assert_conforms(planted(defined_weight), against="scaled_ws")


@pytest.mark.parametrize("mistake", [without_mean, without_gain, hwio, without_fan_in, frozen_gain])
def test_every_planted_mistake_is_caught(mistake: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert [f for f in check(planted(mistake), against="scaled_ws") if f.wrong]


@pytest.mark.parametrize(
    ("layer", "caught"),
    [
        (planted(with_squares, wide=False), {"large offset", "half"}),
        (planted(defined_weight, wide=False), {"half"}),
        (planted(defined_weight, checked=False), {"refusals"}),
    ],
    ids=["squares", "own dtype", "nothing refused"],
)
def test_a_mistake_in_use_is_caught_by_its_own_checks(
    layer: type[nn.Module], caught: set[str]
) -> None:
    assert {f.check for f in check(layer, against="scaled_ws") if f.wrong} == caught


def test_it_has_no_options_to_check() -> None:
    with pytest.raises(UserError, match="has no options"):
        list(check("scaled_ws", options={"eps": 1.0}))


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

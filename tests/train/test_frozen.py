"""Parameters with requires_grad False: nothing moves them, and the findings say how many there are."""

import sys
import types

import pytest
import torch
from torch import Tensor, nn

from normlab.data import splits
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.train import EpochDone, Finished, train
from normlab.train.streams import initialize


class Net(nn.Module):
    """A stem, a norm and a head, of which those named in `freeze` are frozen in each forward."""

    def __init__(
        self, in_channels: int, num_classes: int, freeze: str = "", thaw_at: int = 10**9
    ) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, num_classes)
        self.freeze, self.thaw_at = freeze.split(), thaw_at
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            for name in self.freeze:
                self.get_submodule(name).requires_grad_(int(self.steps) >= self.thaw_at)
            self.steps += 1
        return self.fc(self.bn(self.stem(x)).relu().mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _mine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(Net=Net))


def made(model: dict[str, object], **values: object) -> Recipe:
    base = {"data": "digits", "epochs": 1, "lr": 0.1, "batch_size": 256}
    return Recipe.parse({**base, "model": {"kind": "mine:Net", **model}, **values})


def trained(recipe: Recipe) -> Finished:
    *_, end = train(recipe, 0, splits(recipe))
    assert isinstance(end, Finished)
    return end


ALL: list[dict[str, object]] = [
    {"l1": {"strength": 0.01, "roles": "all"}},
    {"l2": {"strength": 0.05, "roles": "all"}},
    {"weight_decay": {"strength": 0.5, "roles": "all"}, "optimizer": "adamw"},
    {"agc": {"clip": 0.01, "roles": "all"}},
    {"clip_grad_norm": 0.01},
    {"diagnostics": ["gradient_norm"]},
]


@pytest.mark.parametrize("values", ALL, ids=str)
def test_frozen_parameters_are_as_they_were_to_the_bit(values: dict[str, object]) -> None:
    start = Net(1, 10)
    initialize(start, 0)
    end = trained(made({"freeze": "stem bn"}, **values))
    assert end.result.state == "complete", end.result.reason
    for name in ("stem.weight", "stem.bias", "bn.weight", "bn.bias"):
        assert torch.equal(end.weights[name], start.state_dict()[name]), name
    assert not torch.equal(end.weights["fc.weight"], start.fc.weight)


def found(name: str, model: dict[str, object], **values: object) -> list[str]:
    return [c.found for c in trained(made(model, **values)).result.checks if c.name == name]


@pytest.mark.parametrize("key", ["l1", "l2", "weight_decay"])
def test_a_penalty_says_how_many_of_each_role_are_frozen(key: str) -> None:
    values: dict[str, object] = {key: {"strength": 0.01, "roles": "all"}}
    if key == "weight_decay":
        values["optimizer"] = "adamw"
    (text,) = found(key, {"freeze": "stem bn"}, **values)
    assert text == (
        "acts on 2 of 6 parameters of these roles; "
        "frozen: 1 of 1 bias, 1 of 1 norm_bias, 1 of 1 norm_gain, 1 of 1 weight"
    )
    (text,) = found(key, {}, **values)
    assert text == "acts on 6 of 6 parameters of these roles"


def test_agc_says_how_many_of_each_role_are_frozen() -> None:
    texts = found("agc", {"freeze": "stem"}, agc=0.01)
    assert texts[0] == (
        "acts on 2 of 4 parameters of these roles; frozen: 1 of 1 bias, 1 of 1 weight"
    )


@pytest.mark.parametrize("key", ["l1", "l2", "agc"])
def test_an_intervention_on_frozen_parameters_alone_is_invalid(key: str) -> None:
    value = {"clip" if key == "agc" else "strength": 0.01, "roles": ["weight", "norm_gain"]}
    result = trained(made({"freeze": "stem bn"}, **{key: value})).result
    assert result.state == "invalid"
    assert "acts on 0 of 2 parameters of these roles; frozen: 1 of 1 norm_gain" in str(
        result.reason
    )


def test_a_frozen_norm_is_no_norm_without_gradient() -> None:
    assert "0 of 2 get a gradient; 2 of 2 frozen" in found("norm", {"freeze": "bn"})


def test_gates_that_are_all_frozen_are_invalid() -> None:
    result = trained(made({"freeze": "bn"}, norm="batch_instance")).result
    assert result.state == "invalid"
    assert "its gates are learned; found 0 of 1 get a gradient; 1 of 1 frozen" in str(result.reason)


def test_a_thawed_parameter_is_trained_from_then_on_and_a_resumed_trial_too() -> None:
    # 5 steps an epoch: the stem thaws amid the second epoch.
    recipe = made({"freeze": "stem", "thaw_at": 7}, epochs=3, l2=0.01, momentum=0.9)
    start = Net(1, 10)
    initialize(start, 0)
    whole = trained(recipe)
    first = next(train(recipe, 0, splits(recipe)))
    assert isinstance(first, EpochDone)
    assert torch.equal(first.checkpoint.model["stem.weight"], start.stem.weight)
    *_, rest = train(recipe, 0, splits(recipe), resume=first.checkpoint)
    assert isinstance(rest, Finished)
    assert rest.result.weights_sha256 == whole.result.weights_sha256
    assert not torch.equal(rest.weights["stem.weight"], start.stem.weight)


class FreezesOnce(Net):
    """Freezes its stem in step 3 and says so nowhere in its state."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and int(self.steps) == 3:
            self.stem.requires_grad_(False)
        return super().forward(x)


def test_a_resumed_trial_knows_what_was_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mine"], "Net", FreezesOnce)
    recipe = made({}, epochs=2)
    *_, whole = train(recipe, 0, splits(recipe))
    first = next(train(recipe, 0, splits(recipe)))
    assert isinstance(first, EpochDone)
    *_, rest = train(recipe, 0, splits(recipe), resume=first.checkpoint)
    assert isinstance(whole, Finished)
    assert isinstance(rest, Finished)
    assert rest.result.weights_sha256 == whole.result.weights_sha256


class ComesFrozen(Net):
    """Its stem and norm are frozen when it is made, before its norm becomes the recipe's."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.stem.requires_grad_(False)
        self.bn.requires_grad_(False)


@pytest.mark.parametrize("name", ["stem", "bn"])
def test_what_comes_frozen_stays_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mine"], "Net", ComesFrozen)
    end, start = trained(made({}, l2=0.05)), ComesFrozen(1, 10)
    initialize(start, 0)
    assert torch.equal(end.weights[f"{name}.weight"], start.get_parameter(f"{name}.weight"))


class AllFrozen(Net):
    """Nothing is left to train."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.requires_grad_(False)
        self.bn = nn.Identity()


def test_a_model_that_is_all_frozen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mine"], "Net", AllFrozen)
    with pytest.raises(UserError, match="all 4 parameters of the model are frozen"):
        trained(made({}, norm="none"))

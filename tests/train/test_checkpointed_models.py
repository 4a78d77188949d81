"""Trials of models that checkpoint their blocks: the same weights as without, or invalid."""

import sys
import types
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normlab.data import splits
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.records import TrialResult
from normlab.regularizers import Dropout, RecomputedMaskError, StochasticDepth
from normlab.train import EpochDone, Finished, train
from normlab.train.streams import random_layers, reseed_dropout

# torch says so of a reentrant checkpoint in evaluation, where nothing wants a gradient.
pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")


class OtherMask(Dropout):
    """A layer of the user's that draws anew when its block is recomputed."""

    def drop(self, x: Tensor) -> Tensor:
        keep = torch.rand(x.shape, generator=SOURCE) >= self.p
        return x * keep / (1 - self.p)


class OtherDepth(StochasticDepth):
    """The same for whole images."""

    def drop(self, x: Tensor) -> Tensor:
        keep = torch.rand(len(x), 1, 1, 1, generator=SOURCE) >= self.p
        return x * keep / (1 - self.p)


SOURCE = torch.Generator()


class Net(nn.Module):
    """A stem, a block with a layer that drops, called `calls` times, and a head."""

    def __init__(
        self, *, in_channels: int, num_classes: int, way: str = "plain", calls: int = 1,
        drop: str = "dropout", last: str = "relu",
    ) -> None:  # fmt: skip
        super().__init__()
        layers = {"dropout": nn.Dropout, "other": OtherMask, "other depth": OtherDepth}
        behind = nn.Sigmoid() if last == "sigmoid" else nn.Identity()
        self.stem = nn.Conv2d(in_channels, 8, 3)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), layers[drop](0.3), behind)
        self.fc = nn.Linear(8, num_classes)
        self.way, self.calls = way, calls

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for _ in range(self.calls):
            x = WAYS[self.way](self.block, x)
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


WAYS = {
    "plain": lambda block, x: block(x),
    "reentrant": partial(checkpoint, use_reentrant=True),
    "not reentrant": partial(checkpoint, use_reentrant=False),
    "to the end": partial(checkpoint, use_reentrant=False, early_stop=False),
    "nested": lambda block, x: checkpoint(
        partial(checkpoint, block, use_reentrant=False), x, use_reentrant=False
    ),
    "unpreserved": partial(checkpoint, use_reentrant=False, preserve_rng_state=False),
}
CHECKPOINTED = [way for way in WAYS if way != "plain"]


@pytest.fixture(autouse=True)
def _mine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(Net=Net))


def recipe(epochs: int = 1, **options: object) -> Recipe:
    values = {"data": "digits", "norm": "none", "epochs": epochs, "batch_size": 256, "lr": 0.1}
    return Recipe.parse({**values, "model": {"kind": "mine:Net", **options}})


def result(*, probes: bool = True, **options: object) -> TrialResult:
    made = recipe(**options)  # type: ignore[arg-type]
    *_, end = train(made, 0, splits(made), probes=probes)
    assert isinstance(end, Finished)
    return end.result


@pytest.mark.parametrize("last", ["none", "sigmoid"])
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("way", [way for way in CHECKPOINTED if way != "unpreserved"])
def test_checkpointing_changes_no_weight(way: str, calls: int, last: str) -> None:
    plain = result(calls=calls, last=last)
    other = result(way=way, calls=calls, last=last)
    assert other.state == plain.state == "complete"
    assert other.weights_sha256 == plain.weights_sha256


def test_one_call_a_step_is_right_without_torch_s_state() -> None:
    assert result(way="unpreserved").weights_sha256 == result().weights_sha256


def test_two_calls_without_torch_s_state_end_the_trial_with_the_way_out() -> None:
    with pytest.raises(RecomputedMaskError, match="preserve_rng_state=True") as caught:
        result(way="unpreserved", calls=2)
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize("last", ["none", "sigmoid"])
@pytest.mark.parametrize("way", CHECKPOINTED)
@pytest.mark.parametrize("drop", ["other", "other depth"])
def test_a_mask_that_is_recomputed_differently_is_invalid(drop: str, way: str, last: str) -> None:
    found = result(way=way, drop=drop, last=last)
    assert found.state == "invalid"
    assert "block.1 has another mask where the backward pass recomputes it" in str(found.reason)


def test_the_finding_says_that_masks_were_recomputed_the_same() -> None:
    (check,) = [c for c in result(way="reentrant").checks if c.name == "dropout"]
    assert check.live
    assert check.found == "the same mask in all 1 layers that are recomputed"
    assert not [c for c in result().checks if c.name == "dropout"]


def test_a_resumed_trial_has_the_masks_of_its_steps() -> None:
    made = recipe(epochs=3, way="not reentrant", calls=2)
    *_, whole = train(made, 0, splits(made))
    first = next(train(made, 0, splits(made)))
    assert isinstance(first, EpochDone)
    *_, rest = train(made, 0, splits(made), resume=first.checkpoint)
    assert isinstance(whole, Finished)
    assert isinstance(rest, Finished)
    assert rest.result.weights_sha256 == whole.result.weights_sha256


def test_a_trial_leaves_torch_s_global_state_alone() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    result(way="not reentrant")
    assert torch.equal(torch.get_rng_state(), before)


def masks(seed: int, step: int, names: tuple[str, ...] = ("a", "b")) -> list[Tensor]:
    net = nn.ModuleDict({name: Dropout(0.5) for name in names})
    reseed_dropout(random_layers(net), seed, step, torch.device("cpu"))
    return [layer(torch.ones(200)) for layer in net.values() for _ in range(2)]


def test_a_mask_hangs_on_seed_step_layer_and_call_alone() -> None:
    torch.manual_seed(1)
    first = masks(0, 7)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, masks(0, 7), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first[2:], masks(0, 7, ("b",)), strict=True))
    every = torch.stack([*first, *masks(0, 8), *masks(1, 7)])
    assert len(every.unique(dim=0)) == len(every)

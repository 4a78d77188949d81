"""Clocks around layers, on a clock that ticks once each time it is read."""

from collections.abc import Iterator
from itertools import count

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from normlab.norms import BatchNorm
from normlab.regularizers import Dropout
from normlab.train.profiling.layers import Cost, Key, LayerClock, layers_of


class Own(nn.Module):
    """A model of a user's: with an operation in place, a sum, and work that no layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = BatchNorm(4, activation="relu")
        self.plain = nn.ReLU(inplace=True)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Identity(), nn.Dropout(0.0))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        y = self.plain(y + 1) + self.inner(y)
        return self.head(F.relu(y).mean(dim=(2, 3)))


@pytest.fixture
def ticking() -> Iterator[LayerClock]:
    ticks = count()
    clock = LayerClock(Own(), lambda: float(next(ticks)))
    yield clock
    clock.close()


def step(model: nn.Module, clock: LayerClock) -> dict[Key, Cost]:
    clock.on = True
    y = model(torch.randn(2, 1, 5, 5))
    clock.on = False
    y.sum().backward()
    return dict(clock.end_step())


def test_every_layer_has_a_kind_and_a_norm_keeps_its_activation() -> None:
    kinds = [kind for _, kind in layers_of(Own())]
    assert kinds == [
        "convolutions",
        "norms",
        "activations",
        "convolutions",
        "other layers",
        "dropout",
        "linear layers",
    ]
    assert [kind for _, kind in layers_of(Dropout(0.1))] == ["dropout"]
    nothing_inside = nn.Bilinear(1, 1, 1)
    assert [*layers_of(nothing_inside)] == [(nothing_inside, "other layers")]


def test_each_layer_is_timed_forward_and_backward() -> None:
    model, ticks = Own(), count()
    clock = LayerClock(model, lambda: float(next(ticks)))
    for _ in range(2):
        found = step(model, clock)
        # One tick is between the two readings around a layer, and around a node of the graph.
        assert found[Key("forward", "convolutions")] == Cost(2.0, 2)
        assert found[Key("forward", "norms")] == Cost(1.0, 1)
        assert found[Key("backward", "convolutions")] == Cost(2.0, 2)
        assert found[Key("backward", "activations")] == Cost(1.0, 1)
        # A product, the transposed weight: torch may need more than one node.
        assert found[Key("backward", "linear layers")].seconds >= 1.0
        # An identity has no node: nothing of it runs backward.
        assert Key("backward", "other layers") not in found
    assert len(clock.work[Key("forward", "convolutions")]) == 2  # of the first step alone
    clock.close()
    assert step(model, clock) == {}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_runs_again_amid_backward_is_not_counted_twice(reentrant: bool) -> None:
    class Checkpointed(Own):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = checkpoint(super().forward, x, use_reentrant=reentrant)
            return y

    model, ticks = Checkpointed(), count()
    clock = LayerClock(model, lambda: float(next(ticks)))
    clock.on = True
    y = model(torch.randn(2, 1, 5, 5, requires_grad=True))
    clock.on = False
    y.sum().backward()
    assert clock.end_step()[Key("forward", "convolutions")] == Cost(2.0, 2)
    clock.close()


def test_a_clock_that_is_off_times_nothing(ticking: LayerClock) -> None:
    model = Own()
    model(torch.randn(2, 1, 5, 5)).sum().backward()
    assert dict(ticking.end_step()) == {}


def test_the_gradients_are_those_without_a_clock() -> None:
    model = Own()
    images = torch.randn(2, 1, 5, 5)

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(images).square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    expected = gradients()
    clock = LayerClock(model, lambda: 0.0)
    clock.on = True
    found = gradients()
    clock.close()
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert len(found) == len(list(model.parameters()))

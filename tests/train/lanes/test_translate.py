"""Which models have no form for lanes, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.models import build
from normlab.norms import BatchNorm
from normlab.recipe import Recipe
from normlab.regularizers import DropBlock, Dropout
from normlab.train.lanes.translate import NoLanes, translate

SHAPE = (1, 8, 8)


def net(*layers: nn.Module, channels: int = 4) -> nn.Sequential:
    """Layers between a first convolution, to 4 maps of 8 x 8, and a head."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *layers,
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)),
    )


class Doing(nn.Module):
    """A net with code of its own between its layers."""

    def __init__(self, code: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.code = code
        self.conv, self.norm, self.relu = nn.Conv2d(1, 4, 3), BatchNorm(4), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.code(self, self.relu(self.norm(self.conv(x))))
        return self.head(torch.flatten(self.pool(x), 1))  # type: ignore[no-any-return]


class Doubled(nn.ReLU):
    """Not what its base does."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Shared(nn.Module):
    """Two heads with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.second(self.first(x)), 1))  # type: ignore[no-any-return]


def of(model: nn.Module) -> nn.Module:
    return model


def unused() -> nn.Module:
    model = Doing(lambda _, x: x)
    model.spare = nn.Linear(2, 2)
    return model


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "gelu": (net(nn.GELU()), "1: GELU has no form for lanes"),
    "own activation": (net(Doubled()), "1: Doubled has no form for lanes"),
    "drop block": (net(DropBlock(0.5)), "1: DropBlock has no form for lanes"),
    "torch's dropout": (net(nn.Dropout(0.5)), "1: Dropout has no form for lanes"),
    "flat dropout": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), Dropout(0.5), nn.Linear(144, 10)),
        "2: dropout of a flattened map has no form for lanes",
    ),
    "overlapping pool": (net(nn.MaxPool2d(3, 2)), "1: a pool whose windows overlap has no"),
    "padded pool": (net(nn.AvgPool2d(2, padding=1)), "1: a pool with padding or ceil_mode"),
    "ceiling": (net(nn.MaxPool2d(3, ceil_mode=True)), "1: a pool with padding or ceil_mode"),
    "dilated pool": (net(nn.MaxPool2d(2, dilation=2)), "1: a pool with such options"),
    "other divisor": (net(nn.AvgPool2d(2, divisor_override=3)), "1: a pool with such options"),
    "parts": (net(nn.AdaptiveAvgPool2d(2), channels=4), "1: an average over parts of a map"),
    "groups": (net(nn.Conv2d(4, 4, 3, groups=2)), "1: groups, dilation or such a padding"),
    "same": (net(nn.Conv2d(4, 4, 3, padding="same")), "1: groups, dilation or such a padding"),
    "reflecting": (
        net(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        "1: groups, dilation or such a padding",
    ),
    "large kernel": (net(nn.Conv2d(4, 4, 9, padding=4)), "1: a kernel of (9, 9) has no form"),
    "transposed": (net(nn.ConvTranspose2d(4, 4, 3)), "1: ConvTranspose2d has no form for lanes"),
    "norm of another kind": (net(nn.LocalResponseNorm(2)), "1: LocalResponseNorm has no form"),
    "norm behind a mask": (net(Dropout(0.5), BatchNorm(4)), "mask, norm in this order have no"),
    "images pooled": (
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)),
        "the images are read by something else than a convolution",
    ),
    "normalized images": (
        nn.Sequential(BatchNorm(1), nn.Flatten(), nn.Linear(64, 10)),
        "a norm of the images themselves",
    ),
    "probabilities": (
        nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU()),
        "something follows",
    ),
    "maps": (nn.Sequential(nn.Conv2d(1, 10, 3)), "something follows"),
    "code": (Doing(lambda _, x: x * 2), "the model calls mul"),
    "a function": (Doing(lambda _, x: F.gelu(x)), "the model calls gelu"),
    "a weighted sum": (Doing(lambda _, x: torch.add(x, x, alpha=2)), "a sum of a map with itself"),
    "twice itself": (Doing(lambda _, x: x + x), "a sum of a map with itself"),
    "a number more": (Doing(lambda _, x: x + 1), "a sum of a map with itself or a number"),
    "a branch": (Doing(lambda _, x: x if x.sum() > 0 else -x), "the model's code cannot be"),
    "a norm twice": (Doing(lambda m, x: m.get_submodule("norm")(x)), "norm"),
    "flattened later": (Doing(lambda _, x: torch.flatten(x, 2)), "only whole images are"),
    "shared": (Shared(), "parameters are shared between layers"),
    "unused": (unused(), "parameter 'spare.weight' belongs to no layer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_says_why(name: str) -> None:
    model, message = REFUSED[name]
    dropping = [n for n, m in model.named_modules() if isinstance(m, DropBlock | Dropout)]
    with pytest.raises(NoLanes) as raised:
        translate(model, SHAPE, dropping)
    assert str(raised.value).startswith(message)


def test_what_has_one() -> None:
    taken = Doing(lambda m, x: x + m.get_submodule("conv2")(x) if m.training else x * 2)
    taken.conv2 = nn.Conv2d(4, 4, 1)
    graph = translate(taken, (1, 8, 8))
    assert [type(each).__name__ for each in graph.operations] == [
        "Conv",
        "Conv",
        "Add",
        "Pool",
        "Conv",
    ]
    assert [name for name, _ in graph.parameters] == [n for n, _ in taken.named_parameters()]
    for plain in (net(), net(nn.Identity(), nn.ReLU(), nn.MaxPool2d(2)), net(BatchNorm(4))):
        assert translate(plain, SHAPE).logits.channels == 10


def test_a_layer_that_drops_nothing_is_none() -> None:
    model = net(DropBlock(0.0), Dropout(0.0), nn.Conv2d(4, 4, 1))
    assert translate(model, SHAPE).masks == ()
    (one,) = translate(net(Dropout(0.5), nn.Conv2d(4, 4, 1)), SHAPE, ["1"]).masks
    assert one[0].name == "1"
    assert one[0].unit == "element"
    assert one[1].channels == 4


def test_a_normalized_map_is_not_stored() -> None:
    recipe = Recipe.parse({"data": "digits", "model": "mnist-7704", "dropout": 0.1})
    built = build(recipe, (1, 28, 28), 10).model
    masks = [n for n, m in built.named_modules() if isinstance(m, Dropout)]
    graph = translate(built, (1, 28, 28), masks)
    convolutions = [m for m in built.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    pools = [o for o in graph.operations if type(o).__name__ == "Pool"]
    assert len(graph.maps) == 1 + len(convolutions) + len(pools)
    assert all(each.rectified == (each.norm is not None) for each in graph.maps)  # conv, ReLU, norm


class Changing(nn.Module):
    """A net that does something to itself in every forward."""

    def __init__(self, change: Callable[[Changing], object]) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10)
        self.calls, self.seen = 0, list[int]()
        self.register_buffer("steps", torch.zeros(()))
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        self.change(self)
        x = self.pool(self.relu(self.norm(self.conv(x))))
        return self.head(torch.flatten(x, 1))  # type: ignore[no-any-return]

    def count(self) -> None:
        """One more forward."""
        self.calls += 1


CHANGES: dict[str, Callable[[Changing], object]] = {
    "calls": Changing.count,
    "seen": lambda net: net.seen.append(1),
    "steps": lambda net: net.get_buffer("steps").add_(1),
    "norm.momentum": lambda net: setattr(net.norm, "momentum", 0.5),
    "conv.bias.requires_grad": lambda net: net.conv.requires_grad_(False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_as_it_runs_is_not_followed(what: str) -> None:
    # It is followed once, and might do something else in a later step.
    with pytest.raises(NoLanes, match=f"the model's code changes '{what}' as it runs"):
        translate(Changing(CHANGES[what]), SHAPE)
    translate(Changing(lambda net: None), SHAPE)


def test_a_result_that_nothing_reads_is_refused() -> None:
    def code(net: nn.Module, x: Tensor) -> Tensor:
        net.get_submodule("pool")(x)
        return x

    with pytest.raises(NoLanes, match="whose result nothing reads"):
        translate(Doing(code), SHAPE)

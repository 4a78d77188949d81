"""The update against torch's own optimizers on the same gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, optim

from normlab.models import build, select
from normlab.recipe import Recipe
from normlab.train.optimizer import Updater

BASE = {"data": "digits", "model": "digits-small", "lr": 0.1, "momentum": 0.8, "epochs": 1}


def model() -> nn.Module:
    torch.manual_seed(0)
    return build(Recipe.parse(BASE), (1, 8, 8), 10).model


def gradients(net: nn.Module, step: int) -> None:
    for index, parameter in enumerate(net.parameters()):
        source = torch.Generator().manual_seed(100 * step + index)
        parameter.grad = torch.randn(parameter.shape, generator=source)


def after(values: dict[str, object], steps: int = 3) -> list[Tensor]:
    net = model()
    updater = Updater(Recipe.parse({**BASE, **values}), net, steps)
    for step in range(steps):
        gradients(net, step)
        updater.step(step)
    return list(net.parameters())


def torch_s(make: Callable[[nn.Module], optim.Optimizer], steps: int = 3) -> list[Tensor]:
    net = model()
    optimizer = make(net)
    for step in range(steps):
        gradients(net, step)
        optimizer.step()
    return list(net.parameters())


def split(net: nn.Module, decay: float) -> list[dict[str, object]]:
    """torch's parameter groups with decay on weights and none on biases and norms."""
    decayed = select(net, ["weight", "head_weight"])
    ids = {id(p) for p in decayed}
    return [
        {"params": decayed, "weight_decay": decay},
        {"params": [p for p in net.parameters() if id(p) not in ids], "weight_decay": 0.0},
    ]


CASES: dict[str, tuple[dict[str, object], Callable[[nn.Module], optim.Optimizer]]] = {
    "sgd": ({}, lambda n: optim.SGD(n.parameters(), 0.1, 0.8)),
    "nesterov": (
        {"optimizer": {"kind": "sgd", "nesterov": True}},
        lambda n: optim.SGD(n.parameters(), 0.1, 0.8, nesterov=True),
    ),
    "sgd with l2": ({"l2": 0.3}, lambda n: optim.SGD(split(n, 0.3), 0.1, 0.8)),
    "sgd with l2 everywhere": (
        {"l2": {"strength": 0.3, "roles": "all"}},
        lambda n: optim.SGD(n.parameters(), 0.1, 0.8, weight_decay=0.3),
    ),
    "adam": ({"optimizer": "adam"}, lambda n: optim.Adam(n.parameters(), 0.1, (0.8, 0.999))),
    "adam with l2": (
        {"optimizer": "adam", "l2": 0.3},
        lambda n: optim.Adam(split(n, 0.3), 0.1, (0.8, 0.999)),
    ),
    "adamw": (
        {"optimizer": {"kind": "adamw", "beta2": 0.9}, "weight_decay": 0.3},
        lambda n: optim.AdamW(split(n, 0.3), 0.1, (0.8, 0.9)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_torch_s(name: str) -> None:
    values, make = CASES[name]
    for found, expected in zip(after(values), torch_s(make), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_adam_with_l2_is_not_adamw() -> None:
    l2, decoupled = after({"optimizer": "adam", "l2": 0.3}), after(CASES["adamw"][0])
    assert not torch.allclose(l2[0], decoupled[0], rtol=1e-3)


def test_decoupled_decay_follows_the_learning_rate() -> None:
    values = {
        "weight_decay": 0.5,
        "lr": 0.1,
        "schedule": {"kind": "step", "step_size": 1},
        "epochs": 2,
    }
    net = model()
    updater = Updater(Recipe.parse({**BASE, **values}), net, steps_per_epoch=1)
    start = net.get_parameter("layers.conv1.weight").detach().clone()
    for step in range(2):
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        updater.step(step)
    expected = start * (1 - 0.1 * 0.5) * (1 - 0.01 * 0.5)
    torch.testing.assert_close(net.get_parameter("layers.conv1.weight"), expected)

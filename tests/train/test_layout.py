"""Maps lie channels-last from the images to the loss, and nothing is copied on the way."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from normlab.convolutions import Conv2d
from normlab.data import describe
from normlab.models import MODELS, swap_convolutions
from normlab.models.residual import ZeroPad
from normlab.norms import NORMS
from normlab.recipe import Recipe
from normlab.regularizers import DROPOUTS
from normlab.train.layout import layout, take
from normlab.train.loop import Trainer
from normlab.train.stand_in import made_up

LAST = torch.channels_last


def trainer(recipe: dict[str, object], images: int) -> Trainer:
    parsed = Recipe.parse({"batch_size": images, **recipe}, "a test")
    facts = describe(parsed.data)
    splits = made_up(facts.shape, facts.num_classes, images, images)
    return Trainer(parsed, 0, splits, torch.device("cpu"), probes=False)


def copies_of_maps(made: Trainer, images: int) -> list[str]:
    """Copies of maps in a step, but those that are a layer's own work."""
    made.epoch(1)  # what is made once
    inputs, labels = made.train
    given = made.augment(take(inputs, torch.arange(images)), labels, torch.Generator())
    assert given.images.is_contiguous(memory_format=LAST)
    allowed = [shape for layer in made.model.modules() for shape in own_copies(layer, images)]
    made.model.train()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        made.loss(made._logits(given.images), given.labels).backward()  # type: ignore[no-untyped-call]
    found = [
        list(event.input_shapes[0])
        for event in seen.events()
        if event.name == "aten::copy_" and is_map(event.input_shapes[0], images)
    ]
    for shape in allowed:
        found.remove(shape)
    return [str(shape) for shape in found]


def own_copies(layer: nn.Module, images: int) -> list[list[int]]:
    """Copies that are a layer's work: a shortcut's thinned map, forward and backward."""
    if not isinstance(layer, ZeroPad):
        return []
    channels, size = layer.new_channels, 256 // layer.new_channels
    return [[images, channels, size, size]] * 2


def is_map(shape: list[int], images: int) -> bool:
    return len(shape) == 4 and images in shape and shape[2] * shape[3] > 1


RECIPES: list[dict[str, object]] = [
    {"data": "digits", "model": {"kind": "digits-small"}},
    {"data": "mnist", "model": {"kind": "mnist-7288"}},
    {"data": "mnist", "model": {"kind": "mnist-7704"}, "dropout": {"kind": "dropout", "p": 0.05}},
    {"data": "mnist", "model": {"kind": "mnist-7704"}, "dropout": {"kind": "dropout", "p": 0.3}},
    {
        "data": "mnist",
        "model": {"kind": "mnist-7704"},
        "dropout": {"kind": "spatial_dropout", "p": 0.1},
    },
    {"data": "cifar10", "model": {"kind": "resnet"}, "norm": {"kind": "ghost_batch", "splits": 2}},
    {"data": "cifar10", "model": {"kind": "resnet", "block": "pre"}},
    {"data": "cifar10", "model": {"kind": "resnet", "shortcut": "projection"}},
    {"data": "cifar10", "model": {"kind": "resnet"}, "stochastic_depth": {"p": 0.2}},
    {"data": "cifar10", "model": {"kind": "resnet"}, "agc": {"clip": 0.01}},
    {
        "data": "cifar10",
        "model": {"kind": "resnet"},
        "augment": [{"kind": "crop", "padding": 4}, {"kind": "horizontal_flip", "p": 0.5}],
    },
    {"data": "cifar10", "model": {"kind": "resnet50-as-published", "width": 8}},
    {"data": "cifar10", "model": {"kind": "resnet50", "width": 8}},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_no_map_is_copied_between_the_images_and_the_loss(recipe: dict[str, object]) -> None:
    images = 22  # no number of channels or pixels
    assert copies_of_maps(trainer(recipe, images), images) == []


def test_every_bundled_model_is_looked_at() -> None:
    models = {recipe["model"]["kind"] for recipe in RECIPES}  # type: ignore[index]
    assert models == set(MODELS)


OPTIONS: dict[str, object] = {"groups": 4, "splits": 2}


def norms() -> list[dict[str, object]]:
    """Each kind over maps, with what it must be told."""
    found = []
    for kind, norm in NORMS.items():
        known = inspect.signature(norm).parameters
        given = {key: value for key, value in OPTIONS.items() if key in known}
        # torch's own instance norm gives contiguous maps.
        if kind not in {"scaled_ws", "torch_instance"}:
            found.append({"kind": kind, **given})
    return found


@pytest.mark.parametrize("norm", norms(), ids=str)
def test_norms_keep_the_layout_both_ways(norm: dict[str, object]) -> None:
    recipe = {"data": "digits", "model": {"kind": "digits-small"}, "norm": norm}
    made = trainer(recipe, 8)
    seen: list[bool] = []

    def forward(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if output.dim() == 4:
            seen.append(output.is_contiguous(memory_format=LAST))
            if output.requires_grad:
                output.register_hook(lambda dy: seen.append(dy.is_contiguous(memory_format=LAST)))

    for module in made.model.modules():
        if not list(module.children()):
            module.register_forward_hook(forward)
    made.epoch(1)
    assert len(seen) > 10
    assert all(seen)


@pytest.mark.parametrize("kind", DROPOUTS)
def test_dropout_keeps_the_layout(kind: str) -> None:
    layer = DROPOUTS[kind](0.3)
    x = torch.randn(4, 8, 9, 9).contiguous(memory_format=LAST)
    for generator in (None, torch.Generator()):
        layer.generator = generator
        assert layer(x).is_contiguous(memory_format=LAST)


class Plain(nn.Module):
    """A model of the user's that needs contiguous maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.head = nn.Linear(8 * 36, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.conv(x).view(len(x), -1))
        return y


def test_a_model_of_the_users_keeps_its_layout_unless_it_asks() -> None:
    cpu, model = torch.device("cpu"), Plain()
    assert layout(model, cpu, torch.float32) is torch.contiguous_format
    assert swap_convolutions(model) == ["conv"]
    assert type(model.conv) is Conv2d
    assert layout(model, cpu, torch.float32) is LAST
    assert layout(model, cpu, torch.float64) is torch.contiguous_format


def test_images_are_taken_lying_as_they_do() -> None:
    plain = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    for images in (plain, plain.contiguous(memory_format=LAST)):
        chosen = torch.tensor([1, 0, 1])
        taken = take(images, chosen)
        assert torch.equal(taken, images[chosen])
        assert taken.is_contiguous() == images.is_contiguous()

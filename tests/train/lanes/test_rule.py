"""Which trials train in lanes, and which of them side by side: by recipe and processor alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from normlab.native import compiled
from normlab.norms import BatchNorm
from normlab.recipe import Recipe
from normlab.study.files import bundled
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train.lanes import rule
from normlab.train.lanes.rule import form, lanes_for, size

DIGITS = {"data": "digits", "model": "digits-small"}
PLACE = "tests.train.lanes.test_rule"


@pytest.fixture(autouse=True)
def _new_rule() -> Iterator[None]:
    for cached in (rule._form, rule._look):
        cached.cache_clear()
    yield
    for cached in (rule._form, rule._look):
        cached.cache_clear()


def form_of(device: str = "cpu", **values: Any) -> object:
    shape = (3, 16, 16) if "resnet" in str(values.get("model")) else (1, 8, 8)
    return form(Recipe.parse({**DIGITS, **values}), shape, 10, 1000, device)


class Net(nn.Module):
    """A small model of the user's, to which something is done."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, 3), nn.BatchNorm2d(width)
        self.relu: nn.Module = nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.conv(x))))
        return self.head(torch.flatten(x, 1))  # type: ignore[no-any-return]


def frozen() -> nn.Module:
    model = Net()
    model.conv.weight.requires_grad_(False)
    return model


class Held(Net):
    """Its norms stay in eval mode."""

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.eval()
        return self


def hooked(hook: str) -> nn.Module:
    model = Net()
    ways: dict[str, Any] = {
        "forward": lambda m: m.relu.register_forward_hook(lambda *_: None),
        "before": lambda m: m.relu.register_forward_pre_hook(lambda *_: None),
        "backward": lambda m: m.conv.register_full_backward_hook(lambda *_: None),
        "backward before": lambda m: m.conv.register_full_backward_pre_hook(lambda *_: None),
        "whole": lambda m: m.register_forward_hook(lambda *_: None),
        "parameter": lambda m: m.head.weight.register_hook(lambda g: g),
        "accumulated": lambda m: m.head.weight.register_post_accumulate_grad_hook(lambda _: None),
    }
    ways[hook](model)
    return model


class Leaky(Net):
    """An activation that lanes do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.LeakyReLU()


def own(name: str, **options: Any) -> dict[str, Any]:
    return {"kind": f"{PLACE}:{name}", **options}


RESNET: dict[str, Any] = {"kind": "resnet", "n": 1, "width": 4}

TORCH: dict[str, tuple[dict[str, Any], str]] = {
    "cuda": ({"device": "cuda"}, "it trains on cuda"),
    "gelu": ({"activation": "gelu"}, "GELU has no form for lanes"),
    "float64": ({"precision": "float64"}, "its precision is float64"),
    "bfloat16": ({"precision": "bfloat16"}, "its precision is bfloat16"),
    "mse": ({"loss": "mse"}, "its loss is mse"),
    "wide": ({"model": {**RESNET, "width": 16}}, "has 64 channels, and lanes pay up to 32"),
    "wider": ({"model": "resnet50"}, "has 64 channels, and lanes pay up to 32"),
    "drop block": (
        {"dropout": {"kind": "drop_block", "p": 0.1}},
        "DropBlock has no form for lanes",
    ),
    "two masks": (
        {"model": RESNET, "dropout": 0.1, "stochastic_depth": 0.1},
        "mask, mask in this order have no form",
    ),
    "stem's pool": ({"model": {**RESNET, "stem_pool": "valid"}}, "a pool whose windows overlap"),
    "batch renorm": ({"norm": "batch_renorm"}, "follows the progress of the training"),
    "evonorm": ({"norm": "evonorm_b0"}, "contains its activation"),
    "weight standardization": ({"norm": "scaled_ws"}, "has no form"),
    "switchable": ({"norm": "switchable"}, "is not a norm by the statistics of blocks alone"),
    "own layer": ({"model": own("Leaky")}, "relu: LeakyReLU has no form for lanes"),
    "frozen": ({"model": own("frozen")}, "parameter 'conv.weight' is frozen"),
    "held in eval": ({"model": own("Held")}, "'norm' is held in eval mode"),
}


@pytest.mark.skipif(not size(), reason="this processor has no lanes")
@pytest.mark.parametrize("name", TORCH)
def test_what_falls_back_says_why(name: str) -> None:
    values, message = TORCH[name]
    found = form_of(**values)
    assert isinstance(found, str)
    assert message in found


@pytest.mark.skipif(not size(), reason="this processor has no lanes")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        *((kind, "'relu' has a hook") for kind in ("forward", "before")),
        *((kind, "'conv' has a hook") for kind in ("backward", "backward before")),
        ("whole", "the model has a hook"),
        *((kind, "parameter 'head.weight' has a hook") for kind in ("parameter", "accumulated")),
    ],
)
def test_hooks_are_called_by_torch_alone(kind: str, message: str) -> None:
    assert form_of(model=own("hooked", hook=kind)) == message
    assert not isinstance(form_of(model=own("Net")), str)


SAME: dict[str, dict[str, Any]] = {
    "lr": {"lr": 0.3},
    "momentum": {"momentum": 0.5},
    "none of it": {"momentum": 0.0},
    "penalties": {"l1": 0.1, "l2": 0.1, "weight_decay": 0.1},
    "clip": {"clip_grad_norm": 1.0},
    "agc": {"agc": 0.1},
    "schedule": {"schedule": "one_cycle"},
    "epochs": {"epochs": 77},
    "dropout's rate": {"dropout": 0.4},
    "no dropout": {"dropout": 0.0},
    "augmentation": {"augment": ["mixup", "label_smoothing"]},
    "init": {"init": "glorot"},
    "stopping": {"early_stopping": 2},
    "diagnostics": {"diagnostics": ["sparsity"]},
}
OTHER: dict[str, dict[str, Any]] = {
    "batch size": {"batch_size": 64},
    "norm": {"norm": "layer"},
    "eps": {"norm": {"kind": "batch", "eps": 1e-3}},
    "model": {"model": {"kind": "resnet", "n": 1, "width": 4}},
    "options": {"model": {"kind": "digits-small", "conv_bias": "always"}},
    "optimizer": {"optimizer": "adam"},
    "nesterov": {"optimizer": {"kind": "sgd", "nesterov": True}},
    "dropout's kind": {"dropout": {"kind": "spatial_dropout", "p": 0.1}},
    "copies": {"augment": [{"kind": "cutout", "size": 2, "copies": 2}]},
    "validation": {"validation": 0.2},
}


@pytest.mark.skipif(not size(), reason="this processor has no lanes")
def test_equal_forms() -> None:
    base: dict[str, Any] = {"dropout": 0.1}
    expected = form_of(**base)
    assert isinstance(expected, tuple)
    assert {name: form_of(**{**base, **more}) == expected for name, more in SAME.items()} == (
        dict.fromkeys(SAME, True)
    )


@pytest.mark.skipif(not size(), reason="this processor has no lanes")
def test_other_forms() -> None:
    base: dict[str, Any] = {"dropout": 0.1}
    forms = {name: form_of(**{**base, **more}) for name, more in OTHER.items()}
    assert not [found for found in forms.values() if isinstance(found, str)]
    assert len({form_of(**base), *forms.values()}) == 1 + len(OTHER)
    assert len({form(Recipe.parse(DIGITS), (1, 8, 8), 10, n, "cpu") for n in (9, 10)}) == 2


@pytest.mark.skipif(not size(), reason="this processor has no lanes")
@pytest.mark.parametrize("name", bundled())
def test_every_bundled_study_has_a_form_or_a_reason(name: str) -> None:
    shapes = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}
    study = Study.load(bundled()[name])
    for recipe in {arm.recipe for arm in make_plan(study).arms}:
        shape = shapes.get(recipe.data.kind, (3, 32, 32))
        found = form(recipe, shape, 10, 1000, "cpu")
        assert found
        takes = recipe.model.kind in {"digits-small", "mnist-7288", "mnist-7704"}
        if not takes:
            assert isinstance(found, str)


def test_a_processor_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "processor", lambda: ("old", "+sse4.2,-avx2"))
    assert size() == 0
    assert form_of() == "this processor has no lanes of 8 numbers, or llvmlite is not installed"
    monkeypatch.undo()
    monkeypatch.setattr(compiled, "is_there", lambda: False)
    assert size() == 0


def test_the_narrowest_program() -> None:
    assert [lanes_for(n) for n in (1, 4, 5, 8, 9, 16)] == [4, 4, 8, 8, 16, 16]


def test_masks_that_no_program_has_at_once_make_two_forms() -> None:
    # Both stand behind the last block's norm: side by side the path would hang on the companions.
    net = {"model": {"kind": "resnet", "width": 4}, "batch_size": 48}
    dropped = form_of(**net, dropout=0.1)
    deep = form_of(**net, stochastic_depth=0.1)
    assert isinstance(dropped, rule.Form)
    assert isinstance(deep, rule.Form)
    assert dropped != deep
    assert dropped == form_of(**net, dropout=0.3) == form_of(**net)
    assert form_of(dropout=0.1) == form_of()


def test_arms_that_share_a_model_share_a_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = rule.build

    def counted(recipe: Recipe, *given: Any, **more: Any) -> object:
        built.append(recipe.norm.kind)
        return build(recipe, *given, **more)

    monkeypatch.setattr(rule, "build", counted)
    forms = {
        (norm, rate, batch): form_of(norm=norm, lr=rate, batch_size=batch, l2=rate)
        for norm in ("batch", "layer")
        for rate in (0.1, 0.2, 0.3)
        for batch in (32, 64)
    }
    if not size():
        pytest.skip("this processor has no lanes")
    assert built == ["batch", "layer"]
    assert len(set(forms.values())) == 4  # the batch size is the form's own

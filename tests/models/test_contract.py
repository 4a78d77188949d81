"""What every model of the catalog must stand. An entry without settings here fails."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normlab.errors import UserError
from normlab.models import MODELS, Built, build, head_of, layer_table, parameter_count, roles
from normlab.norms import NORMS, BatchNorm, NoNorm
from normlab.recipe import MODELS as SPECS
from normlab.recipe import Recipe
from normlab.regularizers import RandomLayer
from normlab.train.streams import initialize, random_layers, reseed_dropout


@dataclass(frozen=True)
class Settings:
    """What a test needs to know of a model, counted by hand."""

    shape: tuple[int, int, int]
    """Of its data set's images."""
    other: tuple[int, int, int]
    classes: int
    parameters: int
    """With batch norm."""
    norms: int
    slots: tuple[int, ...]
    branches: int = 0
    small: dict[str, Any] | None = None
    """Options that make it small enough to run."""


# 6n+2, n = 2, 10 classes: see test_resnet.py, with 64 * 10 + 10 in the head.
RESNET = 9 * (3 * 16 + 4 * 16**2 + 16 * 32 + 3 * 32**2 + 32 * 64 + 3 * 64**2) + 2 * 464 + 650
# As published, see test_as_published.py; controlled: a 3x3 stem, and no bias before a norm.
PUBLISHED = 23_555_082
CONTROLLED = PUBLISHED - (49 - 9) * 3 * 64 - 26_560

SETTINGS = {
    "digits-small": Settings((1, 8, 8), (3, 16, 12), 10, 7_514, 3, (1, 2, 3)),
    "mnist-7288": Settings((1, 28, 28), (3, 28, 28), 10, 7_288, 6, (1, 2, 3, 4, 5, 6)),
    "mnist-7704": Settings((1, 28, 28), (2, 28, 28), 10, 7_704, 6, (1, 2, 4, 5, 6, 7)),
    "resnet": Settings((3, 32, 32), (1, 21, 30), 10, RESNET, 13, (1, 2), 6, {"width": 4}),
    "resnet50": Settings((3, 32, 32), (1, 24, 20), 10, CONTROLLED, 53, (1, 2, 3), 16, {"width": 4}),
    "resnet50-as-published": Settings(
        (3, 32, 32), (1, 70, 53), 10, PUBLISHED, 53, (1, 2, 3), 16, {"width": 4}
    ),
}
TORCH_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def recipe(kind: str, *, small: bool = True, **values: Any) -> Recipe:
    options = (SETTINGS[kind].small or {}) if small else {}
    own = values.pop("model", {})
    return Recipe.parse({"data": "mnist", "model": {"kind": kind, **options, **own}, **values})


def made(kind: str, *, shape: tuple[int, int, int] | None = None, **values: Any) -> Built:
    torch.manual_seed(0)
    settings = SETTINGS[kind]
    return build(recipe(kind, **values), shape or settings.shape, settings.classes)


def is_norm(module: nn.Module) -> bool:
    ours = tuple(norm for norm in NORMS.values() if norm is not NoNorm)
    return isinstance(module, (*ours, *TORCH_NORMS))


def images(kind: str) -> torch.Tensor:
    return torch.randn(4, *SETTINGS[kind].shape, generator=torch.Generator().manual_seed(0))


def test_every_model_has_settings_and_no_other() -> None:
    assert list(SETTINGS) == list(MODELS) == list(SPECS)


@pytest.fixture(params=MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("which", ["shape", "other"])
@pytest.mark.parametrize("norm", ["batch", "none", {"kind": "group", "groups": 2}, "scaled_ws"], ids=str)  # fmt: skip
def test_it_runs_forward_and_backward(kind: str, which: str, norm: object) -> None:
    settings = SETTINGS[kind]
    shape = getattr(settings, which)
    model = made(kind, shape=shape, norm=norm).model
    initialize(model, 0)
    x = torch.randn(4, *shape)
    logits = model(x)
    assert logits.shape == (4, settings.classes)
    F.cross_entropy(logits, torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.ne(0).any() or name.endswith("bias"), name
    assert model.eval()(x).isfinite().all()


def test_parameters_norms_and_slots_are_counted_by_hand(kind: str) -> None:
    settings = SETTINGS[kind]
    built = build(recipe(kind, small=False), settings.shape, settings.classes, device="meta")
    found = sum(isinstance(module, BatchNorm) for module in built.model.modules())
    assert parameter_count(built.model) == settings.parameters
    assert (found, built.norms) == (settings.norms, settings.norms)
    assert (built.dropout_slots, built.residual_branches) == (settings.slots, settings.branches)


def test_the_layer_table_shows_every_parameter(kind: str) -> None:
    for norm in ("batch", "evonorm_b0", "scaled_ws"):
        model = made(kind, norm=norm).model
        rows = layer_table(model, SETTINGS[kind].shape)
        assert sum(row.parameters for row in rows) == parameter_count(model)


def test_every_parameter_has_one_role_and_the_head_has_its_own(kind: str) -> None:
    model = made(kind, model={"conv_bias": "always"}).model
    found = roles(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    head = head_of(model)
    assert head is not None
    of_head = {id(parameter) for parameter in head.parameters()}
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    heads = {name for name, role in found.items() if role.startswith("head")}
    assert heads == {by_id[parameter] for parameter in of_head}
    gains = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, BatchNorm)}
    assert {name for name, role in found.items() if role == "norm_gain"} == gains


def test_none_has_no_norm_anywhere(kind: str) -> None:
    model = made(kind, norm="none").model
    assert not any(is_norm(module) for module in model.modules())


def test_another_norm_stands_in_every_place_of_batch(kind: str) -> None:
    model = made(kind, norm="layer").model
    assert sum(is_norm(module) for module in model.modules()) == SETTINGS[kind].norms


def test_the_bias_rule(kind: str) -> None:
    def biases(choice: str, norm: str = "batch") -> list[bool]:
        model = made(kind, model={"conv_bias": choice}, norm=norm).model
        return [m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d)]

    assert all(biases("always"))
    assert not any(biases("never"))
    assert all(biases("auto", norm="none"))
    model, ran = made(kind, model={"conv_bias": "auto"}).model, []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | BatchNorm):
            module.register_forward_pre_hook(lambda m, _: ran.append(m))
    model(images(kind))
    for module, behind in zip(ran, [*ran[1:], None], strict=True):
        if isinstance(module, nn.Conv2d):
            assert (module.bias is None) == isinstance(behind, BatchNorm)


def test_the_seed_alone_makes_the_weights(kind: str) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = build(recipe(kind), SETTINGS[kind].shape, SETTINGS[kind].classes).model
        initialize(model, seed)
        return model.state_dict()

    torch.manual_seed(1)
    first = weights(0)
    torch.manual_seed(2)
    for name, value in weights(0).items():
        assert torch.equal(value, first[name])
    assert any(not torch.equal(value, first[name]) for name, value in weights(1).items())


def test_every_dropout_slot_acts_in_training_alone(kind: str) -> None:
    x = images(kind)
    for slot in SETTINGS[kind].slots:
        model = made(kind, dropout={"p": 0.5, "slots": [slot]}, norm="layer").model
        quiet = made(kind, norm="layer").model
        reseed_dropout(random_layers(model), 0, 1, torch.device("cpu"))
        assert not torch.equal(model(x), quiet(x)), slot
        assert torch.equal(model.eval()(x), quiet.eval()(x)), slot


def test_a_slot_that_is_not_there_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=f"model '{kind}' has no slot 9"):
        made(kind, dropout={"p": 0.5, "slots": [9]})


def test_stochastic_depth_acts_on_branches_or_is_refused(kind: str) -> None:
    if not SETTINGS[kind].branches:
        with pytest.raises(UserError, match=f"model '{kind}' has no residual branches"):
            made(kind, stochastic_depth=0.5)
        return
    model = made(kind, stochastic_depth=0.5).model
    dropping = [m for m in model.modules() if isinstance(m, RandomLayer) and m.p]
    assert len(dropping) == SETTINGS[kind].branches


def test_it_can_be_copied_to_another_precision(kind: str) -> None:
    model = made(kind).model.double().eval()
    assert model(images(kind).double()).dtype is torch.float64

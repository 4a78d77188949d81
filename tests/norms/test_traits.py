"""A kind says what it is, and the linter, the models and the training listen: one's own kinds too."""

import pytest
import torch
from torch import nn

from normlab.data import splits
from normlab.errors import UserError
from normlab.models import build, layer_table
from normlab.models.build import drops_before_norm
from normlab.norms import NORMS, Traits, is_norm, make, traits
from normlab.norms.scaled_ws import ScaledWSConv2d
from normlab.recipe import Recipe
from normlab.study.lint import lint
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train import Finished, diagnostics, train
from normlab.train.loop import Trainer
from normlab.train.optimizer import Updater
from tests.norms.own_traits import Whitened

BASE = {"data": "digits", "model": "digits-small", "lr": 0.05, "epochs": 1, "batch_size": 64}
OWN = "tests.norms.own_traits:"


def recipe(norm: str, **values: object) -> Recipe:
    return Recipe.parse({**BASE, "norm": OWN + norm, **values})


def findings(norm: str, **base: object) -> dict[str, str]:
    content = {
        "name": "s", "question": "?", "seeds": 2, "base": {**BASE, **base},
        "factors": {"norm": ["none", OWN + norm]},
    }  # fmt: skip
    return {found.rule: found.says for found in lint(make_plan(Study.parse(content)))}


def whitened(net: nn.Module) -> list[Whitened]:
    return [module for module in net.modules() if isinstance(module, Whitened)]


def test_every_kind_of_ours_that_pools_over_the_batch_says_so() -> None:
    over_batch = {name for name, kind in NORMS.items() if traits(kind).uses_batch_statistics}
    assert over_batch == {
        "batch", "torch_batch", "ghost_batch", "batch_instance", "batch_renorm", "switchable",
        "evonorm_b0",
    }  # fmt: skip


def test_what_a_class_does_not_say_is_no_trait_and_torch_s_batch_norm_is_known() -> None:
    assert traits(nn.Conv2d) == Traits()
    assert traits(nn.BatchNorm2d) == Traits(uses_batch_statistics=True, differs_in_eval=True)
    assert traits(nn.GroupNorm(2, 4)) == Traits()
    assert traits(Whitened(4)).follows_progress


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Whitened(4), True),
        (nn.BatchNorm1d(4), True),
        (make("rms", 4), True),
        (make("none", 4), False),
        (ScaledWSConv2d(4, 4, 1), False),
        (nn.ReLU(), False),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_norm_is_known_by_its_class_or_its_attribute(layer: nn.Module, expected: bool) -> None:
    assert is_norm(layer) is expected


def test_the_linter_sees_small_batches_of_an_own_kind() -> None:
    assert "takes its statistics from 4 images" in findings("Whitened", batch_size=4)["small-batch"]
    assert "small-batch" not in findings("SmallBatches", batch_size=4)


def test_the_linter_sees_the_splits_of_an_own_kind() -> None:
    found = findings("Thirds", batch_size=16)
    assert "takes its statistics from 5 images" in found["small-batch"]
    assert "the last ghost of a batch has 1 images, not 5" in found["uneven-ghosts"]


def test_the_linter_sees_last_batches_and_dropout_of_an_own_kind() -> None:
    found = findings("Whitened", batch_size=399, validation=0, dropout=0.1)
    assert "has 1 image, not 399" in found["last-batch"]
    assert "before norms with batch statistics" in found["dropout-before-batch-norm"]


def test_a_model_leaves_the_activation_to_an_own_kind_that_contains_one() -> None:
    net = build(recipe("Whitened"), (1, 8, 8), 10).model
    assert len(whitened(net)) == 3
    assert not any(isinstance(module, nn.ReLU) for module in net.modules())


def test_an_own_kind_without_parameters_is_in_the_layer_table() -> None:
    values = {**BASE, "norm": {"kind": OWN + "SmallBatches", "affine": False}}
    rows = layer_table(build(Recipe.parse(values), (1, 8, 8), 10).model, (1, 8, 8))
    assert [row.kind for row in rows].count("SmallBatches") == 3


def test_a_plan_refuses_an_own_kind_whose_groups_are_single_values() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), make(OWN + "Singles", 4))
    with pytest.raises(UserError, match=r"layer .1.*one value per group"):
        layer_table(net, (4, 8, 8))


def test_dropout_before_an_own_kind_is_seen() -> None:
    assert drops_before_norm(nn.Sequential(nn.Dropout(0.1), Whitened(4)))
    assert not drops_before_norm(nn.Sequential(nn.Dropout(0.1), nn.ReLU()))


def test_the_optimizer_calls_an_own_kind_after_each_step_and_gives_its_gates_their_rate() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), Whitened(2))
    updater = Updater(Recipe.parse({**BASE, "l1": 0}), net, 1)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    updater.step(0)
    assert net[1].steps == 1
    (gates,) = (g for g in updater.optimizer.param_groups if g["lr_factor"] == 3.0)
    assert gates["params"] == [net[1].gate]


def test_a_method_after_step_of_what_is_no_norm_is_left_alone() -> None:
    class Other(nn.Linear):
        def after_step(self) -> None:
            raise AssertionError

    net = nn.Sequential(Other(2, 2))
    net[0].weight.grad = torch.ones(2, 2)
    Updater(Recipe.parse(BASE), net, 1).step(0)


def test_the_training_tells_an_own_kind_its_progress_and_liveness_proves_it() -> None:
    chosen = recipe("Whitened")
    *_, end = train(chosen, 0, splits(chosen))
    assert isinstance(end, Finished)
    assert end.result.state == "complete", end.result.reason
    (check,) = (c for c in end.result.checks if "progress" in c.declared)
    steps = 17  # 1,078 images in batches of 64
    assert check.found == f"progress {(steps - 1) / steps:.4f}"


def test_liveness_finds_an_own_kind_that_does_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = property(lambda _: 0.0, lambda *_: None)
    monkeypatch.setattr(Whitened, "progress", stuck, raising=False)
    chosen = recipe("Whitened")
    *_, end = train(chosen, 0, splits(chosen))
    assert isinstance(end, Finished)
    assert end.result.state == "invalid"
    assert "follows the training's progress" in str(end.result.reason)


def test_diagnostics_see_an_own_kind() -> None:
    chosen = recipe("Whitened")
    net = Trainer(chosen, 0, splits(chosen), torch.device("cpu"), probes=False).model
    assert set(diagnostics.activations(net, torch.randn(4, 1, 8, 8))) == {
        f"layers.norm{number}" for number in (1, 2, 3)
    }
    assert diagnostics.gates(net)["layers.norm1.gate"][5] == 1  # a softmax of two equal weights

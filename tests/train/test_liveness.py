"""Every failure of the source studies, planted, is found in the real training; nothing else is."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from normlab.augment import Batch, Cutout, HorizontalFlip, Pipeline
from normlab.data import splits
from normlab.models import build
from normlab.models.build import MODELS
from normlab.models.convnet import ConvNet, digits_small
from normlab.models.slots import Slots
from normlab.norms import NORMS, BatchInstanceNorm, BatchNorm, BatchRenorm, GhostBatchNorm
from normlab.recipe import NORMS as NORM_SPECS
from normlab.recipe import Recipe
from normlab.recipe.augment import Cutout as CutoutSpec
from normlab.records import TrialResult
from normlab.regularizers import DROPOUTS, Dropout, clip_adaptively
from normlab.train import Finished, train
from normlab.train import optimizer as optimizer_module
from normlab.train.liveness import RandomnessWatcher, UpdateWatcher

BASE = {"data": "digits", "model": "digits-small", "epochs": 2, "lr": 0.05, "batch_size": 64}
GROUPED = {
    "ghost_batch": "splits",
    "group": "groups",
    "evonorm_s0": "groups",
    "torch_group": "groups",
}


def result(values: dict[str, object], *, probes: bool = True) -> TrialResult:
    recipe = Recipe.parse({**BASE, **values})
    *_, end = train(recipe, 0, splits(recipe), probes=probes)
    assert isinstance(end, Finished)
    return end.result


def refused(values: dict[str, object]) -> str:
    """Why the trial is invalid; it stops after its first epoch."""
    found = result(values)
    assert found.state == "invalid"
    assert found.epochs == 1
    assert found.reason is not None
    return found.reason


def named(kind: str) -> object:
    return {"kind": kind, GROUPED[kind]: 4} if kind in GROUPED else kind


# -- no false alarm ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NORM_SPECS)
def test_an_honest_trial_of_every_norm_is_live(kind: str) -> None:
    values = {"norm": named(kind), "dropout": 0.1, "l1": 1e-4, "l2": 1e-3, "agc": 0.02, "epochs": 1}
    found = result(values)
    assert found.state == "complete"
    assert {check.name for check in found.checks} == {
        "norm",
        "dropout",
        "l1",
        "l2",
        "agc",
        "precision",
    }


HONEST: list[dict[str, object]] = [
    {"dropout": {"kind": "spatial_dropout", "p": 0.3}},
    {"dropout": {"kind": "drop_block", "p": 0.2, "block_size": 3}},
    {"dropout": {"p": [0.1, 0.4], "slots": [3, 1]}},
    {"norm": {"kind": "ghost_batch", "ghost_size": 16}},
    {"norm": {"kind": "group", "channels_per_group": 5}},
    {"l1": {"strength": 1e-4, "roles": "all"}, "weight_decay": 0.01, "optimizer": "adamw"},
    {"clip_grad_norm": 0.1},
    {"agc": {"clip": 0.01, "roles": "all", "must_clip": True}},
    {"norm": "batch_instance", "precision": "bfloat16", "activation": "gelu"},
    {"augment": ["horizontal_flip", {"kind": "cutout", "size": 3, "copies": 2}]},
    {"augment": [{"kind": "cutout", "size": 4}, "mixup", "label_smoothing"]},
    {"augment": [{"kind": "rotation", "degrees": 0}, {"kind": "crop", "padding": 1}]},
    {"batch_size": 2000},
    {"batch_size": 1, "norm": "layer", "dropout": 0.03, "validation": 1100},
    # From a review: each of these was called invalid once.
    {"model": {"kind": "resnet", "n": 1, "width": 4}, "batch_size": 8, "stochastic_depth": 0.05},
    {"weight_decay": 5e-4, "schedule": "one_cycle", "optimizer": "adamw"},
    {"weight_decay": 5e-4, "schedule": "cosine", "batch_size": 4},
    {"l2": {"strength": 1e-7, "roles": "all"}},
    {"batch_size": 2, "augment": ["cutmix"], "validation": 1100},
    {"dropout": {"kind": "spatial_dropout", "p": 0.05}, "activation": "relu", "batch_size": 8},
]


@pytest.mark.parametrize("values", HONEST, ids=str)
def test_an_honest_trial_is_live(values: dict[str, object]) -> None:
    found = result({**values, "epochs": 1})
    assert found.reason is None
    assert found.state == "complete"


@pytest.mark.parametrize(
    "values",
    [{"dropout": 0.2, "norm": "batch_instance", "l2": 1e-3, "agc": 0.02}, {"norm": "batch_renorm"}],
    ids=str,
)
def test_the_probes_change_no_weight(values: dict[str, object]) -> None:
    with_probes, without = result(values), result(values, probes=False)
    assert with_probes.weights_sha256 == without.weights_sha256
    assert len(with_probes.checks) > len(without.checks)


# -- the sources' failures --------------------------------------------------------------------


def plant_model(monkeypatch: pytest.MonkeyPatch, change: Callable[[ConvNet], None]) -> None:
    def planted(slots: Slots, shape: tuple[int, int, int], num_classes: int) -> ConvNet:
        net = digits_small(slots, shape, num_classes)
        change(net)
        return net

    monkeypatch.setitem(MODELS, "digits-small", planted)


def never_in_training_mode(net: ConvNet) -> None:
    net.train = lambda mode=True: nn.Module.train(net, False)  # type: ignore[method-assign,misc]


def test_a_model_called_without_its_training_flag_drops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_model(monkeypatch, never_in_training_mode)
    assert "eval mode in the training step" in refused({"dropout": 0.2, "norm": "none"})


def test_batch_norm_in_eval_mode_while_training_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_model(monkeypatch, never_in_training_mode)
    assert "each computes" in refused({"norm": "batch"})


def test_a_batch_norm_left_in_an_arm_without_norm_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_one(net: ConvNet) -> None:
        net.layers.add_module("pool", nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(16)))

    plant_model(monkeypatch, leave_one)
    assert "declared 0 none; found 0 of this kind, 1 BatchNorm2d" in refused({"norm": "none"})
    assert "3 of this kind, 1 BatchNorm2d" in refused({"norm": "layer"})


def test_a_norm_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_model(monkeypatch, lambda net: net.layers.add_module("norm2", nn.ReLU()))
    assert "declared 3 batch; found 2 of this kind" in refused({"norm": "batch"})


def test_a_norm_that_never_runs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bypassed(ConvNet):
        def forward(self, x: Tensor) -> Tensor:
            for name, layer in self.layers.named_children():
                x = torch.relu(x) if name == "norm2" else layer(x)
            return x

    def bypass(net: ConvNet) -> None:
        net.__class__ = Bypassed

    plant_model(monkeypatch, bypass)
    assert "layers.norm2 never ran" in refused({"norm": "layer"})


class FrozenGate(BatchInstanceNorm):
    gate = "made_anew"

    @property
    def made_anew(self) -> Tensor:
        return nn.Parameter(self.rho.detach().clone())


def test_a_gate_made_anew_in_forward_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NORMS, "batch_instance", FrozenGate)
    assert "its gates are learned; found 0 of 3 get a gradient" in refused(
        {"norm": "batch_instance"}
    )


class BatchInDisguise(BatchInstanceNorm):
    gate = "all_batch"

    @property
    def all_batch(self) -> Tensor:
        return torch.ones_like(self.rho)


def test_a_gate_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NORMS, "batch_instance", BatchInDisguise)
    assert "gates are learned" in refused({"norm": "batch_instance"})


def test_gates_that_are_not_in_the_optimizer_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = optimizer_module._groups

    def without_gates(model: nn.Module) -> list[dict[str, object]]:
        return [group for group in whole(model) if group["lr_factor"] == 1.0]

    monkeypatch.setattr(optimizer_module, "_groups", without_gates)
    assert "not each is in the optimizer once" in refused({"norm": "batch_instance"})


class OneSplit(GhostBatchNorm):
    def sizes(self, images: int, pixels: int) -> tuple[int, ...]:
        return (images,)


def test_splits_unlike_the_declared_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NORMS, "ghost_batch", OneSplit)
    reason = refused({"norm": {"kind": "ghost_batch", "splits": 4}})
    assert "declared 4 splits; found 1 of 64 images" in reason
    assert "each computes" in reason


def test_more_splits_than_a_small_data_set_fills_are_found() -> None:
    # 10 training images fit one batch of 64: 8 splits of 64 become 5 of 2.
    values = {"norm": {"kind": "ghost_batch", "splits": 8}, "validation": 1188}
    assert "declared 8 splits; found 5 of 2 images" in refused(values)


class NeverOpens(BatchRenorm):
    progress = property(lambda self: 0.0, lambda self, value: None)  # type: ignore[assignment]


def test_limits_that_never_open_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NORMS, "batch_renorm", NeverOpens)
    assert "follows the training's progress" in refused({"norm": "batch_renorm"})


class InstanceInDisguise(BatchNorm):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(nn.functional.instance_norm(x, weight=self.weight, bias=self.bias))


def test_a_layer_that_computes_another_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NORMS, "batch", InstanceInDisguise)
    assert "0 of 3 do in the first step" in refused({"norm": "batch"})


# -- precision --------------------------------------------------------------------------------


def test_the_layers_that_ran_in_bfloat16_are_counted() -> None:
    values = {"precision": "bfloat16", "model": {"kind": "resnet", "n": 1, "width": 4}}
    (check,) = [c for c in result({**values, "epochs": 1}).checks if c.name == "precision"]
    assert check.declared == "bfloat16 in convolutions and linear layers, float32 weights"
    assert check.found == (
        "7 of 7 convolutions, 1 of 1 linear layers and 7 of 7 norms in bfloat16; "
        "weights, statistics, loss and optimizer state float32"
    )
    assert check.live


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_other_precisions_are_confirmed(precision: str) -> None:
    values = {"precision": precision, "norm": "layer", "momentum": 0.0, "epochs": 1}
    (check,) = [c for c in result(values).checks if c.name == "precision"]
    assert check.declared == f"{precision} throughout"
    assert check.found == (
        f"3 of 3 convolutions, 1 of 1 linear layers and 3 of 3 norms in {precision}; "
        f"weights and loss {precision}"
    )
    assert check.live


def in_float32(net: ConvNet) -> None:
    class Wide(ConvNet):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", enabled=False):
                return super().forward(x)

    net.__class__ = Wide


def test_a_model_that_leaves_bfloat16_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_model(monkeypatch, in_float32)
    reason = refused({"precision": "bfloat16"})
    assert "0 of 3 convolutions, 0 of 1 linear layers and 0 of 3 norms in bfloat16" in reason
    assert "layers.conv1 computed in float32" in reason


def partly_in_float32(net: ConvNet) -> None:
    class Wide(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())

    net.head.__class__ = Wide


def test_a_model_that_is_in_bfloat16_in_part_is_live_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_model(monkeypatch, partly_in_float32)
    found = result({"precision": "bfloat16", "epochs": 1})
    assert found.state == "complete"
    (check,) = [c for c in found.checks if c.name == "precision"]
    assert "3 of 3 convolutions, 0 of 1 linear layers" in check.found


def narrow_in_float32(net: ConvNet) -> None:
    class Narrow(ConvNet):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    net.__class__ = Narrow


def test_a_model_that_is_not_in_float32_where_that_is_declared_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_model(monkeypatch, narrow_in_float32)
    reason = refused({})
    assert "precision: declared float32 throughout; found 0 of 3 convolutions" in reason
    assert "layers.conv1 computed in bfloat16, and 6 more" in reason


def narrow_weights(net: ConvNet) -> None:
    net.float = net.to = lambda *_, **__: nn.Module.bfloat16(net)  # type: ignore[method-assign]


def test_master_weights_that_are_narrow_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_model(monkeypatch, narrow_weights)
    reason = refused({"precision": "bfloat16", "norm": "torch_batch"})
    assert "layers.conv1.weight is bfloat16, and " in reason


def test_float32_products_with_fewer_bits_are_found() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        reason = refused({})
        assert result({"precision": "float64", "epochs": 1}).state == "complete"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert "torch.set_float32_matmul_precision is 'medium'" in reason


class ByHand(ConvNet):
    """The same net, its convolutions and head by torch's functions."""

    def forward(self, x: Tensor) -> Tensor:
        for _name, layer in self.layers.named_children():
            if isinstance(layer, nn.Conv2d):
                x = nn.functional.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)
            elif isinstance(layer, nn.Linear):
                x = nn.functional.linear(x, layer.weight, layer.bias)
            else:
                x = layer(x)
        return x


def test_layers_that_only_lend_their_weights_are_no_proof_against_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_model(monkeypatch, lambda net: setattr(net, "__class__", ByHand))
    found = result({"precision": "bfloat16", "epochs": 1, "norm": "layer"})
    assert found.state == "complete"
    (check,) = [c for c in found.checks if c.name == "precision"]
    assert "0 of 3 convolutions, " in check.found
    assert "3 of 3 norms in bfloat16" in check.found


# -- dropout ----------------------------------------------------------------------------------


class NeverDrops(Dropout):
    def drop(self, x: Tensor) -> Tensor:
        return x


class AlwaysTheSame(Dropout):
    def drop(self, x: Tensor) -> Tensor:
        self.generator = torch.Generator().manual_seed(0)
        return super().drop(x)


class AlsoInEval(Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x)


class TwiceAsMuch(Dropout):
    def drop(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 2 * self.p)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (NeverDrops, "dropped nothing in training"),
        (AlwaysTheSame, "dropped the same in two steps"),
        (AlsoInEval, "was on in evaluation"),
        (TwiceAsMuch, "where p is 0.2"),
    ],
)
def test_dropout_that_is_not_what_is_declared_is_found(
    layer: type[Dropout], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DROPOUTS, "dropout", layer)
    assert words in refused({"dropout": 0.2})


@pytest.mark.parametrize(("p", "shared"), [(0.2, 20), (0.03, 100), (0.95, 100)])
def test_masks_that_show_on_few_values_are_no_finding(p: float, shared: int) -> None:
    # Nearly dead activations, as in a net without norms: two masks may agree on what is left of them.
    model = nn.Sequential(AlwaysTheSame(p))
    recipe = Recipe.model_validate({"data": "digits", "model": "digits-small", "dropout": p})
    watcher = RandomnessWatcher(recipe, model)
    first, second = torch.zeros(2, 4, 1000)
    first[:, :500], second[:, 500 - shared // 4 :] = 1.0, 1.0
    model(first)
    model(second)
    watcher.evaluating()
    model.eval()(first)
    assert [check.live for check in watcher.conclude()] == [True]
    second[:, : 500 - shared // 4] = 1.0
    watcher = RandomnessWatcher(recipe, model.train())
    model(second)
    model(second)
    watcher.evaluating()
    model.eval()(first)
    assert [check.found for check in watcher.conclude()] == ["0 dropped the same in two steps"]


def test_dropout_that_stands_nowhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(net: ConvNet) -> None:
        for index in (1, 2, 3):
            net.layers.add_module(f"dropout{index}", nn.Identity())

    plant_model(monkeypatch, without)
    assert "no layer of the model drops anything" in refused({"dropout": 0.2})


# -- updates ----------------------------------------------------------------------------------


def test_a_penalty_on_no_parameter_is_found() -> None:
    reason = refused({"l1": {"strength": 1e-3, "roles": ["gate"]}, "norm": "batch"})
    assert "l1: declared 0.001 on gate; found acts on 0 of 0 parameters" in reason


@pytest.mark.parametrize("key", ["l1", "l2", "weight_decay"])
def test_a_penalty_that_spares_a_weight_or_hits_a_norm_is_found(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = optimizer_module.select
    values: dict[str, object] = {key: 0.01}
    monkeypatch.setattr(optimizer_module, "select", lambda model, wanted: select(model, wanted)[1:])
    assert "not as declared on layers.conv1.weight" in refused(values)
    monkeypatch.setattr(optimizer_module, "select", lambda model, wanted: list(model.parameters()))
    assert "; also on " in refused(values)


def test_clipping_over_the_wrong_axes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def hwio(weights: list[nn.Parameter], clip: float, eps: float) -> Tensor:
        for weight in weights:  # norms per tap instead of per output unit: the limit is far higher
            norm = weight.grad.norm(dim=0, keepdim=True)  # type: ignore[union-attr]
            limit = clip * weight.detach().norm(dim=0, keepdim=True).clamp_min(eps)
            weight.grad.mul_((limit / norm.clamp_min(1e-6)).clamp_max(1))  # type: ignore[union-attr]
        return torch.ones(())

    monkeypatch.setattr(optimizer_module, "clip_adaptively", hwio)
    assert "agc: declared 0.001" in refused({"agc": 0.001})


def test_clipping_the_head_too_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    net: list[nn.Module] = []
    plant_model(monkeypatch, net.append)

    def everything(weights: list[nn.Parameter], clip: float, eps: float) -> Tensor:
        return clip_adaptively(list(net[0].parameters()), clip, eps)

    monkeypatch.setattr(optimizer_module, "clip_adaptively", everything)
    assert "also on layers.head" in refused({"agc": 0.001})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("add_l1_gradient", {"l1": 0.01}),
        ("add_l2_gradient", {"l2": 0.01}),
        ("decay", {"weight_decay": 0.01}),
    ],
)
def test_a_penalty_of_another_strength_is_found(
    name: str, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(optimizer_module, name)

    def half(weights: list[nn.Parameter], strength: float, *rest: float) -> None:
        real(weights, strength / 2, *rest)

    monkeypatch.setattr(optimizer_module, name, half)
    assert "not as declared" in refused(values)


@pytest.mark.parametrize("key", ["l1", "l2"])
def test_a_penalty_that_nearly_cancels_the_gradient_raises_no_alarm(key: str) -> None:
    recipe = Recipe.parse({**BASE, key: 0.01})
    net = build(recipe, (1, 8, 8), 10).model
    for parameter in net.parameters():
        weight = parameter.detach()
        penalty = weight.sign() if key == "l1" else weight
        parameter.grad = -0.01 * penalty * (1 + 1e-6 * torch.randn_like(weight))
    watcher = UpdateWatcher(recipe, net, lambda: 0.1)
    optimizer_module.Updater(recipe, net, 1).step(0, watcher.updated)
    assert [check.live for check in watcher.conclude()] == [True]


EXPLODES = {"lr": 1e20, "norm": "none", "epochs": 1}


@pytest.mark.parametrize(
    "values",
    [{"dropout": 0.2}, {"l2": 1e-4}, {"weight_decay": 0.1}, {"agc": 1e6}, {"clip_grad_norm": 1e30}],
    ids=str,
)
def test_a_training_that_explodes_is_a_finding_and_not_invalid(values: dict[str, object]) -> None:
    found = result({**EXPLODES, **values})
    assert found.reason is None
    assert found.state == "diverged"


def test_agc_that_must_clip_and_never_does_is_invalid() -> None:
    found = result({"agc": {"clip": 1e6, "must_clip": True}})
    assert found.state == "invalid"
    assert "0.000 to 0.000 of the units clipped" in str(found.reason)
    assert result({"agc": {"clip": 1e6}}).state == "complete"


def test_a_norm_of_the_gradient_above_its_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    none = torch.zeros(())
    monkeypatch.setattr(optimizer_module, "clip_by_norm", lambda weights, limit: none)
    assert "clip_grad_norm: declared at most 0.001" in refused({"clip_grad_norm": 0.001})


# -- rules that may rest ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "acted", "found"),
    [
        ({"clip_grad_norm": 1e6}, False, "0.000 to 0.000 of the steps clipped"),
        ({"clip_grad_norm": 1e-3}, True, "1.000 to 1.000 of the steps clipped"),
        ({"agc": 1e6}, False, "0.000 to 0.000 of the units clipped"),
        ({"agc": 1e-4}, True, "of the units clipped"),
        ({"schedule": {"kind": "step", "step_size": 2}}, False, "lr 0.05 in every step of 2"),
        ({"schedule": {"kind": "step", "step_size": 1}}, True, "0.005 to 0.05 at the ends of 2"),
        ({"schedule": "cosine"}, True, "at the ends of 2 epochs"),
        ({"early_stopping": 20}, False, "trained 2 of 2 epochs"),
        (
            {"early_stopping": {"patience": 1, "min_delta": 1e9}, "epochs": 4},
            True,
            "trained 2 of 4 epochs",
        ),
    ],
)
def test_whether_a_rule_ever_acted_is_told_and_makes_no_trial_invalid(
    values: dict[str, object], acted: bool, found: str
) -> None:
    ended = result(values)
    assert ended.state == "complete"
    (check,) = [check for check in ended.checks if check.acted is not None]
    assert (check.name, check.acted) == (next(iter(values)), acted)
    assert found in check.found


def test_a_training_that_diverged_was_not_ended_by_early_stopping() -> None:
    ended = result({"early_stopping": 1, "epochs": 4, "lr": 1e12, "norm": "none"})
    assert ended.state == "diverged"
    (check,) = [check for check in ended.checks if check.name == "early_stopping"]
    assert check.acted is False


# -- augmentation -----------------------------------------------------------------------------

CUTOUT = {"augment": [{"kind": "cutout", "size": 4}]}


def test_a_mask_that_is_never_applied_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cutout, "apply", lambda self, batch, generator, pixels: batch)
    reason = refused(CUTOUT)
    assert "the model's images equal the stored ones" in reason
    assert "hides 0.0000 of an image on average, 0.1914 expected" in reason


def test_a_mask_of_another_size_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Cutout.__init__

    def smaller(self: Cutout, spec: CutoutSpec) -> None:
        make(self, spec.model_copy(update={"size": 3}))
        self.spec, self.mask = spec, self.spec

    apply = Cutout.apply

    def by_the_mask(self: Cutout, *args: object) -> object:
        spec, self.spec = self.spec, self.mask
        try:
            return apply(self, *args)  # type: ignore[arg-type]
        finally:
            self.spec = spec

    monkeypatch.setattr(Cutout, "__init__", smaller)
    monkeypatch.setattr(Cutout, "apply", by_the_mask)
    assert "0.1914 expected" in refused(CUTOUT)


def test_augmented_images_that_the_model_does_not_get_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Pipeline, "__call__", lambda self, images, labels, generator: Batch(images, labels)
    )
    assert "equal the stored ones" in refused({"augment": ["horizontal_flip"]})


def test_one_augmentation_of_several_that_does_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HorizontalFlip, "apply", lambda self, batch, generator, pixels: batch)
    reason = refused({"augment": ["horizontal_flip", {"kind": "crop", "padding": 1}]})
    assert "declared horizontal_flip; found changes 0 of 256 images" in reason
    assert "equal the stored ones" not in reason


def test_copies_that_are_not_made_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Pipeline.__call__

    def once(self: Pipeline, images: Tensor, labels: Tensor, source: torch.Generator) -> Batch:
        batch = whole(self, images, labels, source)
        return Batch(batch.images[: len(images)], batch.labels[: len(images)])

    monkeypatch.setattr(Pipeline, "__call__", once)
    values = {"augment": [{"kind": "cutout", "size": 4, "copies": 3}]}
    assert "3 copies; found" in refused(values)

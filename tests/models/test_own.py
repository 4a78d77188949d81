"""A model of the user's by import path: made, checked, given the study's norm, trained."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from normlab.data import splits
from normlab.errors import UserError
from normlab.models import Built, build, head_of, layer_table, parameter_count, roles
from normlab.norms import BatchNorm, EvoNormB0, GroupNorm, NoNorm
from normlab.recipe import Recipe, trial_id
from normlab.regularizers import Dropout
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train import EpochDone, Finished, load_checkpoint, save_checkpoint, train
from normlab.train.streams import initialize

PLACE = "tests.models.own"
GREY8 = (1, 8, 8)


def recipe(name: str, norm: object = "batch", **values: Any) -> Recipe:
    ours = {key: values.pop(key) for key in list(values) if key in Recipe.model_fields}
    model = {"kind": f"{PLACE}:{name}" if ":" not in name else name, **values}
    base = {"data": "digits", "batch_size": 64, "epochs": 2, "lr": 0.05}
    return Recipe.parse({**base, "model": model, "norm": norm, **ours})


def made(name: str, norm: object = "batch", **values: Any) -> Built:
    return build(recipe(name, norm, **values), GREY8, 10)


def test_it_gets_channels_and_classes_where_its_signature_takes_them() -> None:
    model = build(recipe("Net"), (3, 8, 8), 7).model
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 7)
    assert made("make_net", width=4).model(torch.zeros(2, *GREY8)).shape == (2, 10)
    assert made("Bare", norm="none").model(torch.zeros(2, *GREY8)).shape == (2, 10)


def test_a_bare_path_is_enough() -> None:
    parsed = Recipe.parse({"data": "digits", "model": f"{PLACE}:Net"})
    assert parsed.canonical()["model"] == {"kind": f"{PLACE}:Net"}
    other = Recipe.parse({"data": "digits", "model": {"kind": f"{PLACE}:Net", "width": 4}})
    assert trial_id(parsed, 0, "x") != trial_id(other, 0, "x")


def test_an_entry_point_s_name_stands_for_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("net-of-a-package", f"{PLACE}:Net", "normlab.models")
    monkeypatch.setattr("normlab.own.entry_points", lambda group: [point])
    parsed = Recipe.parse({"data": "digits", "model": "net-of-a-package"})
    assert type(build(parsed, GREY8, 10).model).__name__ == "Net"
    with pytest.raises(UserError, match="unknown kind 'net-of-another'"):
        Recipe.parse({"data": "digits", "model": "net-of-another"})


def test_its_norms_become_the_study_s() -> None:
    built = made("Net", norm={"kind": "group", "groups": 3})
    norms = [module for module in built.model.modules() if isinstance(module, GroupNorm)]
    assert [norm.groups for norm in norms] == [2, 2]
    assert built.norms == 2
    assert built.notes == (
        "features.1: 2 groups, the most that divide 8 channels",
        "features.6: 2 groups, the most that divide 16 channels",
    )
    assert not any(isinstance(module, nn.BatchNorm2d) for module in built.model.modules())


def test_the_recipe_s_options_hold_and_not_the_old_norm_s() -> None:
    built = made("Net", norm={"kind": "batch", "momentum": 0.3, "eps": 0.01})
    norms = [module for module in built.model.modules() if isinstance(module, BatchNorm)]
    assert [(norm.momentum, norm.eps) for norm in norms] == [(0.3, 0.01)] * 2


def test_a_norm_with_its_own_activation_takes_the_relu_out() -> None:
    model = made("Net", norm="evonorm_b0").model
    assert sum(isinstance(module, EvoNormB0) for module in model.modules()) == 2
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())


def test_none_leaves_no_norm() -> None:
    built = made("Net", norm="none")
    assert sum(isinstance(module, NoNorm) for module in built.model.modules()) == 2
    assert parameter_count(built.model) == 9 * (8 + 8 * 16) + 16 * 10 + 10


def test_dropout_draws_from_the_trial_s_stream() -> None:
    model = made("Net").model
    (dropout,) = [module for module in model.modules() if isinstance(module, Dropout)]
    assert dropout.p == 0.1
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "head"),
    [("Net", "fc"), ("Bare", "last"), ("Classifier", "classifier.3"), ("Convolutional", "to_logits"), ("Gained", "head")],
)  # fmt: skip
def test_the_head_is_found(name: str, head: str) -> None:
    model = made(name, norm="batch" if name == "Net" else "none").model
    assert head_of(model) is model.get_submodule(head)
    found = roles(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    heads = {parameter for parameter, role in found.items() if role.startswith("head")}
    assert heads == {f"{head}.weight", f"{head}.bias"}
    assert not any("normlab" in key for key in model.state_dict())


def test_parameters_of_its_own_have_their_roles() -> None:
    assert roles(made("Gained", norm="none").model)["by.gain"] == "norm_gain"


def test_all_weights_come_from_the_seed() -> None:
    def drawn(seed: int) -> dict[str, torch.Tensor]:
        model = made("Gained", norm="none").model
        initialize(model, seed)
        return model.state_dict()

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = drawn(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = drawn(0), drawn(1)
    assert list(first) == ["head.weight", "head.bias", "by.gain"]
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert not torch.equal(value, other[name])


def test_the_layer_table_of_a_plain_model() -> None:
    rows = layer_table(made("Net").model, GREY8)
    assert [(row.name, row.map_size, row.receptive_field) for row in rows] == [
        ("features.0", 8, 3),
        ("features.1", 8, 3),
        ("features.3", 4, 4),
        ("features.5", 4, 8),
        ("features.6", 4, 8),
        ("fc", 1, 8),
    ]


def test_it_trains_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    made = recipe("Net", norm={"kind": "group", "groups": 4}, epochs=3)
    events = list(train(made, 0, splits(made)))
    end = events[-1]
    assert isinstance(end, Finished)
    stopped = train(made, 0, splits(made))
    first = next(stopped)
    assert isinstance(first, EpochDone)
    save_checkpoint(first.checkpoint, tmp_path / "c.pt")
    *_, again = train(made, 0, splits(made), resume=load_checkpoint(tmp_path / "c.pt"))
    assert isinstance(again, Finished)
    assert again.result.weights_sha256 == end.result.weights_sha256
    losses = [event.record.train_loss or 9 for event in events if isinstance(event, EpochDone)]
    assert losses[-1] < losses[0] - 0.1


def test_a_study_of_it_can_be_planned() -> None:
    base = {"data": "digits", "model": f"{PLACE}:Net", "epochs": 1}
    study = Study.parse(
        {
            "name": "s",
            "question": "?",
            "base": base,
            "factors": {"norm": ["none", "batch"]},
            "seeds": 1,
        }
    )
    counts = [arm.parameters for arm in make_plan(study).record.arms]
    assert counts == [1394, 1394 + 2 * (8 + 16)]


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("Nte", {}, "model 'tests.models.own:Nte' cannot be imported"),
    ("nosuch.module:Net", {}, "cannot be imported: ModuleNotFoundError"),
    ("tests.models.own:", {}, "an import path is package.module:Class"),
    ("not_callable", {}, "is 3: a torch.nn.Module class is needed"),
    ("no_module", {}, "makes int: a torch.nn.Module is needed"),
    ("Broken", {}, 'cannot be made: KeyError: "a mistake of the user\'s"'),
    ("Net", {"widht": 4}, "unknown option of model .*'widht'. Did you mean 'width'?"),
    ("Net", {"width": "4"}, "cannot be made: TypeError"),
    ("Net", {"num_classes": 12}, r"gives \(2, 12\) for 2 images: logits \(2, 10\) are needed"),
    ("Net", {"in_channels": 3}, r"cannot take images of 1x8x8 .*, in 'features.0': RuntimeError"),
    ("TwoOutputs", {"norm": "none"}, "gives tuple for 2 images"),
    ("Bare", {}, "no norm over maps that norm 'batch' could replace: say norm: none"),
    ("FunctionalDropout", {"norm": "none"}, "draws from torch's global random state"),
    ("Lazy", {"norm": "none"}, "has lazy layers"),
    ("Gained", {"norm": "none", "by": "NoRole"}, "parameter 'by.gain' of NoRole has no known role"),
    ("Gained", {"norm": "none", "by": "OddRole"}, "'by.gain' of OddRole has no known role"),
    ("Gained", {"norm": "none", "by": "NoReset"}, "'gain' of NoReset: its class needs a method"),
    ("Gained", {"norm": "none", "by": "Biased"}, "initialization is known for 'bias' of Biased"),
    ("Residual", {"norm": "evonorm_b0"}, "norm: norm 'evonorm_b0' contains its activation"),
    ("Net", {"norm": "scaled_ws"}, "norm 'scaled_ws' is made of convolutions"),
    ("Net", {"activation": "gelu"}, "activation is 'gelu': .* brings its own"),
    ("Net", {"dropout": 0.2}, "has no slot 1; it has none"),
    ("Net", {"stochastic_depth": 0.2}, "has no residual branches"),
]


@pytest.mark.parametrize(("name", "values", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_a_mistake_is_said_and_no_traceback(
    name: str, values: dict[str, Any], message: str
) -> None:
    norm = values.get("norm", "batch")
    with pytest.raises(UserError, match=message):
        made(name, **{**values, "norm": norm})


def test_images_that_a_norm_cannot_stand_on_are_refused_by_the_plan() -> None:
    base = {"data": "digits", "model": f"{PLACE}:Net", "norm": "instance", "epochs": 1}
    shape = (1, 2, 2)  # pooled to 1x1 in front of the second norm
    built = build(Recipe.parse(base), shape, 10)
    with pytest.raises(UserError, match=r"layer 'features\.6' cannot take a map of 16x1x1"):
        layer_table(built.model, shape)

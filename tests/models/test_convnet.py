"""Parameter counts against hand arithmetic, and the layer table of seed 002."""

import pytest
import torch

from normlab.errors import UserError
from normlab.models import build, layer_table, parameter_count, roles
from normlab.recipe import Recipe

GREY28, GREY8 = (1, 28, 28), (1, 8, 8)

# Convolutions without bias, kernel x kernel x in x out; an affine norm has 2 per channel.
CONVS_7288 = 9 * (1 * 8 + 8 * 8 + 8 * 8 + 8 * 16 + 16 * 16 + 16 * 16) + 16 * 10
CONVS_7704 = 9 * (1 * 8 + 8 * 16 + 8 * 16 + 16 * 16 + 16 * 16) + 16 * 8 + 16 * 16 + 16 * 10
CONVS_DIGITS = 9 * (1 * 16 + 16 * 16 + 16 * 32) + 32 * 10 + 10

COUNTS = {
    ("mnist-7288", "batch"): CONVS_7288 + 2 * (3 * 8 + 3 * 16),
    ("mnist-7288", "none"): CONVS_7288,
    ("mnist-7704", "batch"): CONVS_7704 + 2 * (8 + 5 * 16),
    ("mnist-7704", "none"): CONVS_7704,
    ("digits-small", "batch"): CONVS_DIGITS + 2 * (16 + 16 + 32),
    ("digits-small", "none"): CONVS_DIGITS + (16 + 16 + 32),  # conv_bias: auto
}


def made(model: str, **values: object) -> Recipe:
    return Recipe.parse({"data": "mnist", "model": {"kind": model}, **values})


@pytest.mark.parametrize(("model", "norm"), COUNTS)
def test_parameters_equal_hand_counts(model: str, norm: str) -> None:
    shape = GREY8 if model == "digits-small" else GREY28
    net = build(made(model, norm=norm), shape, 10).model
    assert parameter_count(net) == COUNTS[model, norm]
    assert net(torch.zeros(3, *shape)).shape == (3, 10)


def test_the_published_counts() -> None:
    assert COUNTS["mnist-7288", "batch"] == 7288
    assert COUNTS["mnist-7704", "batch"] == 7704


def test_every_affine_norm_has_the_same_number_of_parameters() -> None:
    found = {
        parameter_count(build(made("mnist-7288", norm=norm), GREY28, 10).model)
        for norm in ("batch", "instance", "layer", {"kind": "group", "groups": 4})
    }
    assert found == {7288}


def test_the_layer_table_of_seed_002() -> None:
    net = build(made("mnist-7288"), GREY28, 10, device="meta").model
    rows = layer_table(net, GREY28)
    columns = [
        (r.kernel, r.padding, r.stride, r.map_size, r.receptive_field, r.parameters) for r in rows
    ]
    norm = (None, None, None)
    assert columns == [
        (3, 0, 1, 26, 3, 72),
        (*norm, 26, 3, 16),
        (3, 0, 1, 24, 5, 576),
        (*norm, 24, 5, 16),
        (3, 0, 1, 22, 7, 576),
        (*norm, 22, 7, 16),
        (2, 0, 2, 11, 8, 0),
        (3, 0, 1, 9, 12, 1152),
        (*norm, 9, 12, 32),
        (3, 0, 1, 7, 16, 2304),
        (*norm, 7, 16, 32),
        (3, 0, 1, 5, 20, 2304),
        (*norm, 5, 20, 32),
        (1, 0, 1, 5, 20, 160),
        (5, 0, 1, 1, 28, 0),
    ]
    assert rows[0].formula == "3x3x1x8"
    assert rows[1].formula == "2x8"
    assert sum(row.parameters for row in rows) == 7288


def test_source_c_puts_the_norm_behind_the_activation_and_dropout_behind_that() -> None:
    net = build(made("mnist-7704", dropout=0.03), GREY28, 10).model
    names = [name for name, _ in net.layers.named_children()]  # type: ignore[operator, union-attr]
    assert names[:4] == ["conv1", "activation1", "norm1", "dropout1"]


def test_source_c_s_group_norm_has_2_groups_first_and_4_elsewhere() -> None:
    norm = {"kind": "group", "channels_per_group": 4}
    built = build(made("mnist-7704", norm=norm), GREY28, 10)
    assert [
        m.groups for m in built.model.modules() if hasattr(m, "groups") and hasattr(m, "eps")
    ] == [
        2,
        4,
        4,
        4,
        4,
        4,
    ]
    assert not built.notes


def test_a_group_count_that_does_not_fit_is_lowered_and_said() -> None:
    built = build(made("mnist-7288", norm={"kind": "group", "groups": 32}), GREY28, 10)
    assert built.notes == (
        "32 groups wanted of 8 channels: 8 groups given, which is instance norm",
        "32 groups wanted of 16 channels: 16 groups given, which is instance norm",
    )


def test_a_norm_that_cannot_stand_on_a_map_is_refused_with_the_place() -> None:
    net = build(made("mnist-7704", norm="instance"), GREY28, 10, device="meta").model
    with pytest.raises(UserError, match=r"layer 'norm7' cannot take a map of 16x1x1"):
        layer_table(net, GREY28)


def test_images_too_small_for_the_model_are_refused_with_the_place() -> None:
    net = build(made("mnist-7288"), GREY8, 10, device="meta").model
    with pytest.raises(UserError, match="layer 'conv4'"):
        layer_table(net, GREY8)


@pytest.mark.parametrize("model", ["mnist-7288", "mnist-7704", "digits-small"])
def test_every_parameter_has_one_role(model: str) -> None:
    values = {"data": "mnist", "model": {"kind": model, "conv_bias": "always"}}
    net = build(Recipe.parse(values), GREY28, 10).model
    found = roles(net)
    assert set(found) == {name for name, _ in net.named_parameters()}
    heads = [name for name, role in found.items() if role.startswith("head")]
    assert heads == ["layers.head.weight", "layers.head.bias"]
    assert {role for name, role in found.items() if "norm" in name} == {"norm_gain", "norm_bias"}
    assert {role for name, role in found.items() if "conv" in name} == {"weight", "bias"}


def test_a_parameter_without_a_role_is_an_error() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match="'scale' of Own has no known role"):
        roles(Own())

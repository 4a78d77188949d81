"""ResNet-50: counts by hand, every quirk of the published net, and what undoes it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.errors import UserError
from normlab.models import Built, build, layer_table, parameter_count
from normlab.norms import BatchNorm
from normlab.recipe import Recipe
from normlab.regularizers import Dropout

COLOR32 = (3, 32, 32)
PUBLISHED, CONTROLLED = "resnet50-as-published", "resnet50"

# (channels in, middle, out, blocks) of the four stages: 1x1, 3x3, 1x1, the first block projects.
STAGES = [(64, 64, 256, 3), (256, 128, 512, 4), (512, 256, 1024, 6), (1024, 512, 2048, 3)]
STEM = 7 * 7 * 3 * 64
FIRST = sum(into * mid + 9 * mid * mid + mid * out + into * out for into, mid, out, _ in STAGES)
OTHERS = sum((n - 1) * (out * mid + 9 * mid * mid + mid * out) for _, mid, out, n in STAGES)
BIASES = 64 + sum(n * (mid + mid + out) + out for _, mid, out, n in STAGES)
HEAD = 2048 * 10 + 10
BARE = STEM + FIRST + OTHERS + BIASES + HEAD

# A norm has a gain and a bias per channel.
SHORTCUTS = 2 * (256 + 512 + 1024 + 2048)
NARROW = 2 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512)
WIDE = 4 * NARROW

# norm slots, stem norm -> norm modules, parameters
COUNTS = {
    (0, "always"): (1 + 4, BARE + 2 * 64 + SHORTCUTS),
    (1, "always"): (1 + 4 + 16, BARE + 2 * 64 + SHORTCUTS + NARROW),
    (2, "always"): (1 + 4 + 32, BARE + 2 * 64 + SHORTCUTS + 2 * NARROW),
    (3, "always"): (1 + 4 + 48, BARE + 2 * 64 + SHORTCUTS + 2 * NARROW + WIDE),
    (0, "never"): (4, BARE + SHORTCUTS),  # the clipping runs
}


def made(kind: str = PUBLISHED, shape: tuple[int, int, int] = COLOR32, **values: Any) -> Built:
    """The model with the options given, on the meta device."""
    return build(parsed(kind, **values), shape, 10, device="meta")


def small(kind: str = PUBLISHED, shape: tuple[int, int, int] = COLOR32, **values: Any) -> nn.Module:
    """The model with four channels for sixty-four, so that it can run."""
    torch.manual_seed(0)
    return build(parsed(kind, width=4, **values), shape, 10).model


def parsed(kind: str, **values: Any) -> Recipe:
    ours = {"norm", "dropout", "stochastic_depth", "activation"}
    recipe = {key: value for key, value in values.items() if key in ours}
    model = {key: value for key, value in values.items() if key not in ours}
    return Recipe.parse({"data": "mnist", "model": {"kind": kind, **model}, **recipe})


def norms(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, BatchNorm)]


def dropouts(model: nn.Module, block: str) -> dict[str, float]:
    branch = model.get_submodule(f"layers.{block}.branch")
    return {n: m.p for n, m in branch.named_children() if isinstance(m, Dropout)}


def rows(kind: str = PUBLISHED, shape: tuple[int, int, int] = COLOR32, **values: Any) -> Any:
    table = layer_table(made(kind, shape, **values).model, shape)
    return {row.name: row for row in table}


def test_the_hand_counts_are_the_published_ones() -> None:
    assert [count for _, count in COUNTS.values()] == [
        23_509_770,
        23_517_322,
        23_524_874,
        23_555_082,
        23_509_642,
    ]
    assert BARE == 23_501_962


@pytest.mark.parametrize(("slots", "stem"), COUNTS)
def test_norms_and_parameters_as_published(slots: int, stem: str) -> None:
    built = made(norm_slots=slots, stem_norm=stem)
    modules, parameters = COUNTS[slots, stem]
    assert (len(norms(built.model)), built.norms) == (modules, modules)
    assert parameter_count(built.model) == parameters


def test_without_any_norm_as_published() -> None:
    built = made(norm="none")
    assert not norms(built.model)
    assert parameter_count(built.model) == BARE


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_controlled_slots_count_the_same_everywhere(slots: int) -> None:
    assert len(norms(made(CONTROLLED, norm_slots=slots).model)) == 1 + 4 + 16 * slots


def test_controlled_zero_slots_are_zero_norms() -> None:
    built = made(CONTROLLED, norm_slots=0)
    assert (norms(built.model), built.norms) == ([], 0)
    assert parameter_count(built.model) == parameter_count(made(CONTROLLED, norm="none").model)


def test_published_zero_slots_leave_norms_in_stem_and_shortcuts() -> None:
    assert norms(made(norm_slots=0).model) == [
        "layers.stem.norm",
        *(f"layers.stage{stage}.block1.shortcut.norm" for stage in (1, 2, 3, 4)),
    ]
    undone = made(norm_slots=0, stem_norm="auto", shortcut_norm="auto")
    assert not norms(undone.model)


def test_the_clipping_runs_had_no_stem_norm_but_kept_their_shortcuts_norms() -> None:
    names = norms(made(norm_slots=0, stem_norm="never").model)
    assert len(names) == 4
    assert all("shortcut" in name for name in names)


def test_the_published_stem_leaves_7x7_maps() -> None:
    found = rows()
    conv, pool = found["stem.conv"], found["stem.pool"]
    assert (conv.kernel, conv.padding, conv.stride, conv.map_size) == (7, 3, 2, 16)
    assert (pool.kernel, pool.padding, pool.stride, pool.map_size) == (3, 0, 2, 7)
    assert [found[f"stage{stage}.block1.add"].map_size for stage in (1, 2, 3, 4)] == [7, 4, 2, 1]


def test_the_controlled_stem_keeps_the_map() -> None:
    found = rows(CONTROLLED)
    conv = found["stem.conv"]
    assert (conv.kernel, conv.padding, conv.stride, conv.map_size) == (3, 1, 1, 32)
    assert "stem.pool" not in found
    assert [found[f"stage{stage}.block1.add"].map_size for stage in (1, 2, 3, 4)] == [32, 16, 8, 4]
    assert rows(CONTROLLED, stem="large", stem_pool="padded")["stem.pool"].map_size == 8


@pytest.mark.parametrize(("kind", "strided"), [(PUBLISHED, "conv1"), (CONTROLLED, "conv2")])
def test_the_stride_is_on_one_convolution(kind: str, strided: str) -> None:
    for choice in (None, "conv1", "conv2"):
        found = rows(kind, **({"stride_on": choice} if choice else {}))
        strides = {
            n: found[f"stage2.block1.branch.{n}"].stride for n in ("conv1", "conv2", "conv3")
        }
        assert strides == {"conv1": 1, "conv2": 1, "conv3": 1, (choice or strided): 2}


def test_published_convolutions_carry_biases_where_a_norm_follows() -> None:
    def biased(built: Built) -> set[bool]:
        convs = [module for module in built.model.modules() if isinstance(module, nn.Conv2d)]
        return {conv.bias is not None for conv in convs}

    assert biased(made()) == {True}
    assert biased(made(CONTROLLED)) == {False}
    assert biased(made(conv_bias="never", norm="none")) == {False}


def branches(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Output of every branch, by block."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith(".branch"):
            module.register_forward_hook(
                lambda _, __, y, name=name: found.update({name: y.detach()})  # type: ignore[misc]
            )
    model(x)
    return found


@pytest.mark.parametrize(
    ("kind", "values", "extra"),
    [
        (PUBLISHED, {}, True),
        (PUBLISHED, {"norm_slots": 2}, True),
        (PUBLISHED, {"activation_before_addition": False}, False),
        (CONTROLLED, {}, False),
    ],
)
def test_identity_blocks_activate_before_the_addition_as_published(
    kind: str, values: dict[str, Any], extra: bool
) -> None:
    for name, y in branches(small(kind, **values), torch.randn(8, *COLOR32)).items():
        identity = "block1" not in name
        assert bool(y.ge(0).all()) == (extra and identity), name


@pytest.mark.parametrize("kind", [PUBLISHED, CONTROLLED])
def test_every_block_activates_after_the_addition(kind: str) -> None:
    model = small(kind)
    seen: list[bool] = []
    for name, module in model.named_modules():
        if name.endswith(".leave"):
            module.register_forward_hook(lambda _, __, y: seen.append(bool(y.ge(0).all())))
    model(torch.randn(4, *COLOR32))
    assert seen == [True] * 16


def test_published_projection_blocks_have_no_third_dropout_slot() -> None:
    built = made(dropout={"p": 0.2, "slots": 3})
    assert dropouts(built.model, "stage2.block1") == {"dropout1": 0.2, "dropout2": 0.2}
    all_three = {"dropout1": 0.2, "dropout2": 0.2, "dropout3": 0.2}
    assert dropouts(built.model, "stage2.block2") == all_three
    alike = made(dropout={"p": 0.2, "slots": 3}, projection_dropout_slots=3)
    assert dropouts(alike.model, "stage2.block1") == all_three
    assert built.dropout_slots == (1, 2, 3)


def test_published_projection_blocks_take_the_second_and_third_of_three_probabilities() -> None:
    triple = {"p": [0.1, 0.2, 0.3]}
    built = made(dropout=triple)
    assert dropouts(built.model, "stage1.block2") == {
        "dropout1": 0.1,
        "dropout2": 0.2,
        "dropout3": 0.3,
    }
    assert dropouts(built.model, "stage1.block1") == {"dropout1": 0.2, "dropout2": 0.3}
    own = made(dropout=triple, projection_dropout_p="own")
    assert dropouts(own.model, "stage1.block1") == {"dropout1": 0.1, "dropout2": 0.2}
    controlled = made(CONTROLLED, dropout=triple).model
    assert dropouts(controlled, "stage1.block1") == dropouts(controlled, "stage1.block2")


@pytest.mark.parametrize("slots", [1, 2])
def test_the_shift_leaves_equal_probabilities_where_they_are(slots: int) -> None:
    model = made(dropout={"p": 0.5, "slots": slots}).model
    on = {"dropout1": 0.5, "dropout2": 0.5 if slots == 2 else 0.0}
    assert dropouts(model, "stage3.block1") == on
    assert dropouts(model, "stage3.block2") == {**on, "dropout3": 0.0}


def test_dropout_stands_behind_the_activation() -> None:
    names = [name for name, _ in made().model.get_submodule("layers.stage1.block2.branch").named_children()]  # fmt: skip
    assert names == ["conv1", "norm1", "dropout1", "conv2", "norm2", "dropout2", "conv3", "norm3", "dropout3", "depth"]  # fmt: skip


def test_the_final_pool_averages_the_pixels_there_are() -> None:
    pool = made().model.get_submodule("layers.pool")
    x = torch.arange(9.0).view(1, 1, 3, 3)
    # 0 1 | 2        windows of 4, 2, 2 and 1 pixels
    # 3 4 | 5
    # 6 7 | 8
    assert pool(x).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]
    assert pool(torch.full((1, 1, 1, 1), 3.0)).item() == 3.0


def test_a_larger_image_has_a_larger_head_as_published_and_not_controlled() -> None:
    # 96 -> 48 -> 23 -> 23, 12, 6, 3 -> 2x2 averages
    assert made(shape=(3, 96, 96)).model.get_parameter("layers.head.weight").shape == (10, 4 * 2048)
    pooled = made(shape=(3, 96, 96), final_pool="global")
    assert pooled.model.get_parameter("layers.head.weight").shape == (10, 2048)
    assert rows(shape=(3, 96, 96))["pool"].map_size == 2


def test_every_stage_has_its_blocks() -> None:
    names = [row.name for row in layer_table(made().model, COLOR32)]
    adds = [name for name in names if name.endswith(".add")]
    assert adds == [
        f"stage{stage}.block{block}.add"
        for stage, blocks in zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True)
        for block in range(1, blocks + 1)
    ]


def published(x: Tensor, state: dict[str, Tensor], *, norm_slots: int) -> Tensor:
    """The published net in plain functions, eval mode, batch norm at its running statistics."""

    def conv(y: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(y, state[f"{name}.weight"], state[f"{name}.bias"], **options)  # type: ignore[arg-type]

    def norm(y: Tensor, name: str) -> Tensor:
        parts = [state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(y, *parts)

    y = conv(F.pad(x, (3, 3, 3, 3)), "layers.stem.conv", stride=2)
    y = F.max_pool2d(F.relu(norm(y, "layers.stem.norm")), 3, 2)
    for stage, blocks in zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True):
        for block in range(1, blocks + 1):
            at = f"layers.stage{stage}.block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            z = conv(y, f"{at}.branch.conv1", stride=stride)
            z = F.relu(norm(z, f"{at}.branch.norm1") if norm_slots > 0 else z)
            z = conv(z, f"{at}.branch.conv2", padding=1)
            z = F.relu(norm(z, f"{at}.branch.norm2") if norm_slots > 1 else z)
            z = conv(z, f"{at}.branch.conv3")
            z = norm(z, f"{at}.branch.norm3") if norm_slots > 2 else z
            if block == 1:
                y = norm(conv(y, f"{at}.shortcut.conv", stride=stride), f"{at}.shortcut.norm")
            else:
                z = F.relu(z)
            y = F.relu(z + y)
    # The maps are 1x1: "same" averages of 2x2 are the pixel itself.
    return F.linear(y.flatten(1), state["layers.head.weight"], state["layers.head.bias"])


@pytest.mark.parametrize("norm_slots", [0, 2, 3])
def test_it_computes_what_the_description_says(norm_slots: int) -> None:
    model = small(norm_slots=norm_slots).double()
    x = torch.randn(8, *COLOR32, dtype=torch.float64)
    for _ in range(3):
        model(x)  # statistics that are no defaults
    model.eval()
    expected = published(x, dict(model.state_dict()), norm_slots=norm_slots)
    torch.testing.assert_close(model(x), expected)


def test_images_too_small_are_refused_with_the_place() -> None:
    built = made(shape=(3, 4, 4))
    with pytest.raises(UserError, match=r"layer 'stem\.pool' cannot take a map of 64x2x2"):
        layer_table(built.model, (3, 4, 4))


@pytest.mark.parametrize("slots", [-1, 4])
def test_a_slot_that_is_not_there_is_refused(slots: int) -> None:
    with pytest.raises(UserError, match=rf"model\.norm_slots is {slots}"):
        parsed(PUBLISHED, norm_slots=slots)

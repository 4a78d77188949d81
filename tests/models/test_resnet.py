"""ResNet 6n+2: counts by hand, shortcuts, and how every norm stands in its blocks."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.errors import UserError
from normlab.models import Built, build, layer_count, layer_table, parameter_count
from normlab.models.blocks import ALPHA
from normlab.models.residual import Scale
from normlab.norms import ACTIVATIONS, NORMS, BatchNorm, FilterResponseNorm, NoNorm, Norm
from normlab.norms.scaled_ws import ScaledActivation, ScaledWSConv2d
from normlab.recipe import Recipe
from normlab.regularizers import Dropout, StochasticDepth
from normlab.train.streams import initialize

COLOR32 = (3, 32, 32)

# n = 2: a stem, four convolutions of 16, then one that widens and three each of 32 and 64 channels.
CONVS_14 = 9 * (3 * 16 + 4 * 16 * 16 + 16 * 32 + 3 * 32 * 32 + 32 * 64 + 3 * 64 * 64)
CONVS_20 = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
NORMS_14 = 2 * (16 + 4 * 16 + 4 * 32 + 4 * 64)
NORMS_20 = 2 * (16 + 6 * 16 + 6 * 32 + 6 * 64)
BIASES_14 = NORMS_14 // 2
PROJECTIONS = 16 * 32 + 32 * 64

COUNTS: dict[str, tuple[dict[str, Any], int, int]] = {
    "n = 2, 25 classes": ({}, 25, CONVS_14 + NORMS_14 + 64 * 25 + 25),
    "n = 3, 10 classes": ({"n": 3}, 10, CONVS_20 + NORMS_20 + 64 * 10 + 10),
    "no norm": ({"norm": "none"}, 25, CONVS_14 + BIASES_14 + 64 * 25 + 25),
    "no norm slots": ({"norm_slots": 0}, 25, CONVS_14 + BIASES_14 + 64 * 25 + 25),
    "one norm slot": (
        {"norm_slots": 1},
        25,
        CONVS_14 + 2 * (16 + 2 * 16 + 2 * 32 + 2 * 64) + (2 * 16 + 2 * 32 + 2 * 64) + 64 * 25 + 25,
    ),
    "projection": (
        {"shortcut": "projection"},
        25,
        CONVS_14 + NORMS_14 + PROJECTIONS + 2 * (32 + 64) + 64 * 25 + 25,
    ),
    "projection without norms": (
        {"shortcut": "projection", "shortcut_norm": "never"},
        25,
        CONVS_14 + NORMS_14 + PROJECTIONS + (32 + 64) + 64 * 25 + 25,
    ),
    "pre-activation": (
        # Norms of what enters: 16 twice in stage 1, and once more each where a stage begins. The
        # stem's is behind the last block. A block's second convolution has a bias, as the stem.
        {"block": "pre"},
        25,
        CONVS_14
        + 2 * (4 * 16 + (16 + 3 * 32) + (32 + 3 * 64) + 64)
        + (16 + 2 * 16 + 2 * 32 + 2 * 64)
        + 64 * 25
        + 25,
    ),
}


def made(shape: tuple[int, int, int] = COLOR32, classes: int = 25, **values: Any) -> Built:
    ours = {"norm", "dropout", "stochastic_depth", "activation"}
    recipe = {key: value for key, value in values.items() if key in ours}
    model = {key: value for key, value in values.items() if key not in ours}
    torch.manual_seed(0)
    parsed = Recipe.parse({"data": "mnist", "model": {"kind": "resnet", **model}, **recipe})
    return build(parsed, shape, classes)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_equal_hand_counts(name: str) -> None:
    values, classes, count = COUNTS[name]
    assert parameter_count(made(classes=classes, **values).model) == count


def test_known_counts() -> None:
    # ResNet-20 with parameter-free shortcuts has 0.27 million parameters in table 6 of the paper.
    assert COUNTS["n = 2, 25 classes"][2] == 173_481
    assert COUNTS["n = 3, 10 classes"][2] == 269_722


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_it_has_6n_plus_2_weighted_layers(n: int) -> None:
    rows = layer_table(made(n=n).model, COLOR32)
    assert sum(row.kind in {"Conv2d", "Linear"} for row in rows) == 6 * n + 2
    assert layer_count(rows) == 6 * n + 2


def test_convolutions_of_shortcuts_make_it_no_deeper() -> None:
    rows = layer_table(made(shortcut="projection").model, COLOR32)
    assert sum(row.kind in {"Conv2d", "Linear"} for row in rows) > 14
    assert layer_count(rows) == 14


def test_the_layer_table_of_14_layers() -> None:
    rows = layer_table(made((3, 64, 64)).model, (3, 64, 64))
    shown = [row for row in rows if row.kind in {"Conv2d", "Linear", "Add", "GlobalAveragePool"}]
    columns = [(r.name, r.stride, r.map_size, r.receptive_field, r.parameters) for r in shown]
    # The field grows by 2 pixels a 3x3 convolution, by 4 behind one stride of 2, by 8 behind two;
    # a sum sees what its branch sees.
    assert columns == [
        ("stem.conv", 1, 64, 3, 432),
        ("stage1.block1.branch.conv1", 1, 64, 5, 2304),
        ("stage1.block1.branch.conv2", 1, 64, 7, 2304),
        ("stage1.block1.add", None, 64, 7, 0),
        ("stage1.block2.branch.conv1", 1, 64, 9, 2304),
        ("stage1.block2.branch.conv2", 1, 64, 11, 2304),
        ("stage1.block2.add", None, 64, 11, 0),
        ("stage2.block1.branch.conv1", 2, 32, 13, 4608),
        ("stage2.block1.branch.conv2", 1, 32, 17, 9216),
        ("stage2.block1.add", None, 32, 17, 0),
        ("stage2.block2.branch.conv1", 1, 32, 21, 9216),
        ("stage2.block2.branch.conv2", 1, 32, 25, 9216),
        ("stage2.block2.add", None, 32, 25, 0),
        ("stage3.block1.branch.conv1", 2, 16, 29, 18432),
        ("stage3.block1.branch.conv2", 1, 16, 37, 36864),
        ("stage3.block1.add", None, 16, 37, 0),
        ("stage3.block2.branch.conv1", 1, 16, 45, 36864),
        ("stage3.block2.branch.conv2", 1, 16, 53, 36864),
        ("stage3.block2.add", None, 16, 53, 0),
        ("pool", 1, 1, 53 + 15 * 4, 0),
        ("head", None, 1, 53 + 15 * 4, 64 * 25 + 25),
    ]


def test_the_receptive_field_is_what_a_gradient_reaches() -> None:
    # Weights of one let no path cancel: where the gradient is not 0, the value sees the pixel.
    size = 101
    model = made((1, size, size), norm="none", width=1, shortcut="projection").model
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    rows = {row.name: row for row in layer_table(model, (1, size, size))}
    blocks = [f"layers.stage{stage}.block2" for stage in (1, 2, 3)]
    x = torch.ones(1, 1, size, size, requires_grad=True)
    y: Tensor = x
    for child in ("stem", "stage1", "stage2", "stage3"):
        y = model.get_submodule(f"layers.{child}")(y)
        if child == "stem":
            continue
        middle = y.shape[-1] // 2
        (gradient,) = torch.autograd.grad(y[0, 0, middle, middle], x, retain_graph=True)
        seen = int(gradient[0, 0].ne(0).any(dim=0).sum())
        name = blocks.pop(0).removeprefix("layers.")
        assert rows[f"{name}.add"].receptive_field == seen


def plain(x: Tensor, state: dict[str, Tensor], *, projection: bool) -> Tensor:
    """ResNet-14 in plain functions, eval mode, batch norm at its running statistics."""

    def conv(y: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        return F.conv2d(y, state[f"{name}.weight"], stride=stride, padding=padding)

    def norm(y: Tensor, name: str) -> Tensor:
        parts = [state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(y, *parts)

    y = F.relu(norm(conv(x, "layers.stem.conv"), "layers.stem.norm"))
    for stage in (1, 2, 3):
        for block in (1, 2):
            at = f"layers.stage{stage}.block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            z = F.relu(norm(conv(y, f"{at}.branch.conv1", stride), f"{at}.branch.norm1"))
            z = norm(conv(z, f"{at}.branch.conv2"), f"{at}.branch.norm2")
            if stride == 2 and projection:
                y = norm(conv(y, f"{at}.shortcut.conv", 2, padding=0), f"{at}.shortcut.norm")
            elif stride == 2:
                y = torch.cat([y[:, :, ::2, ::2], torch.zeros_like(y[:, :, ::2, ::2])], dim=1)
            y = F.relu(z + y)
    return F.linear(y.mean(dim=(2, 3)), state["layers.head.weight"], state["layers.head.bias"])


@pytest.mark.parametrize("size", [32, 25])
@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_it_computes_what_the_paper_says(shortcut: str, size: int) -> None:
    model = made((3, size, size), width=4, shortcut=shortcut).model.double()
    x = torch.randn(8, 3, size, size, dtype=torch.float64)
    for _ in range(3):
        model(x)  # statistics that are no defaults
    model.eval()
    expected = plain(x, dict(model.state_dict()), projection=shortcut == "projection")
    torch.testing.assert_close(model(x), expected)


def test_a_stem_for_larger_images_can_be_chosen() -> None:
    built = made((3, 128, 128), stem="large", stem_pool="padded")
    rows = {row.name: row for row in layer_table(built.model, (3, 128, 128))}
    assert (rows["stem.conv"].map_size, rows["stem.pool"].map_size) == (64, 32)
    assert rows["stage3.block2.add"].map_size == 8


def test_every_block_has_the_same_dropout_slots() -> None:
    built = made(dropout={"p": [0.1, 0.4]})
    assert built.dropout_slots == (1, 2)
    found = [module.p for module in built.model.modules() if isinstance(module, Dropout)]
    assert found == [0.1, 0.4] * 6


def test_stochastic_depth_grows_over_the_branches_and_stands_at_their_end() -> None:
    built = made(stochastic_depth=0.6)
    assert built.residual_branches == 6
    found = [module.p for module in built.model.modules() if isinstance(module, StochasticDepth)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    branch = built.model.get_submodule("layers.stage1.block1.branch")
    assert list(branch._modules)[-1] == "depth"


def test_a_dropped_branch_leaves_the_shortcut() -> None:
    block = made(stochastic_depth={"p": 0.999, "rule": "constant"}).model.get_submodule(
        "layers.stage1.block1"
    )
    block.branch.depth.generator = torch.Generator().manual_seed(0)  # type: ignore[union-attr, operator]
    x = torch.rand(4, 16, 8, 8)  # not negative: the last ReLU leaves it
    assert torch.equal(block(x), x)


def test_identity_shortcuts_have_no_norm_to_choose() -> None:
    with pytest.raises(UserError, match="shortcut_norm needs shortcut: projection"):
        made(shortcut_norm="always")


def order(model: nn.Module) -> list[nn.Module]:
    """Norms, convolutions, activations and sums in the order they run."""
    ran: list[nn.Module] = []
    kinds = (Norm, NoNorm, nn.Conv2d, ScaledActivation, *{type(m()) for m in ACTIVATIONS.values()})
    inside = {id(c) for m in model.modules() if isinstance(m, kinds) for c in m.children()}
    for name, module in model.named_modules():
        if (isinstance(module, kinds) and id(module) not in inside) or name.endswith("add"):
            module.register_forward_pre_hook(lambda m, _: ran.append(m))
    model(torch.randn(2, *COLOR32))
    return ran


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
@pytest.mark.parametrize(
    "norm",
    ["filter_response", {"kind": "evonorm_s0", "groups": 4}, "evonorm_b0"],
    ids=lambda norm: norm if isinstance(norm, str) else norm["kind"],
)
def test_no_activation_follows_a_norm_that_contains_one(norm: Any, shortcut: str) -> None:
    built = made(norm=norm, shortcut=shortcut)
    ran = order(built.model)
    assert sum(isinstance(module, Norm) for module in ran) == built.norms == 13
    assert not any(type(module) is nn.ReLU for module in ran)
    assert built.notes[0].endswith("pre-activation blocks (model.block: pre)")


def test_with_one_norm_slot_the_model_activates_where_no_norm_is() -> None:
    block = made(norm="filter_response", norm_slots=1).model.get_submodule("layers.stage1.block1")
    assert isinstance(block.enter.norm1, FilterResponseNorm)  # type: ignore[union-attr]
    assert isinstance(block.branch.activation2, nn.ReLU)  # type: ignore[union-attr]


def test_pre_activation_blocks_add_to_an_untouched_stream() -> None:
    block = made(block="pre").model.get_submodule("layers.stage1.block2")
    x = torch.randn(4, 16, 8, 8)
    branch = block.branch(F.relu(F.batch_norm(x, None, None, training=True)))  # type: ignore[operator]
    torch.testing.assert_close(block(x), x + branch)


def test_pre_activation_projections_take_the_activated_input() -> None:
    built = made(block="pre", shortcut="projection")
    block = built.model.get_submodule("layers.stage2.block1")
    x = torch.randn(4, 16, 8, 8)
    h = F.relu(F.batch_norm(x, None, None, training=True))
    torch.testing.assert_close(block(x), block.shortcut(h) + block.branch(h))  # type: ignore[operator]
    assert not any(isinstance(module, Norm) for module in block.shortcut.modules())  # type: ignore[union-attr]


def test_post_blocks_refuse_a_norm_that_contains_its_activation() -> None:
    with pytest.raises(UserError, match=r"model\.block is 'post': norm 'evonorm_b0'"):
        made(norm="evonorm_b0", block="post")
    assert not made(norm="evonorm_b0", block="post", norm_slots=0).norms


@pytest.mark.parametrize("norm", [k for k in NORMS if k not in {"none", "filter_response"} and "evo" not in k])  # fmt: skip
def test_other_norms_stand_in_post_blocks_with_the_activation_folded_in(norm: str) -> None:
    options = {"ghost_batch": {"splits": 2}, "group": {"groups": 4}, "torch_group": {"groups": 4}}
    built = made(norm={"kind": norm, **options.get(norm, {})})
    names = [name for name, _ in built.model.named_modules()]
    assert "layers.stage1.block1.branch.activation1" not in names
    assert "layers.stage1.block1.leave" in names
    assert built.notes == ()


def variances(model: nn.Module, x: Tensor) -> list[tuple[float, float]]:
    """What is predicted of, and found in, every map that enters a block, and the last one."""
    found: list[tuple[float, float]] = []
    for module in model.modules():
        if isinstance(module, Scale) and module.factor != ALPHA:
            module.register_forward_hook(
                lambda m, inputs, _: found.append((m.factor**-2, float(inputs[0].var())))  # type: ignore[misc]
            )
    with torch.no_grad():
        model(x)
    return found


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_scaled_ws_blocks_have_the_predicted_variance(shortcut: str) -> None:
    values = {"n": 3, "width": 32, "shortcut": shortcut, "conv_bias": "never"}
    model = made(norm="scaled_ws", **values).model
    initialize(model, 0)
    # Large images: zeros beyond the border are no part of the prediction.
    found = variances(model, torch.randn(4, 3, 96, 96))
    a = ALPHA**2
    # Nine blocks: the stream grows by alpha^2. A projection starts again; zeros dilute by half.
    if shortcut == "projection":
        predicted = [1, 1 + a, 1 + 2 * a, 1 + 3 * a, 1 + a, 1 + 2 * a, 1 + 3 * a, 1 + a, 1 + 2 * a]
        predicted.append(1 + 3 * a)
    else:
        second = (1 + 3 * a) / 2 + a
        third = (second + 2 * a) / 2 + a
        predicted = [1, 1 + a, 1 + 2 * a, 1 + 3 * a, second, second + a, second + 2 * a]
        predicted += [third, third + a, third + 2 * a]
    assert [expected for expected, _ in found] == pytest.approx(predicted)
    for expected, measured in found:
        assert measured == pytest.approx(expected, rel=0.07)


def test_scaled_ws_counts_its_convolutions() -> None:
    for values in ({}, {"shortcut": "projection"}, {"norm_slots": 1}, {"norm_slots": 0}):
        built = made(norm="scaled_ws", **values)
        scaled = sum(isinstance(module, ScaledWSConv2d) for module in built.model.modules())
        assert built.norms == scaled
    assert built.norms == 0
    assert not any(isinstance(m, ScaledActivation | Scale) for m in built.model.modules())


@pytest.mark.parametrize("block", ["post", "pre"])
def test_a_bias_is_where_no_norm_follows(block: str) -> None:
    model = made(norm_slots=1, block=block, shortcut="projection").model
    ran = [module for module in order(model) if isinstance(module, nn.Conv2d | BatchNorm)]
    behind = {id(a): b for a, b in pairwise(ran)}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and "branch" in name:
            followed = isinstance(behind.get(id(module)), BatchNorm) and (
                block == "post" or not name.endswith("conv2")
            )
            assert (module.bias is None) == followed, name

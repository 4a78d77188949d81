"""The scheme of a model is that of the model that is trained: its layers, slots and sizes."""

import pytest

from normlab.errors import UserError
from normlab.models import MODELS, build, layer_table
from normlab.models.scheme import scheme
from normlab.recipe import MODELS as OPTIONS
from normlab.recipe import NORMS, Recipe
from normlab.records.scheme import Block, Part, Scheme

COLOR32 = (3, 32, 32)


def made(kind: str = "resnet50", **values: object) -> Scheme:
    model = {"kind": kind} | {
        key.removeprefix("model_"): value
        for key, value in values.items()
        if key.startswith("model_")
    }
    rest = {key: value for key, value in values.items() if not key.startswith("model_")}
    recipe = Recipe.parse({"norm": "batch", "data": OPTIONS[kind].made_for, **rest, "model": model})
    return scheme(recipe, *shape_of(kind))


def shape_of(kind: str) -> tuple[tuple[int, int, int], int]:
    side = {"digits-small": 8, "mnist-7288": 28, "mnist-7704": 28}
    return ((1, side[kind], side[kind]) if kind in side else COLOR32), 10


def parts(block: Block, role: str | None = None) -> list[Part]:
    every = (*block.enter, *block.branch, *(block.shortcut or ()), *block.leave)
    return [part for part in every if role in {None, part.role}]


def labels(block: Block, role: str) -> list[str]:
    return [part.label for part in parts(block, role)]


def named(found: Scheme, name: str) -> Block:
    (block,) = [block for block in found.blocks if block.name == name]
    return block


@pytest.mark.parametrize("kind", MODELS)
def test_every_convolution_of_the_model_is_in_its_scheme(kind: str) -> None:
    found = made(kind)
    blocks = {block.name: len(parts(block, "convolution")) for block in found.blocks}
    drawn = sum(
        run.count * blocks[run.what] if run.is_block else "convolution" in run.what
        for run in found.runs
    )
    shape, classes = shape_of(kind)
    model = {"model": kind, "norm": "batch", "data": OPTIONS[kind].made_for}
    rows = layer_table(build(Recipe.parse(model), shape, classes, device="meta").model, shape)
    assert drawn == sum(row.kind == "Conv2d" for row in rows)
    assert found.runs[-1].channels == rows[-1].channels == classes


def test_the_runs_of_resnet50_are_its_stages() -> None:
    runs = [(run.count, run.channels, run.map_size) for run in made().runs]
    assert runs == [
        (1, 64, 32), (1, 256, 32), (2, 256, 32), (1, 512, 16), (3, 512, 16), (1, 1024, 8),
        (5, 1024, 8), (1, 2048, 4), (2, 2048, 4), (1, 2048, 1), (1, 10, 1),
    ]  # fmt: skip


def test_widths_are_parts_of_what_the_block_makes() -> None:
    block = named(made(), "projection block 2")
    assert labels(block, "convolution") == [
        "1x1 convolution, C/4",
        "3x3 convolution, stride 2, C/4",
        "1x1 convolution, C",
        "1x1 convolution, stride 2, C",
    ]


@pytest.mark.parametrize("slots", [0, 1, 2, 3])
def test_a_norm_slot_that_is_left_out_is_drawn_empty(slots: int) -> None:
    block = named(made(model_norm_slots=slots), "identity block")
    filled = [part.is_filled for part in parts(block, "norm")]
    assert filled == [True] * slots + [False] * (3 - slots)
    assert len(parts(block, "activation")) == 3


def test_no_norm_leaves_every_norm_slot_empty() -> None:
    for block in made("digits-small", norm="none").blocks:
        assert [part.is_filled for part in parts(block, "norm")] == [False]


def test_dropout_stands_in_the_slots_that_the_recipe_chose() -> None:
    found = made(dropout={"p": 0.2, "slots": [2, 3]})
    assert labels(named(found, "identity block"), "dropout") == [
        "dropout slot 1: empty",
        "dropout slot 2: Dropout, p = 0.2",
        "dropout slot 3: Dropout, p = 0.2",
    ]


def test_the_published_net_has_its_quirks() -> None:
    found = made("resnet50-as-published", dropout={"p": [0.1, 0.2, 0.3]})
    projection, identity = named(found, "projection block 1"), named(found, "identity block")
    assert [part.values for part in parts(projection, "dropout")] == [(0.2, 0.2), (0.3, 0.3)]
    assert [part.values for part in parts(identity, "dropout")] == [(p, p) for p in (0.1, 0.2, 0.3)]
    assert len(parts(identity, "activation")) == len(parts(projection, "activation")) + 1


def test_blocks_that_differ_in_a_probability_alone_are_one_kind() -> None:
    found = made("resnet", stochastic_depth={"p": 0.6})
    (depth,) = parts(named(found, "identity block"), "depth")
    (other,) = parts(named(found, "zero-padding block"), "depth")
    assert depth.values == pytest.approx((0.1, 0.6))
    assert other.values == pytest.approx((0.3, 0.5))


def test_a_pre_activation_block_forks_behind_its_first_activation() -> None:
    found = made(model_block="pre")
    block = named(found, "projection block 1")
    assert block.projects
    assert [part.role for part in block.enter] == ["norm", "activation"]
    assert not block.leave


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_has_a_scheme(norm: str) -> None:
    needed = {"groups": 4, "splits": 2}
    options = {key: needed[key] for key in needed if key in NORMS[norm].model_fields}
    for kind in ("resnet", "mnist-7288"):
        assert made(kind, norm={"kind": norm, **options}).blocks


def test_an_own_model_has_no_known_blocks() -> None:
    recipe = Recipe.parse({"model": "tests.models.own:Net", "norm": "batch", "data": "digits"})
    with pytest.raises(UserError, match="only the blocks of normlab's models are known"):
        scheme(recipe, (1, 8, 8), 10)

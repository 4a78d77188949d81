"""The drawing of a model's blocks: what is in the scheme is on the sheet, each thing in its place."""

import json
from pathlib import Path

import pytest

import normlab
from normlab.figures.blocks import block_drawing
from normlab.figures.drawing import specification
from normlab.records.scheme import Block, Part, Run, Scheme

PARTS = (
    Part("convolution", "3x3 convolution, C"),
    Part("norm", "norm slot: BatchNorm", is_slot=True),
    Part("dropout", "dropout slot 1: empty", is_slot=True, is_filled=False),
)
SHORTCUT = (Part("convolution", "1x1 convolution, C"),)
SCHEME = Scheme(
    (3, 32, 32),
    10,
    (Run("block", True, 4, 16, 32), Run("linear layer", False, 1, 10, 1)),
    (Block("block", (), PARTS, SHORTCUT, (Part("activation", "ReLU"),)),),
)


def test_every_part_has_a_box_below_the_one_before() -> None:
    boxes = block_drawing(SCHEME, "title").data
    texts = [*(part.label for part in PARTS), "ReLU"]
    tops = [boxes.set_index("text").loc[text, "y"] for text in texts]
    assert tops == sorted(tops)
    assert len(set(tops)) == len(texts)
    beside = boxes.set_index("text").loc["1x1 convolution, C"]
    assert beside["x"] > boxes.set_index("text").loc[texts[0], "x2"]


def test_slots_are_grey_and_empty_ones_marked() -> None:
    boxes = block_drawing(SCHEME, "title").data.set_index("text")
    assert not boxes.loc["3x3 convolution, C", "slot"]
    assert list(boxes.loc["norm slot: BatchNorm", ["slot", "filled"]]) == [True, True]
    assert list(boxes.loc["dropout slot 1: empty", ["slot", "filled"]]) == [True, False]


def test_the_net_says_how_many_follow_and_what_they_make() -> None:
    drawn = block_drawing(SCHEME, "title")
    assert "4 x block" in list(drawn.data["text"])
    written = json.dumps(specification(drawn))
    assert "16 channels, 32x32" in written
    assert "10 classes" in written


@pytest.mark.parametrize(
    ("ending", "start"), [("svg", b"<svg"), ("pdf", b"%PDF"), ("png", b"\x89PNG")]
)
def test_a_model_is_drawn_as_the_file_s_ending_says(
    ending: str, start: bytes, tmp_path: Path
) -> None:
    path = normlab.draw_model("digits-small", tmp_path / f"blocks.{ending}")
    assert path.read_bytes().startswith(start)


def test_overrides_are_drawn(tmp_path: Path) -> None:
    values = {"norm": "layer", "dropout.p": 0.25}
    drawn = normlab.draw_model("digits-small", tmp_path / "b.svg", overrides=values)
    text = drawn.read_text(encoding="utf-8")
    assert "norm slot: LayerNorm" in text
    assert "p = 0.25" in text


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(normlab.UserError, match=r"ends in one of \.svg, \.pdf, \.png"):
        normlab.draw_model("digits-small", tmp_path / "blocks.gif")

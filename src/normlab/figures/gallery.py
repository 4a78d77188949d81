"""What galleries share: test images with what was said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from normlab.figures.figure import Figure, NotDrawnError
from normlab.figures.images import Images, class_names, images_of
from normlab.figures.style import WIDTH, Chart, wrapped
from normlab.frames.load import Frames
from normlab.frames.predictions import Predictions
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd

_SIDE, _STEP_X = 84, 112
_LINE = 14
_ACROSS, _BETWEEN = 3, 20  # galleries side by side, and pixels between them
_PALE = 0.35  # opacity


class Gallery(Figure):
    """A figure of images in rows, each with lines of text below it."""

    is_gallery: ClassVar[bool] = True

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """The images in rows."""
        return gallery(rows)


def galleries(each: Mapping[str, pd.DataFrame]) -> Chart:
    """A gallery of each arm, side by side below their names; of one arm without its name.

    Args:
        each: Rows of each arm as `gallery` takes them, with `wrong`: others are pale.
    """
    if len(each) == 1:
        return gallery(next(iter(each.values())))
    across = min(len(each), _ACROSS)
    wide = (WIDTH - (across - 1) * _BETWEEN) // across
    most = wide // 7  # characters of the heading's font
    panels = [
        gallery(rows, wide).properties(title=wrapped(arm, most).split("\n"))
        for arm, rows in each.items()
    ]
    made: Chart = alt.concat(*panels, columns=across, spacing=_BETWEEN)
    return made


def gallery(data: pd.DataFrame, wide: int = WIDTH) -> Chart:
    """Images in rows, each with its lines of text below.

    Args:
        data: Rows with `image` and `lines`; where a column `wrong` is False an image is pale.
        wide: Pixels that it may take.
    """
    columns = max(1, min(len(data), (wide + 8) // _STEP_X))
    place = np.arange(len(data))
    high = _SIDE + _LINE * (1 + max(text.count("\n") for text in data["lines"])) + 16
    rows = -(-len(data) // columns)
    shown = data[["image", "lines"]].assign(
        x=(place % columns) * _STEP_X + _STEP_X / 2,
        y=(place // columns) * high,
        seen=data["wrong"].map({True: 1.0, False: _PALE}) if "wrong" in data else 1.0,
    )
    width, height = columns * _STEP_X, rows * high
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, width], nice=False))
    down = alt.Scale(domain=[height, 0], nice=False)
    images = (
        alt.Chart(shown)
        .mark_image(width=_SIDE, height=_SIDE, baseline="top")
        .encode(
            x=x,
            y=alt.Y("y:Q", axis=None, scale=down),
            url="image:N",
            opacity=alt.Opacity("seen:Q", scale=None),
        )
    )
    texts = (
        alt.Chart(shown.assign(y=shown["y"] + _SIDE + 5))
        .mark_text(baseline="top", fontSize=11, lineBreak="\n", lineHeight=_LINE, color="#1c2430")
        .encode(x=x, y=alt.Y("y:Q", axis=None, scale=down), text="lines:N")
    )
    return alt.layer(images, texts).properties(width=width, height=height)


def shown_images(
    frames: Frames, label: str, found: Sequence[Predictions]
) -> tuple[Images, list[str]]:
    """The test images of an arm, those that its trials saw, and the names of their classes.

    Raises:
        NotDrawnError: They are not here, or others.
    """
    arm = next(arm for arm in frames.plan.arms if arm.label == label)
    images = images_of(arm)
    if not np.array_equal(images.labels, found[0].labels):
        raise NotDrawnError("the test images are not those that the trials saw")
    return images, class_names(arm, int(images.labels.max()) + 1)


def image_row(
    images: Images, index: int, names: Sequence[str], true: int, called: int
) -> dict[str, object]:
    """An image with what it is and what it was called."""
    return {
        "index": int(index),
        "true": names[true],
        "called": names[called],
        "image": images.png(index),
    }


def with_lines(data: pd.DataFrame, last: Sequence[str]) -> pd.DataFrame:
    """The text below each image: true and called class on one line where both are short."""
    short = (
        max(len(true + called) for true, called in zip(data["true"], data["called"], strict=True))
        < 7
    )
    pairs = zip(data["true"], data["called"], last, strict=True)
    lines = [
        f"{_cut(true)} → {_cut(called)}\n{text}"
        if short
        else f"{_cut(true)}\n→ {_cut(called, 15)}\n{text}"
        for true, called, text in pairs
    ]
    return data.assign(lines=lines)


def count_text(shown: int, there: int) -> str:
    """How many of them are shown, in words."""
    return f"All {there}" if shown == there else f"{shown} of the {there}"


def _cut(name: str, most: int = 17) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

"""Test images with what was said of them: misclassified ones, and those that two arms dispute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from normlab.figures.base import WIDTH, Chart, Drawn, NotDrawnError
from normlab.figures.images import Images, class_names, images_of
from normlab.frames.load import Frames
from normlab.frames.predictions import Predictions, predictions

_SIDE, _STEP_X = 84, 112
_LINE = 14


def draw_misclassified(frames: Frames, record: Mapping[str, Any], folder: Path | None) -> Drawn:
    """A figure of kind `misclassified`."""
    data, mistakes, images = misclassified_rows(frames, record, folder)
    order = "the surest first" if record["order"] == "confidence" else "in the data set's order"
    seed = data["seed"].iloc[0]
    return Drawn(
        record["heading"] or f"Misclassified by {record['arm']}",
        f"{_of(len(data), mistakes)} test images (of {images:,}) that {record['arm']}, seed "
        f"{seed}, got wrong, {order}: the true class, what it was called, and how sure the model "
        "was.",
        data,
        gallery(data),
    )


def draw_disagreement(frames: Frames, record: Mapping[str, Any], folder: Path | None) -> Drawn:
    """A figure of kind `disagreement`."""
    data, disputed, images = disagreement_rows(frames, record, folder)
    share = "all" if record["seeds"] == "all" else "most"
    return Drawn(
        record["heading"] or f"Right by {record['right']}, wrong by {record['wrong']}",
        f"{_of(len(data), disputed)} test images (of {images:,}) that {record['right']} gets "
        f"right in {share} of its seeds and {record['wrong']} wrong in {share} of its own: the "
        "true class, and what the latter called it most often.",
        data,
        gallery(data),
    )


def misclassified_rows(
    frames: Frames, record: Mapping[str, Any], folder: Path | None
) -> tuple[pd.DataFrame, int, int]:
    """The images to show, the mistakes of the trial and its test images.

    Returns:
        A row per image: `index` in the data set, `true`, `called`, `confidence`, `seed`, `image`
        (a PNG as a data URI) and `lines`, the text below it.

    Raises:
        NotDrawnError: No predictions, no images, or no mistakes.
    """
    found = predictions(frames, record["arm"], folder)
    if record["seed"] is not None:
        found = [one for one in found if one.seed == record["seed"]]
    if not found:
        raise NotDrawnError("no finished trial has left its predictions beside the store")
    one = found[0]
    wrong = np.flatnonzero(one.wrong)
    if not len(wrong):
        raise NotDrawnError(f"seed {one.seed} got every test image right")
    if record["order"] == "confidence":
        wrong = wrong[np.argsort(-one.confidences[wrong], kind="stable")]
    shown = wrong[: record["count"]]
    images, names = _images(frames, record["arm"], [one])
    rows = [
        _row(images, index, names, one.labels[index], one.classes[index])
        | {"confidence": float(one.confidences[index]), "seed": one.seed}
        for index in shown
    ]
    data = pd.DataFrame(rows)
    sure = [f"{100 * confidence:.0f} % sure" for confidence in data["confidence"]]
    return _with_lines(data, sure), len(wrong), len(one.labels)


def disagreement_rows(
    frames: Frames, record: Mapping[str, Any], folder: Path | None
) -> tuple[pd.DataFrame, int, int]:
    """The images to show, how many are disputed and the test images.

    Returns:
        A row per image: `index`, `true`, `called` (most often by the arm that is wrong),
        `right_seeds`, `wrong_seeds`, `image` and `lines`; the clearest disputes first.

    Raises:
        NotDrawnError: No predictions, no images, other images, or no dispute.
    """
    right = predictions(frames, record["right"], folder)
    wrong = predictions(frames, record["wrong"], folder)
    if not right or not wrong:
        raise NotDrawnError(
            "no finished trial of one arm has left its predictions beside the store"
        )
    labels = right[0].labels
    if any(not np.array_equal(one.labels, labels) for one in [*right, *wrong]):
        raise NotDrawnError("the arms were tested on different images")
    hits = np.sum([~one.wrong for one in right], axis=0)
    misses = np.sum([one.wrong for one in wrong], axis=0)
    if record["seeds"] == "all":
        disputed = (hits == len(right)) & (misses == len(wrong))
    else:
        disputed = (2 * hits > len(right)) & (2 * misses > len(wrong))
    places = np.flatnonzero(disputed)
    if not len(places):
        raise NotDrawnError(f"there is no such image ({record['seeds']} seeds)")
    clearest = np.argsort(-(hits / len(right) + misses / len(wrong))[places], kind="stable")
    images, names = _images(frames, record["right"], right)
    rows = []
    for index in places[clearest][: record["count"]]:
        called = [one.classes[index] for one in wrong if one.wrong[index]]
        most = max(dict.fromkeys(called), key=called.count)
        counts = {"right_seeds": int(hits[index]), "wrong_seeds": int(misses[index])}
        rows.append(_row(images, index, names, labels[index], most) | counts)
    data = pd.DataFrame(rows)
    of_right, of_wrong = len(right), len(wrong)
    texts = [
        f"{row.right_seeds}/{of_right} right\n{row.wrong_seeds}/{of_wrong} wrong"
        for row in data.itertuples()
    ]
    return _with_lines(data, texts), len(places), len(labels)


def gallery(data: pd.DataFrame) -> Chart:
    """Images in rows, each with its lines of text below.

    Args:
        data: Rows with `image` and `lines`.
    """
    columns = min(len(data), (WIDTH + 8) // _STEP_X)
    place = np.arange(len(data))
    high = _SIDE + _LINE * (1 + max(text.count("\n") for text in data["lines"])) + 16
    rows = -(-len(data) // columns)
    shown = data[["image", "lines"]].assign(
        x=(place % columns) * _STEP_X + _STEP_X / 2, y=(place // columns) * high
    )
    width, height = columns * _STEP_X, rows * high
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, width], nice=False))
    down = alt.Scale(domain=[height, 0], nice=False)
    images = (
        alt.Chart(shown)
        .mark_image(width=_SIDE, height=_SIDE, baseline="top")
        .encode(x=x, y=alt.Y("y:Q", axis=None, scale=down), url="image:N")
    )
    texts = (
        alt.Chart(shown.assign(y=shown["y"] + _SIDE + 5))
        .mark_text(baseline="top", fontSize=11, lineBreak="\n", lineHeight=_LINE, color="#1c2430")
        .encode(x=x, y=alt.Y("y:Q", axis=None, scale=down), text="lines:N")
    )
    return alt.layer(images, texts).properties(width=width, height=height)


def _images(frames: Frames, label: str, found: Sequence[Predictions]) -> tuple[Images, list[str]]:
    arm = next(arm for arm in frames.plan.arms if arm.label == label)
    images = images_of(arm)
    if not np.array_equal(images.labels, found[0].labels):
        raise NotDrawnError("the test images are not those that the trials saw")
    return images, class_names(arm, int(images.labels.max()) + 1)


def _row(
    images: Images, index: int, names: Sequence[str], true: int, called: int
) -> dict[str, Any]:
    return {
        "index": int(index),
        "true": names[true],
        "called": names[called],
        "image": images.png(index),
    }


def _with_lines(data: pd.DataFrame, last: Sequence[str]) -> pd.DataFrame:
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


def _of(shown: int, there: int) -> str:
    return f"All {there}" if shown == there else f"{shown} of the {there}"


def _cut(name: str, most: int = 17) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

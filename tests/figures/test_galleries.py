"""Figures of what trials said of the test images, from the files beside the store."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normlab.data import load
from normlab.errors import UserError
from normlab.figures import FIGURES, Figure, NotDrawnError, Source
from normlab.figures.images import images_of
from normlab.frames import Frames
from normlab.recipe import DATA
from normlab.records.plan import ArmRecord, FigureRecord

Make = Callable[..., Frames]


def on(data: str, **options: object) -> ArmRecord:
    return ArmRecord(label="a", recipe={"data": {"kind": data, **options}})


LABELS = load(DATA["digits"].parse({"kind": "digits"})).test_labels


@pytest.fixture
def frames(make: Make) -> Frames:
    """Three trials of arm a, two of arm b."""
    arms = [{**on("digits").model_dump(), "label": label, "classes": 10} for label in "ab"]
    return make({"a": [[0.9]] * 3, "b": [[0.8]] * 2}, arms=arms)


def say(folder: Path, trial: str, wrong: dict[int, tuple[int, float]]) -> None:
    """A trial's file: right everywhere with certainty but for `wrong`: index -> class, confidence."""
    predictions, confidences = LABELS.copy(), np.ones(len(LABELS))
    for index, (called, confidence) in wrong.items():
        predictions[index], confidences[index] = called, confidence
    path = folder / "artifacts" / trial
    path.mkdir(parents=True)
    np.savez(path / "predictions.npz", labels=LABELS, predictions=predictions,
             confidences=confidences.astype(np.float32))  # fmt: skip


def other(index: int, by: int = 1) -> int:
    return int((LABELS[index] + by) % 10)


def misclassified(**values: object) -> Figure:
    return FIGURES["misclassified"].parse({"kind": "misclassified", "arm": "a", **values})


def confusion(*arms: str) -> Figure:
    return FIGURES["confusion"].parse({"kind": "confusion", "arms": list(arms)})


def test_mistakes_are_shown_the_surest_first_or_in_the_data_s_order(
    frames: Frames, tmp_path: Path
) -> None:
    say(tmp_path, "a0", {5: (other(5), 0.6), 9: (other(9), 0.9), 2: (other(2), 0.7)})
    rows = misclassified().rows(Source(frames, tmp_path))
    assert rows["index"].tolist() == [9, 2, 5]
    assert rows["confidence"].tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert rows["true"].tolist() == [str(LABELS[i]) for i in (9, 2, 5)]
    assert rows["called"].tolist() == [str(other(i)) for i in (9, 2, 5)]
    assert rows["lines"][0] == f"{LABELS[9]} → {other(9)}\n90 % sure"
    assert (rows.attrs["mistakes"], rows.attrs["images"]) == (3, len(LABELS))
    rows = misclassified(order="data", count=2).rows(Source(frames, tmp_path))
    assert rows["index"].tolist() == [2, 5]
    drawn = misclassified(count=2).draw(Source(frames, tmp_path))
    assert drawn.caption.startswith("2 of the 3 test images (of 599)")
    drawn.chart.to_dict()


def test_the_seed_may_be_chosen(frames: Frames, tmp_path: Path) -> None:
    say(tmp_path, "a0", {1: (other(1), 0.5)})
    say(tmp_path, "a1", {3: (other(3), 0.5)})
    rows = misclassified(seed=1).rows(Source(frames, tmp_path))
    assert rows[["index", "seed"]].to_numpy().tolist() == [[3, 1]]


def both(**values: object) -> Figure:
    figure = {"kind": "misclassified", "arms": ["a", "b"], **values}
    return FIGURES["misclassified"].parse(figure)


def test_several_arms_show_what_any_of_them_got_wrong_in_the_same_places(
    frames: Frames, tmp_path: Path
) -> None:
    say(tmp_path, "a0", {5: (other(5), 0.6), 9: (other(9), 0.7)})
    say(tmp_path, "b0", {9: (other(9, 2), 0.9), 2: (other(2), 0.8)})
    rows = both().rows(Source(frames, tmp_path))
    a, b = rows[rows["arm"] == "a"], rows[rows["arm"] == "b"]
    assert a["index"].tolist() == b["index"].tolist() == [9, 2, 5]
    assert a["wrong"].tolist() == [True, False, True]
    assert b["wrong"].tolist() == [True, True, False]
    assert b["called"].tolist() == [str(other(9, 2)), str(other(2)), str(LABELS[5])]
    assert a["lines"].iloc[1] == f"{LABELS[2]} → {LABELS[2]}\nright, 100 % sure"
    assert (rows.attrs["mistakes"], rows.attrs["each"]) == (3, {"a": 2, "b": 2})
    drawn = both(count=2).draw(Source(frames, tmp_path))
    assert drawn.caption.startswith("2 of the 3 test images (of 599) that any of these arms")
    assert "(a 2, b 2)" in drawn.caption
    panels = drawn.chart.to_dict()["concat"]
    assert [panel["title"] for panel in panels] == [["a"], ["b"]]
    assert both(order="data").rows(Source(frames, tmp_path))["index"].tolist()[:3] == [2, 5, 9]


def test_several_arms_are_compared_on_one_seed(frames: Frames, tmp_path: Path) -> None:
    say(tmp_path, "a0", {1: (other(1), 0.5)})
    say(tmp_path, "a1", {3: (other(3), 0.5)})
    say(tmp_path, "b1", {})
    rows = both().rows(Source(frames, tmp_path))
    assert rows[["arm", "index", "seed"]].to_numpy().tolist() == [["a", 3, 1], ["b", 3, 1]]
    with pytest.raises(NotDrawnError, match="every arm, of one seed, has left"):
        both(seed=0).rows(Source(frames, tmp_path))


def test_a_stored_gallery_of_one_arm_is_still_drawn(frames: Frames, tmp_path: Path) -> None:
    """The record as a plan of before `arms` has it."""
    say(tmp_path, "a0", {1: (other(1), 0.5)})
    options = {"arm": "a", "seed": None, "count": 26, "order": "confidence"}
    record = FigureRecord(name="misclassified", kind="misclassified", options=options)
    figure = FIGURES["misclassified"].of(record)
    drawn = figure.draw(Source(frames, tmp_path))
    assert (drawn.title, drawn.data["index"].tolist()) == ("Misclassified by a", [1])


@pytest.mark.parametrize("given", [{}, {"arm": "a", "arms": ["a", "b"]}])
def test_one_arm_or_several_are_named(given: dict[str, object]) -> None:
    with pytest.raises(UserError, match="exactly one of 'arm' and 'arms'"):
        FIGURES["misclassified"].parse({"kind": "misclassified", **given})


def test_an_image_is_the_data_set_s_as_a_png(frames: Frames) -> None:
    images = images_of(frames.plan.arms[0])
    head, _, content = images.png(7).partition(",")
    assert head == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    expected = np.round(images.images[7, 0] * (255 / 16)).astype(np.uint8)  # digits go up to 16
    assert pixels.shape == (168, 168)
    np.testing.assert_array_equal(pixels[10::21, 10::21], expected)


def test_an_image_is_disputed_where_most_seeds_of_each_arm_say_so(
    frames: Frames, tmp_path: Path
) -> None:
    # Image 4: a right in 2 of 3, b wrong in 2 of 2. Image 6: a right in 1. Image 8: b wrong in 1.
    say(tmp_path, "a0", {6: (other(6), 0.5)})
    say(tmp_path, "a1", {6: (other(6), 0.5), 4: (other(4), 0.5)})
    say(tmp_path, "a2", {})
    say(tmp_path, "b0", {4: (other(4, 2), 0.5), 6: (other(6), 0.5), 8: (other(8), 0.5)})
    say(tmp_path, "b1", {4: (other(4, 2), 0.5), 6: (other(6), 0.5), 1: (other(1), 0.5)})
    record = {"kind": "disagreement", "right": "a", "wrong": "b", "count": 9}
    figure = FIGURES["disagreement"].parse(record)
    rows = figure.rows(Source(frames, tmp_path))
    assert rows.attrs["disputed"] == 1
    assert rows[["index", "called", "right_seeds", "wrong_seeds"]].to_numpy().tolist() == [
        [4, str(other(4, 2)), 2, 2]
    ]
    assert rows["lines"][0].endswith("2/3 right\n2/2 wrong")
    figure.draw(Source(frames, tmp_path)).chart.to_dict()
    with pytest.raises(NotDrawnError, match="no such image"):
        FIGURES["disagreement"].parse({**record, "seeds": "all"}).rows(Source(frames, tmp_path))


def test_a_confusion_matrix_is_the_mean_over_seeds_in_percent_of_the_true_class(
    frames: Frames, tmp_path: Path
) -> None:
    twos = np.flatnonzero(LABELS == 2)
    say(tmp_path, "b0", {int(i): (7, 0.5) for i in twos[:2]})
    say(tmp_path, "b1", {int(twos[0]): (3, 0.5)})
    rows = confusion("a", "b").rows(Source(frames, tmp_path))  # arm a has left no files
    assert set(rows["arm"]) == {"b"}
    assert len(rows) == 100
    shares = rows.set_index(["true", "said"])["share"]
    assert shares["2", "7"] == pytest.approx(100 * 1.0 / len(twos))
    assert shares["2", "3"] == pytest.approx(100 * 0.5 / len(twos))
    assert shares["2", "2"] == pytest.approx(100 - 150 / len(twos))
    assert rows.groupby("true")["share"].sum().to_numpy() == pytest.approx(np.full(10, 100))
    confusion("b").draw(Source(frames, tmp_path)).chart.to_dict()


def test_what_is_missing_is_said(
    frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotDrawnError, match="left its predictions"):
        misclassified().rows(Source(frames, tmp_path))
    with pytest.raises(NotDrawnError, match="left its predictions"):
        confusion("a").rows(Source(frames))
    say(tmp_path, "a0", {})
    with pytest.raises(NotDrawnError, match="seed 0 got every test image right"):
        misclassified().rows(Source(frames, tmp_path))
    (tmp_path / "artifacts" / "a0" / "predictions.npz").write_bytes(b"cut off")
    with pytest.raises(NotDrawnError, match="left its predictions"):
        misclassified().rows(Source(frames, tmp_path))
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        NotDrawnError, match=r"images of 'mnist' cannot be shown: .* is not on this machine"
    ):
        images_of(on("mnist"))


def test_other_images_than_those_of_the_trials_are_not_shown(
    frames: Frames, tmp_path: Path
) -> None:
    say(tmp_path, "a0", {1: (other(1), 0.5)})
    frames.plan.arms[0].recipe.update(on("digits", test_limit=5).recipe)
    with pytest.raises(NotDrawnError, match="not those that the trials saw"):
        misclassified().rows(Source(frames, tmp_path))

"""`misclassified`: test images that one trial got wrong, or one of each of several arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from normlab.arms import Selector, Selectors
from normlab.errors import UserError, listing
from normlab.figures.figure import Context, NotDrawnError, Source, noted
from normlab.figures.gallery import (
    Gallery,
    count_text,
    galleries,
    image_row,
    shown_images,
    with_lines,
)
from normlab.figures.style import Chart
from normlab.frames.predictions import Predictions, predictions
from normlab.lazy import pandas as pd


class Misclassified(Gallery):
    """Test images that one trial got wrong: true and predicted class, and its confidence.

    Of several arms it has a gallery each, side by side: the same images in the same places, those
    that any of them got wrong. All trials are of one seed.
    """

    title: ClassVar[str] = "figure 'misclassified'"
    usual: ClassVar[str] = "Misclassified images"
    kind: Literal["misclassified"]
    arm: Selector | None = None
    arms: Selectors | None = None
    """Several, side by side; or `arm`."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Left out: the first that is finished in every arm."""
    count: Annotated[int, Field(ge=1, le=400)] = 26
    order: Literal["confidence", "data"] = "confidence"
    """The surest mistakes first, or as the data set has them."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.arm is None) == (self.arms is None):
            raise ValueError("exactly one of 'arm' and 'arms' is needed")
        return self

    def resolved(self, context: Context) -> Self:
        """With the labels of its arms; its seed must be there."""
        if self.arms is not None:
            update: dict[str, object] = {"arms": context.arms.pick_any(self.arms)}
        else:
            assert self.arm is not None
            update = {"arm": context.arms.pick_one(self.arm)}
        if self.seed is not None and self.seed not in context.seeds:
            seeds = ", ".join(map(str, context.seeds))
            raise UserError(f"seed is {self.seed}: the study has {seeds}")
        return self.model_copy(update=update)

    @property
    def labels(self) -> list[str]:
        """Its arms, once it is resolved."""
        return [str(self.arm)] if self.arms is None else list(map(str, self.arms))

    def predicted(self, source: Source) -> list[str]:
        """Its arms."""
        return self.labels

    def rows(self, source: Source) -> pd.DataFrame:
        """The images to show, arm by arm.

        Returns:
            A row per arm and image: `arm`, `index` in the data set, `true`, `called`, `wrong`,
            `confidence`, `seed`, `image` (a PNG as a data URI) and `lines`, the text below it.
            `attrs` has the number of `mistakes`, images that an arm got wrong, of each arm's own
            (`each`), and of all test `images`.
        """
        found = self._trials(source)
        first = next(iter(found.values()))
        if any(not np.array_equal(one.labels, first.labels) for one in found.values()):
            raise NotDrawnError("the arms were tested on different images")
        wrong = np.array([one.wrong for one in found.values()])
        places = np.flatnonzero(wrong.any(axis=0))
        if not len(places):
            what = "every arm" if len(found) > 1 else f"seed {first.seed}"
            raise NotDrawnError(f"{what} got every test image right")
        sure = np.array([one.confidences for one in found.values()])
        if self.order == "confidence":
            surest = np.where(wrong, sure, 0).max(axis=0)[places]
            places = places[np.argsort(-surest, kind="stable")]
        images, names = shown_images(source.frames, self.labels[0], [first])
        data = pd.DataFrame([
            {"arm": arm}
            | image_row(images, index, names, one.labels[index], one.classes[index])
            | {
                "wrong": bool(one.wrong[index]),
                "confidence": float(one.confidences[index]),
                "seed": one.seed,
            }
            for arm, one in found.items()
            for index in places[: self.count]
        ])  # fmt: skip
        texts = [
            f"{'' if missed else 'right, '}{100 * confidence:.0f} % sure"
            for missed, confidence in zip(data["wrong"], data["confidence"], strict=True)
        ]
        each = dict(zip(found, wrong.sum(axis=1).tolist(), strict=True))
        data = with_lines(data, texts)
        return noted(data, mistakes=len(places), each=each, images=len(first.labels))

    def title_of(self, rows: pd.DataFrame) -> str:
        """By which arms."""
        return f"Misclassified by {' or '.join(self.labels)}"

    def reading(self, rows: pd.DataFrame) -> str:
        """How many there are, of which trials, in which order."""
        order = "the surest first" if self.order == "confidence" else "in the data set's order"
        shown = count_text(rows["index"].nunique(), rows.attrs["mistakes"])
        head = f"{shown} test images (of {rows.attrs['images']:,}) that"
        seed = rows["seed"].iloc[0]
        if len(self.labels) == 1:
            return (
                f"{head} {self.labels[0]}, seed {seed}, got wrong, {order}: the true class, what "
                "it was called, and how sure the model was."
            )
        each = listing(f"{arm} {count}" for arm, count in rows.attrs["each"].items())
        return (
            f"{head} any of these arms, seed {seed}, got wrong ({each}), {order}; every arm has "
            "the same images in the same places, pale where it was right: the true class, what it "
            "was called, and how sure the model was."
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A gallery of each arm, side by side."""
        return galleries({arm: rows[rows["arm"] == arm] for arm in self.labels})

    def _trials(self, source: Source) -> dict[str, Predictions]:
        """The trial of each arm, all of one seed."""
        found = {
            arm: {one.seed: one for one in predictions(source.frames, arm, source.folder)}
            for arm in self.labels
        }
        seeds = [seed for seed in next(iter(found.values())) if self.seed in {None, seed}]
        shared = [seed for seed in seeds if all(seed in each for each in found.values())]
        if not shared:
            of = "of every arm, of one seed, " if len(found) > 1 else ""
            raise NotDrawnError(f"no finished trial {of}has left its predictions beside the store")
        return {arm: each[shared[0]] for arm, each in found.items()}

"""`misclassified`: test images that one trial got wrong."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from normlab.arms import Selector
from normlab.errors import UserError
from normlab.figures.figure import Context, NotDrawnError, Source, noted
from normlab.figures.gallery import Gallery, count_text, image_row, shown_images, with_lines
from normlab.frames.predictions import predictions
from normlab.lazy import pandas as pd


class Misclassified(Gallery):
    """Test images that one trial got wrong: true and predicted class, and its confidence."""

    title: ClassVar[str] = "figure 'misclassified'"
    usual: ClassVar[str] = "Misclassified images"
    kind: Literal["misclassified"]
    arm: Selector
    seed: Annotated[int, Field(ge=0)] | None = None
    """Left out: the first that is finished."""
    count: Annotated[int, Field(ge=1, le=400)] = 26
    order: Literal["confidence", "data"] = "confidence"
    """The surest first, or as the data set has them."""

    def resolved(self, context: Context) -> Self:
        """With the label of its arm; its seed must be there."""
        arm = context.arms.pick_one(self.arm)
        if self.seed is not None and self.seed not in context.seeds:
            seeds = ", ".join(map(str, context.seeds))
            raise UserError(f"seed is {self.seed}: the study has {seeds}")
        return self.model_copy(update={"arm": arm})

    def predicted(self, source: Source) -> list[str]:
        """Its arm."""
        return [str(self.arm)]

    def rows(self, source: Source) -> pd.DataFrame:
        """The images to show.

        Returns:
            A row per image: `index` in the data set, `true`, `called`, `confidence`, `seed`,
            `image` (a PNG as a data URI) and `lines`, the text below it. `attrs` has the number of
            `mistakes` and of all test `images`.
        """
        found = predictions(source.frames, str(self.arm), source.folder)
        if self.seed is not None:
            found = [one for one in found if one.seed == self.seed]
        if not found:
            raise NotDrawnError("no finished trial has left its predictions beside the store")
        one = found[0]
        wrong = np.flatnonzero(one.wrong)
        if not len(wrong):
            raise NotDrawnError(f"seed {one.seed} got every test image right")
        if self.order == "confidence":
            wrong = wrong[np.argsort(-one.confidences[wrong], kind="stable")]
        shown = wrong[: self.count]
        images, names = shown_images(source.frames, str(self.arm), [one])
        rows = [
            image_row(images, index, names, one.labels[index], one.classes[index])
            | {"confidence": float(one.confidences[index]), "seed": one.seed}
            for index in shown
        ]
        data = pd.DataFrame(rows)
        sure = [f"{100 * confidence:.0f} % sure" for confidence in data["confidence"]]
        return noted(with_lines(data, sure), mistakes=len(wrong), images=len(one.labels))

    def title_of(self, rows: pd.DataFrame) -> str:
        """By which arm."""
        return f"Misclassified by {self.arm}"

    def reading(self, rows: pd.DataFrame) -> str:
        """How many there are, of which trial, in which order."""
        order = "the surest first" if self.order == "confidence" else "in the data set's order"
        shown = count_text(len(rows), rows.attrs["mistakes"])
        return (
            f"{shown} test images (of {rows.attrs['images']:,}) that {self.arm}, seed "
            f"{rows['seed'].iloc[0]}, got wrong, {order}: the true class, what it was called, and "
            "how sure the model was."
        )

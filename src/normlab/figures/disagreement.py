"""`disagreement`: test images that one arm gets right and another one wrong."""

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


class Disagreement(Gallery):
    """Test images that one arm gets right and another one wrong, over their seeds."""

    title: ClassVar[str] = "figure 'disagreement'"
    usual: ClassVar[str] = "Disputed images"
    kind: Literal["disagreement"]
    right: Selector
    wrong: Selector
    seeds: Literal["all", "most"] = "most"
    """In all seeds of both arms, or in more than half of each."""
    count: Annotated[int, Field(ge=1, le=400)] = 24

    def resolved(self, context: Context) -> Self:
        """With the labels of its two arms."""
        right, wrong = context.arms.pick_one(self.right), context.arms.pick_one(self.wrong)
        if right == wrong:
            raise UserError(f"right and wrong are both {right}")
        return self.model_copy(update={"right": right, "wrong": wrong})

    def predicted(self, source: Source) -> list[str]:
        """Both arms."""
        return [str(self.right), str(self.wrong)]

    def rows(self, source: Source) -> pd.DataFrame:
        """The images to show, the clearest disputes first.

        Returns:
            A row per image: `index`, `true`, `called` (most often by the arm that is wrong),
            `right_seeds`, `wrong_seeds`, `image` and `lines`. `attrs` has the number of `disputed`
            ones and of all test `images`.
        """
        right = predictions(source.frames, str(self.right), source.folder)
        wrong = predictions(source.frames, str(self.wrong), source.folder)
        if not right or not wrong:
            raise NotDrawnError(
                "no finished trial of one arm has left its predictions beside the store"
            )
        labels = right[0].labels
        if any(not np.array_equal(one.labels, labels) for one in [*right, *wrong]):
            raise NotDrawnError("the arms were tested on different images")
        hits = np.sum([~one.wrong for one in right], axis=0)
        misses = np.sum([one.wrong for one in wrong], axis=0)
        if self.seeds == "all":
            disputed = (hits == len(right)) & (misses == len(wrong))
        else:
            disputed = (2 * hits > len(right)) & (2 * misses > len(wrong))
        places = np.flatnonzero(disputed)
        if not len(places):
            raise NotDrawnError(f"there is no such image ({self.seeds} seeds)")
        clearest = np.argsort(-(hits / len(right) + misses / len(wrong))[places], kind="stable")
        images, names = shown_images(source.frames, str(self.right), right)
        rows = []
        for index in places[clearest][: self.count]:
            called = [one.classes[index] for one in wrong if one.wrong[index]]
            most = max(dict.fromkeys(called), key=called.count)
            counts = {"right_seeds": int(hits[index]), "wrong_seeds": int(misses[index])}
            rows.append(image_row(images, index, names, labels[index], most) | counts)
        data = pd.DataFrame(rows)
        of_right, of_wrong = len(right), len(wrong)
        texts = [
            f"{row.right_seeds}/{of_right} right\n{row.wrong_seeds}/{of_wrong} wrong"
            for row in data.itertuples()
        ]
        return noted(with_lines(data, texts), disputed=len(places), images=len(labels))

    def title_of(self, rows: pd.DataFrame) -> str:
        """Which arm is right."""
        return f"Right by {self.right}, wrong by {self.wrong}"

    def reading(self, rows: pd.DataFrame) -> str:
        """How many there are, and in how many seeds."""
        share = "all" if self.seeds == "all" else "most"
        shown = count_text(len(rows), rows.attrs["disputed"])
        return (
            f"{shown} test images (of {rows.attrs['images']:,}) that {self.right} gets right in "
            f"{share} of its seeds and {self.wrong} wrong in {share} of its own: the true class, "
            "and what the latter called it most often."
        )

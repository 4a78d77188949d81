"""`confusion`: which classes an arm takes for which, mean over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from normlab.figures.figure import NotDrawnError, OfArms, Source
from normlab.figures.images import class_names
from normlab.figures.style import WIDTH, Chart, in_rows, wrapped
from normlab.frames.predictions import predictions
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd

_NUMBERED = 12  # classes up to which every cell has its number


class Confusion(OfArms):
    """Which classes are taken for which: a matrix per arm, mean over seeds."""

    title: ClassVar[str] = "figure 'confusion'"
    usual: ClassVar[str] = "Which classes are taken for which"
    kind: Literal["confusion"]

    def predicted(self, source: Source) -> Sequence[str]:
        """All of its arms."""
        return self.labels(source)

    def rows(self, source: Source) -> pd.DataFrame:
        """Mean shares over seeds.

        Returns:
            `arm`, `true`, `said` (class names), `share` in percent of the true class' images,
            `is_hit` and `seeds`; true classes without test images are left out.
        """
        parts = []
        known = {arm.label: arm for arm in source.frames.plan.arms}
        for label in self.labels(source):
            found = predictions(source.frames, label, source.folder)
            if not found:
                continue
            count = 1 + max(int(max(one.labels.max(), one.classes.max())) for one in found)
            names = class_names(known[label], count)
            count = len(names)
            pairs = [
                np.bincount(one.labels * count + one.classes, minlength=count**2) for one in found
            ]
            counts = np.mean(pairs, axis=0).reshape(count, count)
            there = counts.sum(axis=1) > 0
            shares = 100 * counts[there] / counts[there].sum(axis=1, keepdims=True)
            true, said = np.meshgrid(np.flatnonzero(there), np.arange(count), indexing="ij")
            parts.append(
                pd.DataFrame(
                    {
                        "arm": label,
                        "true": [names[number] for number in true.ravel()],
                        "said": [names[number] for number in said.ravel()],
                        "share": shares.ravel(),
                        "is_hit": (true == said).ravel(),
                        "seeds": len(found),
                    }
                )
            )
        if not parts:
            raise NotDrawnError("no trial has left its predictions beside the store")
        return pd.concat(parts, ignore_index=True)

    def reading(self, rows: pd.DataFrame) -> str:
        """Rows, columns and colors."""
        return (
            "Of the test images of each true class (row) the share in percent that was called each "
            "class (column), mean over seeds. Mistakes are colored, hits are not: the darker, the "
            "more often."
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A matrix per arm."""
        arms = list(dict.fromkeys(rows["arm"]))
        classes = list(dict.fromkeys(rows["said"]))
        cell = 34 if len(classes) <= _NUMBERED else max(9, min(18, 440 // len(classes)))
        columns = max(1, (WIDTH + 20) // (cell * len(classes) + 70))
        most = max(float(rows.loc[~rows["is_hit"], "share"].max()), 0.1)
        panels = [
            _matrix(rows[rows["arm"] == arm], classes, most, cell).properties(
                title=wrapped(arm, cell * len(classes) // 7).split("\n"),
                width=cell * len(classes),
                height=cell * rows.loc[rows["arm"] == arm, "true"].nunique(),
            )
            for arm in arms
        ]
        return in_rows(panels, columns)


def _matrix(data: pd.DataFrame, classes: list[str], most: float, cell: int) -> Chart:
    angle = 0 if max(map(len, classes)) <= 2 else -90
    x = alt.X(
        "said:N",
        sort=classes,
        title="Called",
        axis=alt.Axis(labelAngle=angle, labelLimit=120, grid=False),
        scale=alt.Scale(domain=classes),
    )
    y = alt.Y("true:N", sort=classes, title="True class", axis=alt.Axis(labelLimit=120, grid=False))
    tooltip = [
        alt.Tooltip("true:N"),
        alt.Tooltip("said:N", title="called"),
        alt.Tooltip("share:Q", title="of its images, %", format=".2f"),
        alt.Tooltip("seeds:Q"),
    ]
    misses, hits = data[~data["is_hit"] & (data["share"] > 0)], data[data["is_hit"]]
    # One hue, light to dark: read alike in grey.
    scale = alt.Scale(domain=[0, most], range=["#fdf0e0", "#6b2a00"], interpolate="lab")
    legend = alt.Legend(title="Of the true class, %", orient="bottom", titleLimit=0)
    color = alt.Color("share:Q", scale=scale, legend=legend if len(classes) > _NUMBERED else None)
    layers: list[alt.Chart] = [
        alt.Chart(hits).mark_rect(color="#e8ecf2").encode(x=x, y=y, tooltip=tooltip)
    ]
    if len(misses):
        layers.append(alt.Chart(misses).mark_rect().encode(x=x, y=y, tooltip=tooltip, color=color))
    if len(classes) > _NUMBERED:
        return alt.layer(*layers)
    texts = data[data["share"] >= 0.05]
    dark = ~texts["is_hit"] & (texts["share"] > most / 2)
    texts = texts.assign(
        text=[f"{share:.1f}" for share in texts["share"]],
        ink=np.where(dark, "#ffffff", "#1c2430"),
    )
    layers.append(
        alt.Chart(texts)
        .mark_text(fontSize=10)
        .encode(x=x, y=y, text="text:N", color=alt.Color("ink:N", scale=None), tooltip=tooltip)
    )
    made: Chart = alt.layer(*layers).resolve_scale(color="independent")
    return made

"""What figures of layers share: which layers, their rows, and a grid of arms and layers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from normlab.figures.epochs import chosen_layers, details
from normlab.figures.figure import NotDrawnError, OfArms, Source, noted
from normlab.figures.keys import Names
from normlab.figures.style import WIDTH, Chart, below, wrapped
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd

_HEIGHT = 84  # pixels of a panel


class OfLayers(OfArms):
    """A figure of layers or weights by name; `layers` left out, of six spread over the depth."""

    layers: Names | None = None

    uses_details: ClassVar[bool] = True

    def layer_rows(
        self, source: Source, name: str, columns: Sequence[str], what: str
    ) -> pd.DataFrame:
        """Means over seeds of lists that the details have by layer.

        Args:
            source: The study.
            name: Of the details.
            columns: Names of the lists' values.
            what: A layer, in messages.

        Returns:
            `arm`, `layer`, `epoch` and the columns; `attrs` has the most layers of an arm, `there`.

        Raises:
            NotDrawnError: Nothing was recorded.
            UserError: A layer that is wanted is not there.
        """
        labels = self.labels(source)
        found = list(details(source.frames, labels, name))
        every = chosen_layers([values for *_, values in found], self.layers, what)
        rows, there = [], 0
        for arm in labels:
            here = [(epoch, values) for one, epoch, values in found if one == arm]
            layers = list(dict.fromkeys(layer for _, values in here for layer in values))
            there = max(there, len(layers))
            if layers and self.layers is None:
                every = chosen_layers([values for _, values in here], None, what)
            rows += [
                (arm, layer, epoch, *values[layer])
                for layer in every
                for epoch, values in here
                if layer in values
            ]
        made = pd.DataFrame(rows, columns=["arm", "layer", "epoch", *columns])
        if not len(made):
            raise NotDrawnError("no epoch has recorded it")
        means = made.groupby(["arm", "layer", "epoch"], sort=False)[list(columns)].mean()
        return noted(means.reset_index(), there=there)


def layer_grid(chart: Callable[[pd.DataFrame, bool], Any], data: pd.DataFrame) -> Chart:
    """A row per arm with its name above, a column per layer with its name at the top.

    Args:
        chart: Of rows of one arm; with the title of the horizontal axis, or without.
        data: Rows of all arms.
    """
    arms = list(dict.fromkeys(data["arm"]))
    width = min(220, (WIDTH - 60) // most_layers(data) - 20)
    rows: list[Chart] = []
    above: list[str] = []
    for arm in arms:
        here = list(dict.fromkeys(data.loc[data["arm"] == arm, "layer"]))
        header = alt.Header(
            labels=here != above,
            labelExpr=f"{json.dumps(_lines(here, width // 6))}[datum.value]",
            labelLimit=width + 14,
            labelFontSize=11,
            labelFontWeight="normal",
        )
        panel = chart(data[data["arm"] == arm], arm == arms[-1])
        row = panel.properties(width=width, height=_HEIGHT).facet(
            column=alt.Column("layer:N", sort=here, title=None, header=header), spacing=14
        )
        rows.append(row.properties(title=alt.TitleParams(arm, anchor="start", offset=2)))
        above = here
    return rows[0] if len(rows) == 1 else below(*rows)


def _lines(names: Sequence[str], most: int) -> dict[str, list[str]]:
    """Dotted names without the parts that all begin with, broken at dots where they are long."""
    parts = [name.split(".") for name in names]
    common = 0
    while len(names) > 1 and len({tuple(part[: common + 1]) for part in parts}) == 1:
        common += 1
    found = {
        name: wrapped(" ".join(part[common:]), most).replace(" ", ".").split("\n")
        for name, part in zip(names, parts, strict=True)
    }
    # Headers hang from the top: all have as many lines, the last one stands on the panel.
    most_lines = max(map(len, found.values()))
    return {name: [""] * (most_lines - len(lines)) + lines for name, lines in found.items()}


def most_layers(data: pd.DataFrame) -> int:
    """Layers of the arm that has most of them."""
    return int(data.groupby("arm")["layer"].nunique().max())


def epoch_ticks(data: pd.DataFrame) -> alt.Axis:
    """An axis of epochs with about four of them named."""
    epochs = sorted(set(data["epoch"]))
    every = max(1, math.ceil(len(epochs) / 4))
    return alt.Axis(values=epochs[::every], format="d", labelAngle=0, grid=False)

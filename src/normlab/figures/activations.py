"""`activations`: percentiles of norm layers' outputs over epochs (Ioffe & Szegedy 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from normlab.figures.epochs import left_out
from normlab.figures.figure import Source
from normlab.figures.layers import OfLayers, epoch_ticks, layer_grid, most_layers
from normlab.figures.style import COLORS, Chart, fitted
from normlab.lazy import altair as alt
from normlab.lazy import pandas as pd

PERCENTILES = (1, 20, 80, 99)


class Activations(OfLayers):
    """Percentiles 1, 20, 80, 99 of norm layers' outputs over epochs (Ioffe & Szegedy 2015)."""

    title: ClassVar[str] = "figure 'activations'"
    usual: ClassVar[str] = "What the norm layers give"
    kind: Literal["activations"]

    def rows(self, source: Source) -> pd.DataFrame:
        """Means over seeds: `arm`, `layer`, `epoch`, `p1`, `p20`, `p80`, `p99`."""
        names = [f"p{percentile}" for percentile in PERCENTILES]
        return self.layer_rows(source, "activations", names, "norm layer")

    def reading(self, rows: pd.DataFrame) -> str:
        """What the bands are, and how many layers there are."""
        return (
            "Percentiles 1 to 99 (light) and 20 to 80 (dark) of each norm layer's output in eval "
            "mode on 256 images, mean over seeds; layers from the input to the head."
            + left_out(most_layers(rows), rows.attrs["there"], "layers")
        )

    def chart(self, rows: pd.DataFrame, every: Sequence[str]) -> Chart:
        """A row per arm, a column per layer, all on one scale."""
        scale = alt.Scale(domain=fitted([*rows["p1"], *rows["p99"]]), nice=False, zero=False)

        def bands(part: pd.DataFrame, is_last: bool) -> Any:
            return alt.layer(
                *(
                    alt.Chart(part)
                    .mark_area(opacity=opacity, color=COLORS[0])
                    .encode(
                        x=alt.X(
                            "epoch:Q", title="Epoch" if is_last else None, axis=epoch_ticks(part)
                        ),
                        y=alt.Y(f"p{low}:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4)),
                        y2=f"p{high}:Q",
                    )
                    for low, high, opacity in ((1, 99, 0.25), (20, 80, 0.55))
                )
            )

        return layer_grid(bands, rows)

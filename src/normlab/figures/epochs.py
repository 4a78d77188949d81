"""What the epochs recorded, as rows, and its means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from normlab.errors import UserError, unknown
from normlab.figures.figure import NotDrawnError
from normlab.frames.load import Frames
from normlab.frames.tables import COUNTED
from normlab.lazy import pandas as pd
from normlab.records import UNFINISHED
from normlab.stats import t_intervals

_MOST = 6  # layers shown where a figure names none

READING = (
    "Mean over seeds with its 95 % interval as a band, cut where the figure ends. Click a name to "
    "pick it out."
)


def drawn_epochs(frames: Frames, arms: Sequence[str]) -> pd.DataFrame:
    """Epochs of trials that count, those still running as far as they are."""
    states = frames.trials["state"].isin((*COUNTED, *UNFINISHED))
    drawn = frames.trials[states & frames.trials["arm"].isin(arms)]["id"]
    return frames.epochs[frames.epochs["id"].isin(drawn)]


def details(frames: Frames, arms: Sequence[str], name: str) -> Iterable[tuple[str, int, Any]]:
    """Arm, epoch and value of every epoch whose details have that name."""
    epochs = drawn_epochs(frames, arms)
    if "details" not in epochs:  # of trials run elsewhere
        return
    for arm, epoch, found in epochs[["arm", "epoch", "details"]].itertuples(index=False):
        if isinstance(found, dict) and found.get(name) is not None:
            yield arm, epoch, found[name]


def chosen_layers(
    found: Iterable[Mapping[str, object]], wanted: Sequence[str] | None, what: str
) -> list[str]:
    """Names of the layers to show: those wanted, or some spread evenly over the depth.

    Raises:
        UserError: One that is wanted is not there.
        NotDrawnError: There are none.
    """
    names = list(dict.fromkeys(name for values in found for name in values))
    if not names:
        raise NotDrawnError("no epoch has recorded it")
    if wanted is not None:
        chosen: list[str] = []
        for name in wanted:
            # By its whole name or a part between dots: `norm1`, as `show model` prints it.
            fits = [n for n in names if f".{name}." in f".{n}."]
            if not fits:
                raise UserError(unknown(what, name, names))
            chosen += [n for n in fits if n not in chosen]
        return chosen
    if len(names) <= _MOST:
        return names
    return [names[round(place)] for place in np.linspace(0, len(names) - 1, _MOST)]


def left_out(shown: int, there: int, what: str) -> str:
    """A sentence for a figure that has room for some only."""
    return (
        f" {shown} of {there} {what}: the figure's layers choose others." if shown < there else ""
    )


def over_seeds(
    parts: Sequence[pd.DataFrame], arms: Sequence[str], bounds: tuple[float, float]
) -> pd.DataFrame:
    """Means over seeds with 95 % t-intervals.

    Args:
        parts: Rows of `arm`, `panel`, `epoch`, `value`.
        arms: In the order wanted.
        bounds: Limits are cut there.

    Returns:
        `arm`, `panel`, `epoch`, `mean`, `low`, `high`, `seeds`; by panel in the order of `parts`,
        arm and epoch, without rows that have no value.

    Raises:
        NotDrawnError: There is no value at all.
    """
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if not len(rows) or rows["value"].isna().all():
        raise NotDrawnError("no epoch has recorded it")
    panels = list(dict.fromkeys(rows["panel"]))
    table = rows.groupby(["arm", "panel", "epoch"], as_index=False)["value"].agg(
        ["mean", "var", "count"]
    )
    table = table[table["count"] > 0]
    limits = t_intervals(table["mean"], table["var"], table["count"])
    table["low"], table["high"] = (np.clip(limit, *bounds) for limit in limits[1:])
    table = table.rename(columns={"count": "seeds"}).assign(
        first=table["panel"].map(panels.index), second=table["arm"].map(list(arms).index)
    )
    table = table.sort_values(["first", "second", "epoch"], ignore_index=True)
    return table[["arm", "panel", "epoch", "mean", "low", "high", "seeds"]]


def detail_rows(
    frames: Frames,
    arms: Sequence[str],
    names: Mapping[str, str],
    bounds: tuple[float, float],
    scale: float = 1.0,
) -> pd.DataFrame:
    """Numbers of the epochs' details, by name -> `panel`; see `over_seeds`."""
    rows = [
        {"arm": arm, "epoch": epoch, "panel": panel, "value": scale * value}
        for name, panel in names.items()
        for arm, epoch, value in details(frames, arms, name)
    ]
    return over_seeds([pd.DataFrame(rows)], frames.arms, bounds)

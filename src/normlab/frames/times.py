"""The report's times to accuracy: usual targets and the study's own, beside the fastest arm's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from normlab.frames.load import Frames
from normlab.frames.shares import together
from normlab.frames.tables import time_table
from normlab.lazy import pandas as pd
from normlab.records.plan import PlanRecord

USUAL = (0.8, 0.9, 0.95, 0.98, 0.99)
"""Accuracies that every report has times to."""

CLOCKS = ("seconds", "examples")


class Target(NamedTuple):
    """What a time is until: an accuracy, held in so many evaluations in a row."""

    accuracy: float
    hold: int = 1


def own_targets(plan: PlanRecord) -> list[Target]:
    """Those of the study's claims and figures, each once, in ascending order."""
    found = {Target(c.time.target, c.time.hold) for c in plan.judged if c.time is not None}
    found |= {target for figure in plan.figures for target in _named(figure.options)}
    return sorted(found)


def report_times(frames: Frames) -> pd.DataFrame:
    """Times of every counted trial to the usual targets and to the study's own.

    Returns:
        The rows of `time_table` with `hold`; `own`, whether a claim or a figure of the study has
        this target; `together`, how many trials trained side by side with it: beyond 1, `seconds`
        are its share; and `seconds_ratio` and `examples_ratio`: the trial's time divided by the
        mean of the fastest arm, on each clock. The fastest is the one with the least mean among the
        arms all of whose trials reached the target; where there is none, there is no ratio. Of a
        trial that did not reach it, time and ratio are lower bounds.
    """
    own = own_targets(frames.plan)
    every = dict.fromkeys([*map(Target, USUAL), *own])
    parts = []
    for hold in dict.fromkeys(target.hold for target in every):
        wanted = sorted(target.accuracy for target in every if target.hold == hold)
        part = time_table(frames, wanted, hold=hold)
        is_own = [Target(accuracy, hold) in own for accuracy in part["target"]]
        parts.append(part.assign(hold=hold, own=is_own))
    table = pd.concat(parts, ignore_index=True)
    most = dict(zip(frames.trials["id"], together(frames.trials), strict=True))
    table["together"] = [most.get(trial, 1) for trial in table["id"]]
    for clock in CLOCKS:
        table[f"{clock}_ratio"] = np.nan
    for _, rows in table.groupby(["split", "target", "hold"]):
        arms = rows.groupby("arm")
        reached = arms["reached"].all()
        for clock in CLOCKS:
            means = arms[clock].mean()[reached]
            if len(means) and means.min() > 0:
                table.loc[rows.index, f"{clock}_ratio"] = rows[clock] / means.min()
    return table


def _named(options: object) -> Iterator[Target]:
    """The targets anywhere in a figure's options."""
    if isinstance(options, Mapping):
        accuracy, hold = options.get("target"), options.get("hold", 1)
        if isinstance(accuracy, float) and isinstance(hold, int):
            yield Target(accuracy, hold)
        options = list(options.values())
    if isinstance(options, list | tuple):
        for one in options:
            yield from _named(one)

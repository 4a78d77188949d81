"""How fast stored trials trained and where, and the hours that claims need to be settled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from normlab.frames.load import Frames, once
from normlab.lazy import pandas as pd
from normlab.places import TOGETHER, Place, trained_together
from normlab.records import FINISHED
from normlab.records.plan import PlanRecord
from normlab.wording import OUT_OF_REACH

SPEED = ("device", "chip", "threads")
"""Fields of a trial's provenance that make a machine as far as speed goes."""


class _Machine(NamedTuple):
    """Values of `SPEED`, and how many trials trained together there."""

    fields: tuple[object, ...]
    together: int | None


@dataclass(frozen=True, kw_only=True)
class StoredSpeed:
    """How fast an arm's trials trained on one machine.

    Attributes:
        seconds: Of an epoch's training steps, the mean over all epochs.
        place: `device`, `chip` and `threads`.
        trials: That were timed.
        together: How many of them trained side by side; None of trials that torch's path trained.
    """

    seconds: float
    place: Place
    trials: int
    together: int | None = None


def stored_speeds(frames: Frames) -> dict[str, list[StoredSpeed]]:
    """By arm the speeds of its stored trials, the one with most trials first.

    One for each machine and each number of trials that trained together. Trials that several
    machines trained, or whose machine is not known, are left out, and so are those that trained
    with now more and now fewer.
    """
    timed = frames.epochs.groupby(["arm", "id"], as_index=False, sort=False)["seconds"].agg(
        ["sum", "count"]
    )
    where = dict(zip(frames.trials["id"], map(_machine, frames.trials["provenance"]), strict=True))
    found: dict[str, dict[_Machine, list[tuple[float, int]]]] = {}
    for row in timed.to_dict("records"):
        machine = where.get(row["id"])
        if machine is not None and math.isfinite(row["sum"]) and row["count"]:
            of_arm = found.setdefault(str(row["arm"]), {})
            of_arm.setdefault(machine, []).append((float(row["sum"]), int(row["count"])))
    return {arm: _speeds(by_machine) for arm, by_machine in found.items()}


def _speeds(by_machine: Mapping[_Machine, list[tuple[float, int]]]) -> list[StoredSpeed]:
    speeds = [
        StoredSpeed(
            seconds=sum(seconds for seconds, _ in trials) / sum(epochs for _, epochs in trials),
            place=dict(zip(SPEED, machine.fields, strict=True)),
            trials=len(trials),
            together=machine.together,
        )
        for machine, trials in by_machine.items()
    ]
    timed = [speed for speed in speeds if speed.seconds > 0]  # a clock set back measures nothing
    return sorted(timed, key=lambda speed: -speed.trials)


@once
def trial_seconds(frames: Frames) -> dict[str, float]:
    """By arm the mean training seconds of its finished trials, where a clock or a file tells."""
    ended = frames.trials[frames.trials["state"].isin(FINISHED)]
    if "seconds" not in ended:
        return {}
    means = ended.dropna(subset=["seconds"]).groupby("arm")["seconds"].mean()
    return {str(arm): float(mean) for arm, mean in means.items()}


def finished_ids(frames: Frames) -> frozenset[str]:
    """The trials that will never run again."""
    return frozenset(frames.trials.loc[frames.trials["state"].isin(FINISHED), "id"])


def finished_trials(frames: Frames) -> dict[str, int]:
    """By arm how many of its trials will never run again."""
    done = frames.trials[frames.trials["state"].isin(FINISHED)]
    return {str(arm): int(count) for arm, count in done["arm"].value_counts().items()}


def claim_hours(
    claims: pd.DataFrame,
    plan: PlanRecord,
    hours: Mapping[str, float | None],
    finished: Mapping[str, int],
) -> pd.Series[float]:
    """Hours on one worker until each claim has the seeds that it needs.

    Args:
        claims: From `claim_plans`.
        plan: The study's.
        hours: Of a trial, by arm; None where that is not known.
        finished: Trials by arm that are done.

    Returns:
        A value per row of `claims`; missing where the seeds or the hours of an arm are unknown, or
        where the margin is out of reach (`normlab.wording.OUT_OF_REACH`).
    """
    arms = {record.name: record.arms for record in plan.judged}
    found = []
    for row in claims.to_dict("records"):
        seeds, trial = row["seeds_needed"], [hours.get(arm) for arm in arms[row["claim"]]]
        if seeds is None or not seeds <= OUT_OF_REACH or None in trial:
            found.append(math.nan)
            continue
        left = [max(seeds - finished.get(arm, 0), 0) for arm in arms[row["claim"]]]
        found.append(sum(n * (each or 0.0) for n, each in zip(left, trial, strict=True)))
    return pd.Series(found, index=claims.index, dtype=float, name="hours")


def _machine(places: object) -> _Machine | None:
    """The one machine of a trial's places, with how many trained together."""
    given = places if isinstance(places, list) else []
    found = {
        _Machine(
            tuple(place.get(field) for field in SPEED),
            trained_together([place]) if TOGETHER in place else None,
        )
        for place in given
    }
    machine = found.pop() if len(found) == 1 else None
    return None if machine is None or None in machine.fields else machine

"""What a source printed beside what trials gave, in the source's own measure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from normlab.errors import listing
from normlab.frames.collapses import collapse_table, never_learned
from normlab.frames.load import Frames
from normlab.frames.scores import measured, time_arrays
from normlab.frames.shares import arms_with_shares
from normlab.frames.titles import metric_title, time_title
from normlab.lazy import pandas as pd
from normlab.metrics import BEST_TEST, METRICS, at_text
from normlab.records.plan import PlanRecord, PublishedRecord, TimeRecord
from normlab.stats.contrasts import FEWEST
from normlab.stats.intervals import Intervals
from normlab.stats.survival import restricted_means
from normlab.wording import SHARE, counted

COLUMNS = (
    "arm", "run", "metric", "measure", "at", "published", "printed", "ours", "low", "high", "seeds",
    "difference", "judged_at", "judged", "judged_low", "judged_high", "source", "note",
)  # fmt: skip
_NUMBERS = ("printed", "ours", "low", "high", "difference", "judged", "judged_low", "judged_high")

_TIME = re.compile(r"(seconds|examples)_to_(0?\.\d+)")
_PARAMETERS = "parameters"


class Ours(NamedTuple):
    """Means, intervals and numbers of trials, an array over arms each, and remarks by arm."""

    limits: Intervals
    seeds: Sequence[int]
    remarks: Sequence[str]


class Trials(NamedTuple):
    """The trials, if there are any, with what their arms are asked for again and again.

    Attributes:
        frames: The study's.
        place: Its arms by label.
        rehearsal: Whether it is the quick variant.
        never: Arms of a rehearsal none of whose trials learned: what they scored is no result.
    """

    frames: Frames | None
    place: Mapping[str, int]
    rehearsal: bool
    never: frozenset[str]

    @classmethod
    def of(cls, frames: Frames | None) -> Trials:
        """Those of a study."""
        if frames is None:
            return cls(None, {}, rehearsal=False, never=frozenset())
        place = {label: index for index, label in enumerate(frames.arms)}
        if not frames.plan.rehearsal:
            return cls(frames, place, rehearsal=False, never=frozenset())
        never = frozenset(never_learned(collapse_table(frames)))
        return cls(frames, place, rehearsal=True, never=never)


def published_table(plan: PlanRecord, frames: Frames | None = None) -> pd.DataFrame:
    """Every published number beside ours: a row for each, measure by measure, in the arms' order.

    Args:
        plan: Its `published` has the numbers.
        frames: The trials. Of a rehearsal (the quick variant) no difference is taken, and arms none
            of whose trials learned have no number. None: the published numbers alone.

    Returns:
        Columns `arm`; `run`, what tells it from other numbers of the same arm; `metric`, by name,
        or a column of the source's; `measure` in words, with its unit; `at`, the epoch that the
        source took; `published`, a number or words; `printed`, what it printed where that is in
        another unit; `ours`, the mean over seeds in the same measure, with `low` and `high` of the
        95 % t-interval (from three seeds on) and `seeds`; `difference`, ours minus published;
        `judged` with `judged_low` and `judged_high`, the same at the study's own epoch,
        `judged_at`, where that is another; `source`, where it is printed; `note`, what must be
        known of it. Accuracies and F1 scores are in percent, times in seconds.
    """
    place = {label: index for index, label in enumerate(plan.labels)}
    trials = Trials.of(frames)
    metrics = list(dict.fromkeys(name for row in plan.published for name in row.values))
    rows = [
        row
        for metric in metrics
        for row in sorted(
            _rows(plan, trials, metric), key=lambda found: place.get(str(found["arm"]), -1)
        )
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(_NUMBERS, float))


def published_notes(plan: PlanRecord, table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know, a sentence each without its full stop.

    Where the numbers are printed, what the study file says of them, how they were converted, and
    the notes of single rows.
    """
    sources = list(dict.fromkeys(filter(None, table["source"])))
    notes = [f"Published: {'; '.join(sources)}"] if sources else []
    notes += plan.published_notes
    if (table["at"] == at_text(BEST_TEST)).any():
        notes.append(
            "The source took each number at the epoch where it was best. On test images that is "
            "biased: it is shown here because the source did it, and judges nothing"
        )
    divided: dict[float, list[str]] = {}
    for row in plan.published:
        for name, divisor in row.divided_by.items():
            divided.setdefault(divisor, []).append(METRICS[name].words)
    for divisor, words in divided.items():
        notes.append(
            f"Printed values of {listing(dict.fromkeys(words))} were divided by {divisor:g}: they "
            f"are multiplied by it here, and what was printed stands in parentheses"
        )
    said: dict[str, list[str]] = {}
    own = sorted({row.note for row in plan.published if row.note}, key=len, reverse=True)
    for arm, run, note in zip(table["arm"], table["run"], table["note"], strict=True):
        # The row's own note, then what is remarked on this number.
        mine = next((one for one in own if note.startswith(one)), "")
        for part in filter(None, (mine, note.removeprefix(mine).removeprefix("; "))):
            said.setdefault(part, []).append(f"{arm}, {run}" if run else arm)
    every = len(set(zip(table["arm"], table["run"], strict=True)))
    for note, arms in said.items():
        where = list(dict.fromkeys(arms))
        notes.append(note if len(where) == every > 1 else f"{_some(where)}: {note}")
    return notes


def _rows(plan: PlanRecord, trials: Trials, metric: str) -> Iterable[dict[str, object]]:
    """The rows of one metric or column, in the order of the study file."""
    printed = [row for row in plan.published if metric in row.values]
    arms = list(dict.fromkeys(arm for row in printed for arm in row.arms))
    frames = trials.frames
    found: dict[object, Ours | None] = {}
    for row in printed:
        at = plan.analysis.at if row.at is None else row.at
        for key in ((at, row.split), (plan.analysis.at, row.split)):
            if key not in found:
                found[key] = None if frames is None else _ours(frames, metric, *key, arms)
        ours, judged = found[at, row.split], found[plan.analysis.at, row.split]
        per_epoch = metric in METRICS and METRICS[metric].per_epoch
        is_other = per_epoch and at != plan.analysis.at
        for arm in row.arms:
            yield {
                "arm": arm,
                "run": row.run or "",
                "metric": metric,
                "measure": _measure(metric, row),
                "at": at_text(at) if per_epoch else "",
                "judged_at": at_text(plan.analysis.at) if is_other else "",
                "source": row.source or "",
                **_numbers(trials, ours, row, metric, arm),
                **(_judged(trials, judged, arm) if is_other else {}),
            }


def _numbers(
    trials: Trials, ours: Ours | None, row: PublishedRecord, metric: str, arm: str
) -> dict[str, object]:
    value = row.values[metric]
    notes = [row.note] if row.note else []
    numbers: dict[str, object] = {"published": value, "printed": row.printed.get(metric)}
    index = trials.place.get(arm)
    if ours is None and trials.frames is not None:
        notes.append(f"normlab has no measure '{metric}', so there is none of ours")
    elif arm in trials.never:
        notes.append("none of its trials learned in the rehearsal")
    elif ours is not None and index is not None:
        numbers |= {"seeds": ours.seeds[index], **_limits(ours, index, "ours", "")}
        if isinstance(value, int | float) and not trials.rehearsal:
            numbers["difference"] = ours.limits.mean[index] - value
        notes += filter(None, [ours.remarks[index]])
    return {"seeds": 0, **numbers, "note": "; ".join(notes)}


def _judged(trials: Trials, found: Ours | None, arm: str) -> dict[str, object]:
    index = trials.place.get(arm)
    if found is None or index is None or arm in trials.never:
        return {}
    return _limits(found, index, "judged", "judged_")


def _limits(found: Ours, index: int, mean: str, prefix: str) -> dict[str, object]:
    made: dict[str, object] = {mean: found.limits.mean[index]}
    if found.seeds[index] >= FEWEST:
        made |= {f"{prefix}low": found.limits.low[index], f"{prefix}high": found.limits.high[index]}
    return made


def _ours(
    frames: Frames, metric: str, at: str | int, split: str | None, arms: Sequence[str]
) -> Ours | None:
    """What the trials gave, of every arm; None where normlab measures no such thing."""
    if metric in METRICS:
        return _scores(frames, metric, at)
    if (time := _time(metric, split)) is not None:
        return _times(frames, time, [arm for arm in arms if arm in frames.arms])
    if metric == _PARAMETERS:
        count = [arm.parameters or np.nan for arm in frames.plan.arms]
        none = np.full(len(count), np.nan)
        return Ours(Intervals(np.array(count, dtype=float), none, none), *_silent(len(count)))
    return None


def _scores(frames: Frames, metric: str, at: str | int) -> Ours:
    found = measured(frames, metric, at)
    seeds = found.arms.seeds.astype(int).tolist()
    remarks = _of_shares(frames) if metric == "seconds" else _silent(len(seeds))[1]
    return Ours(found.intervals(), seeds, remarks)


def _of_shares(frames: Frames) -> list[str]:
    """What is remarked on the seconds of each arm."""
    shared = arms_with_shares(frames)
    return [f"ours: {SHARE}" if arm in shared else "" for arm in frames.arms]


def _times(frames: Frames, time: TimeRecord, arms: Sequence[str]) -> Ours:
    """Times to a target; a trial that never got there counts with the longest training."""
    study = time_arrays(frames, time, arms)
    seeds = (~np.isnan(study.times)).sum(axis=1).tolist()
    there = [study.successes(index) for index in range(len(seeds))]
    remarks = [_reached(*found) for found in zip(there, seeds, strict=True)]
    if time.clock == "seconds":
        both = zip(remarks, _of_shares(frames), strict=True)
        remarks = ["; ".join(filter(None, found)) for found in both]
    limits = restricted_means(study)
    low, high = (np.clip(limit, 0.0, study.budget) for limit in (limits.low, limits.high))
    # Where nobody got there the mean is but the length of the training.
    known = np.array(there) > 0
    mean, low, high = (np.where(known, limit, np.nan) for limit in (limits.mean, low, high))
    return Ours(Intervals(mean, low, high), seeds, remarks)


def _reached(there: int, trials: int) -> str:
    if there == trials:
        return ""
    if not there:
        return f"none of our {counted(trials, 'trial')} got there"
    return f"{there} of our {trials} trials got there; the others count with the longest training"


def _silent(count: int) -> tuple[list[int], list[str]]:
    return [0] * count, [""] * count


def _time(metric: str, split: str | None) -> TimeRecord | None:
    """What a column such as `seconds_to_0.87` measures."""
    read = _TIME.fullmatch(metric)
    if read is None:
        return None
    whose = "train" if split == "train" else "validation"
    clock = "seconds" if read[1] == "seconds" else "examples"
    return TimeRecord(target=float(read[2]), split=whose, clock=clock, hold=1)


def _measure(metric: str, row: PublishedRecord) -> str:
    """Name and unit in words; a column of the source's as it calls it."""
    if metric in METRICS:
        return metric_title(metric)
    if (time := _time(metric, row.split)) is not None:
        return time_title(time)
    return metric.capitalize() if metric == _PARAMETERS else metric


def _some(names: Sequence[str], most: int = 4) -> str:
    return listing(names if len(names) <= most else [*names[:most], f"{len(names) - most} more"])

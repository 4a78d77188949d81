"""What a study found, in at most five plain sentences, and what that rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from normlab.frames.claim_words import margin_text, measured_text
from normlab.frames.collapses import collapse_table
from normlab.frames.hours import trial_seconds
from normlab.frames.judging import Judged, judge
from normlab.frames.load import Frames, once
from normlab.frames.names import arm_words, side_names
from normlab.frames.tables import COUNTED, arm_table
from normlab.lazy import pandas as pd
from normlab.recipe import value_text
from normlab.records.plan import ClaimRecord
from normlab.stats.claims import CLAIMS, Verdict
from normlab.stats.claims.words import Telling
from normlab.wording import OUT_OF_REACH, counted, reach_text, rough_hours, span_text

MOST = 5
SETTLED = frozenset({"supported", "refuted"})


class Answer(NamedTuple):
    """The top of a report.

    Attributes:
        sentences: At most five; a rehearsal has none.
        basis: What they rest on: trials, arms, seeds, data, epochs, and at what scale.
        collapsed: Arms that never learned, named before anything else; empty if none.
    """

    sentences: tuple[str, ...]
    basis: str
    collapsed: str


def answer(frames: Frames) -> Answer:
    """What the study's claims say of its question; without claims, the arms' order."""
    judged = [one for one in judge(frames) if one.verdict is not None]
    sentences: Sequence[str] = ()
    if not frames.plan.rehearsal:
        sentences = _of_claims(frames, judged) if judged else _of_arms(frames)
    return Answer(tuple(sentences), _basis(frames), _collapsed(frames))


@once
def words_of_arms(frames: Frames) -> dict[str, str]:
    """Every arm in words, by its label, in the plan's order."""
    return {arm.label: arm_words(frames.plan, arm) for arm in frames.plan.arms}


def sentence_of(frames: Frames, record: ClaimRecord, found: Verdict) -> str:
    """A verdict as one plain sentence; between looks the estimate alone."""
    if found.verdict == "in progress":
        measured = measured_text(record, found, list(words_of_arms(frames).values()))
        return f"{record.name}: {measured or 'nothing to compare'} so far."
    unit = CLAIMS[record.kind].unit(record)
    sides, place = side_names(frames.plan, record.sides)
    telling = Telling(
        record=record,
        found=found,
        sides=sides,
        names=tuple(words_of_arms(frames).values()),
        place=place,
        measured=CLAIMS[record.kind].as_measured(found, record)[1:],
        halves=tuple(
            side_names(frames.plan, record.sides[at : at + 2])
            for at in (0, 2)
            if at + 2 <= len(sides)
        ),
        more=_more(frames, record, found),
        scale=unit.scale,
        unit="" if unit.name == "nats" else unit.name,
        margin=margin_text(record),
    )
    said = CLAIMS[record.kind].sentence(telling)
    return said[0].upper() + said[1:]


def out_of_reach_text(record: ClaimRecord, found: Verdict) -> str:
    """Which margin is out of reach and which is not; empty where the seeds to settle are few."""
    if found.reachable is None or not np.isfinite(found.reachable):
        return ""
    if found.reachable <= found.margin:  # it is not the margin that is too small
        return f"the difference is about the margin: more than {OUT_OF_REACH} seeds would be needed"
    if record.time is not None:  # its margin is a fraction of the other arm's time
        return f"its margin is out of reach: more than {OUT_OF_REACH} seeds would be needed"
    unit = CLAIMS[record.kind].planned_unit(record)
    return reach_text(margin_text(record), unit.text(found.reachable, ".2g"))


def _more(frames: Frames, record: ClaimRecord, found: Verdict) -> str:
    """What would settle an open claim: seeds an arm, and hours at the speed seen."""
    if far := out_of_reach_text(record, found):
        return far
    if found.seeds_to_settle is None:
        fewest = CLAIMS[record.kind].fewest
        return f"it takes {fewest} seeds or more" if min(found.seeds) < fewest else ""
    more = found.seeds_to_settle - min(found.seeds)
    of_arm = trial_seconds(frames)
    seconds = sum(of_arm.get(arm, 0.0) for arm in record.arms)
    text = f"about {counted(more, 'more seed')}"
    return text + (f", {rough_hours(more * seconds / 3600)}" if seconds > 0 else "")


def _of_claims(frames: Frames, judged: Sequence[Judged]) -> list[str]:
    """A sentence per claim, settled ones first; of more than five the last counts the rest."""
    settled = [one for one in judged if one.verdict and one.verdict.verdict in SETTLED]
    ordered = [*settled, *(one for one in judged if one not in settled)]
    most = MOST if len(ordered) <= MOST else MOST - 1
    said = []
    for one in ordered[:most]:
        if isinstance(one.record, ClaimRecord) and one.verdict is not None:
            mark = " Exploratory." if one.exploratory else ""
            said.append(sentence_of(frames, one.record, one.verdict) + mark)
    rest = ordered[most:]
    if rest:
        left = sum(one not in settled for one in rest)
        verdicts = [f"{len(rest) - left} settled"] if len(rest) > left else []
        verdicts += [f"{left} open"] if left else []
        said.append(f"{counted(len(rest), 'more claim')}: {', '.join(verdicts)}; see below.")
    return said


def _of_arms(frames: Frames) -> list[str]:
    """Without claims: the range of the arms' means, which is no verdict."""
    arms = arm_table(frames).dropna(subset=["test_mean"]).sort_values("test_mean", kind="stable")
    if not len(arms):
        return []
    words = words_of_arms(frames)
    ends = [arms.iloc[0], arms.iloc[-1]] if len(arms) > 1 else [arms.iloc[0]]
    parts = [f"{100 * end['test_mean']:.2f} % for {words[str(end['arm'])]}" for end in ends]
    if len(parts) == 1:
        return [f"Mean test accuracy is {parts[0]}."]
    return [
        f"Mean test accuracy runs from {parts[0]} to {parts[1]}. The study makes no claim, so this "
        "is a description: arms whose intervals overlap may well be equal."
    ]


def _basis(frames: Frames) -> str:
    """Trials, arms, seeds, epochs and images, and how much of the study that is."""
    plan = frames.plan
    trials = frames.trials[frames.trials["state"].isin(COUNTED)]
    if not len(trials):
        return "no finished trial yet"
    seeds = trials.groupby("arm")["seed"].nunique()
    parts = [
        counted(len(trials), "trial"),
        f"{counted(int(trials['arm'].nunique()), 'arm')} with {_span(seeds, 'seed')}",
    ]
    for column, what in (("epoch", "epoch"), ("train_images", "training image")):
        if column in trials and trials[column].notna().any():
            parts.append(_span(trials[column].dropna(), what))
    if plan.rehearsal:
        scale = "a rehearsal, which answers nothing"
    elif plan.overrides:
        given = ", ".join(f"{key}={value_text(value)}" for key, value in plan.overrides.items())
        scale = f"the study with {given}"
    else:
        scale = "the full study"
    return f"{', '.join(parts)}; {scale}"


def _span(numbers: pd.Series[Any], noun: str) -> str:
    """From the least to the most of something, with its noun."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"{span_text(low, high)} {noun}" + ("" if high == 1 else "s")


def _collapsed(frames: Frames) -> str:
    """Arms with trials that never learned, and how many."""
    table = collapse_table(frames)
    hit = table[table["collapsed"] > 0]
    if not len(hit):
        return ""
    words = words_of_arms(frames)
    every = hit[hit["collapsed"] == hit["trials"]]
    named = [
        f"{words[str(row['arm'])]} ({row['collapsed']} of {row['trials']})"
        for row in hit.to_dict("records")
    ]
    shown = ", ".join(named[:6]) + (f" and {len(named) - 6} more arms" if len(named) > 6 else "")
    whole = f" {len(every)} of {len(table)} arms never learned at all." if len(every) else ""
    return f"Trials hardly above chance: {shown}.{whole}"

"""Runs of another tool as a table of a study's trials, and what was left out of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from normlab.errors import UserError, listing
from normlab.frames.epoch_rows import FACTS, OF_ARMS
from normlab.frames.external_table import PERCENT, Table, number
from normlab.lazy import pandas as pd
from normlab.records.plan import PlanRecord
from normlab.text import one_form
from normlab.trackers.asked import Asked, option
from normlab.trackers.names import alike
from normlab.trackers.runs import (
    COMPLETE,
    FAILED,
    KILLED,
    RUNNING,
    Run,
    Runs,
    of_group,
    same_series,
)
from normlab.trackers.scores import (
    Curves,
    check_percents,
    curves,
    diverged,
    metrics_of,
    needed_metrics,
)
from normlab.trackers.whose import Owner, Owners
from normlab.wording import counted

_EXAMPLES = 3
_MOST_REASONS = 4
_MOST_LEFT_SHORT = 0.25
"""Of the runs of any arm: those with a curve of another length than most have."""


class LeftOutRuns(TypedDict):
    """Runs that do not count for one reason.

    Attributes:
        reason: In words.
        runs: How many.
        examples: The names of the first three.
    """

    reason: str
    runs: int
    examples: list[str]


@dataclass
class _Left:
    """Counts runs by the reason why they are left out."""

    by_reason: dict[str, list[str]] = field(default_factory=dict)

    def add(self, run: str, reason: str) -> None:
        self.by_reason.setdefault(reason, []).append(run)

    def counts(self) -> list[LeftOutRuns]:
        """The most frequent reason first."""
        ordered = sorted(self.by_reason.items(), key=lambda found: -len(found[1]))
        return [
            LeftOutRuns(reason=reason, runs=len(runs), examples=runs[:_EXAMPLES])
            for reason, runs in ordered
        ]


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Runs as a study's trials.

    Attributes:
        table: A row per run and epoch, or per run where only ends are known.
        left_out: Runs that do not count, by reason.
        notes: What to know of the others, a sentence each.
    """

    table: Table
    left_out: list[LeftOutRuns]
    notes: list[str]


@dataclass(kw_only=True)
class _Trial:
    """A run of the study."""

    run: Run
    owner: Owner
    state: str
    curves: Curves | None = None


def trials_table(runs: Runs, plan: PlanRecord, asked: Asked) -> Mapped:
    """The runs of a source that are of a study, as a table that `frames_from_table` reads.

    Args:
        runs: All of the source.
        plan: The study's.
        asked: What the user said of them.

    Raises:
        UserError: What may be two things, curves that end at different steps, or no run is left.
    """
    arms = {arm.label: dict(arm.levels) for arm in plan.arms}
    asked.check(key for levels in arms.values() for key in levels)
    if "state" in asked.map:
        raise UserError(
            f"{option('state', asked.map['state'])}: a tool tells itself how its runs ended; "
            "state is for tables"
        )
    left = _Left()
    for unread in runs.left_out:
        left.add(unread.run, unread.reason)
    for run in runs.runs:
        if asked.group not in {None, run.group}:
            left.add(run.name, "of another experiment or project")
    owners = Owners(of_group(runs, asked.group), arms, asked)
    trials = _trials(owners, left)
    _check_some(trials, runs, left, owners)
    columns = metrics_of([trial.run for trial in trials], needed_metrics(plan), asked)
    check_percents((trial.run for trial in trials), columns)
    for trial in trials:
        if diverged(trial.run, columns):
            trial.state = "diverged"
    main = _main(plan, columns, trials)
    trials = _with_scores(trials, columns, main, left)
    trials = _once(trials, columns, left)
    notes = [*runs.notes, *_groups(trials)]
    trials = _with_curves(trials, columns, main, asked=asked, left=left, notes=notes)
    _check_some(trials, runs, left, owners)
    for factor, count in Counter(key for trial in trials for key in trial.owner.unset).items():
        notes.append(
            f"{counted(count, 'run')} set no '{factor}': they count as null (--group takes one "
            "experiment or project)."
        )
    if not owners.says_seeds:
        notes.append("No run says its seed: runs are numbered within their arm.")
    if failed := [trial.run.name for trial in trials if trial.state == FAILED]:
        for name in failed:
            left.add(name, "failed")
    table = _table(runs, trials, columns, asked, owners)
    return Mapped(table=table, left_out=left.counts(), notes=notes)


def _trials(owners: Owners, left: _Left) -> list[_Trial]:
    found = []
    for run, owner in owners.each():
        if isinstance(owner, str):
            left.add(run.name, owner)
        elif run.state in {RUNNING, KILLED}:
            left.add(run.name, "still running" if run.state == RUNNING else "killed")
        else:
            found.append(_Trial(run=run, owner=owner, state=run.state))
    return found


def _check_some(trials: Sequence[_Trial], runs: Runs, left: _Left, owners: Owners) -> None:
    if trials:
        return
    every = len(runs.runs) + len(runs.left_out)
    if not every:
        raise UserError(f"{runs.path} has no runs of {runs.tool}")
    counts, there = left.counts(), owners.parameters()
    reasons = [
        f"{counted(found['runs'], 'run')}: {found['reason']} (such as '{found['examples'][0]}')"
        for found in counts[:_MOST_REASONS]
    ]
    if more := len(counts) - len(reasons):
        reasons.append(f"and {counted(more, 'more reason')}")
    raise UserError(
        f"{runs.path}: {counted(every, 'run')} of {runs.tool}, and none belongs to this study: "
        f"{'; '.join(reasons)}. {there[0].upper()}{there[1:]}. Say which is which with --map "
        'FACTOR=PARAMETER, or describe the run names: --names "{norm}-s{seed}"'
    )


def _main(plan: PlanRecord, columns: Mapping[str, str], trials: Sequence[_Trial]) -> str:
    """The column whose steps are the epochs: of those that claims need the one with most points."""
    needed = set(needed_metrics(plan))
    found = [c for c in columns if c.removesuffix(PERCENT) in needed] or list(columns)
    if not found:
        raise UserError("the runs of the study have no metric that normlab knows: --map names one")

    def points(column: str) -> int:
        every = (trial.run.metrics.get(columns[column]) for trial in trials)
        return max((len(series.steps) for series in every if series), default=0)

    return max(found, key=points)


def _with_scores(
    trials: Iterable[_Trial], columns: Mapping[str, str], main: str, left: _Left
) -> list[_Trial]:
    found = []
    for trial in trials:
        if trial.state == COMPLETE and columns[main] not in trial.run.metrics:
            left.add(trial.run.name, f"no metric {columns[main]}")
        else:
            found.append(trial)
    return found


def _once(trials: Sequence[_Trial], columns: Mapping[str, str], left: _Left) -> list[_Trial]:
    """Each arm and seed once, whatever its scores are: no choice is made by results."""
    groups: dict[object, list[_Trial]] = {}
    for at, trial in enumerate(trials):
        key = (trial.owner.arm, trial.owner.seed) if trial.owner.seed is not None else at
        groups.setdefault(key, []).append(trial)
    found = []
    for same in groups.values():
        ended = [trial for trial in same if trial.state != FAILED]
        for trial in same:
            if ended and trial.state == FAILED:
                left.add(trial.run.name, "failed, and run again")
        if not ended:
            ended = same[:1]
            for trial in same[1:]:
                left.add(trial.run.name, "failed, more than once")
        first = ended[0].run.metrics
        if all(
            same_series(trial.run.metrics.get(name), first.get(name))
            for trial in ended[1:]
            for name in columns.values()
        ):
            found.append(ended[0])
            for trial in ended[1:]:
                left.add(trial.run.name, "a copy of another run: same arm, seed and numbers")
            continue
        for trial in ended:
            left.add(
                trial.run.name,
                "one of several runs of one arm and seed with other numbers: none of them counts "
                "(--group or --map seed=... may tell them apart)",
            )
    return found


def _groups(trials: Iterable[_Trial]) -> list[str]:
    groups = Counter(trial.run.group for trial in trials)
    if len(groups) < 2:
        return []
    said = [f"{group} ({count})" for group, count in groups.most_common(5)]
    return [
        f"The runs are of {len(groups)} experiments or projects: {listing(said)}"
        f"{' and others' if len(groups) > 5 else ''}. --group NAME takes one."
    ]


def _with_curves(
    trials: Sequence[_Trial],
    columns: Mapping[str, str],
    main: str,
    *,
    asked: Asked,
    left: _Left,
    notes: list[str],
) -> list[_Trial]:
    """The trials with their curves, all of one length, or as the user said."""
    name = columns[main]
    epoch = asked.map.get("epoch") or _epoch_metric(trials)
    of = epoch or name
    firsts = [
        trial.run.metrics[of].values[0] if epoch else trial.run.metrics[of].steps[0]
        for trial in trials
        if of in trial.run.metrics
    ]
    if trials and "epoch" in asked.map and not firsts:
        raise UserError(f"{option('epoch', of)}: no run of the study has a metric '{of}'")
    first = 0 if min(firsts, default=1) == 0 else 1
    aside: set[str] = set()
    for trial in trials:
        if name in trial.run.metrics and trial.state != FAILED:
            trial.curves = curves(trial.run, columns, main, first, epoch)
            aside |= trial.curves.aside
    if aside:
        said = [columns[column] for column in columns if column in aside]
        notes.append(
            f"Not read, because they were logged at other steps than {name}: {listing(said)}."
        )
    whole = [trial for trial in trials if trial.state == COMPLETE and trial.curves]
    lengths = Counter(trial.curves.epochs[-1] for trial in whole if trial.curves)
    if len(lengths) > 1:
        trials = _one_length(trials, whole, lengths, name, asked=asked, left=left, notes=notes)
    ends = {trial.curves.end for trial in trials if trial.curves and trial.state == COMPLETE}
    if len(lengths) == 1 and len(ends) > 1:
        points = counted(next(iter(lengths)), "point")
        notes.append(
            f"{name} has {points} in every run, the last at steps {min(ends)} to {max(ends)}: runs "
            "are compared point by point, as if all were trained as long."
        )
    return list(trials)


def _epoch_metric(trials: Iterable[_Trial]) -> str | None:
    names = dict.fromkeys(name for trial in trials for name in trial.run.metrics)
    return next(iter(alike("epoch", names)), None)


def _one_length(
    trials: Sequence[_Trial],
    whole: Sequence[_Trial],
    lengths: Counter[int],
    name: str,
    *,
    asked: Asked,
    left: _Left,
    notes: list[str],
) -> list[_Trial]:
    """Curves that end at different epochs, never compared unsaid."""
    least = min(lengths)
    if asked.ends == "own":
        notes.append(
            f"{name} ends at epochs {least} to {max(lengths)}; each run counts at its own end."
        )
        return list(trials)
    if asked.ends == "common":
        found = []
        for trial in trials:
            if trial.curves and trial.curves.epochs[0] > least:
                if trial.state == COMPLETE:
                    left.add(trial.run.name, f"begins after epoch {least}")
                    continue
                trial.curves = None  # it diverged, and counts with chance
            elif trial.curves and trial.curves.epochs[-1] > least:
                trial.curves = _cut(trial.curves, least)
            found.append(trial)
        notes.append(
            f"{name} ends at epochs {least} to {max(lengths)}; runs are compared at epoch {least}, "
            "which for some is not the end of their training."
        )
        return found
    usual = lengths.most_common(1)[0][0]
    totals = Counter(trial.owner.arm for trial in whole)
    others = [t for t in whole if t.curves and t.curves.epochs[-1] != usual]
    short = Counter(trial.owner.arm for trial in others)
    if any(short[arm] > _MOST_LEFT_SHORT * totals[arm] for arm in short):
        said = [f"epoch {end} ({counted(n, 'run')})" for end, n in sorted(lengths.items())[:6]]
        raise UserError(
            f"{name} has different steps per run: it ends at {listing(said)}. Runs are not "
            "compared at different lengths unless you say so: --ends common compares all at epoch "
            f"{least}, --ends own each at its end (as for runs that stopped early)"
        )
    for trial in others:
        end = trial.curves.epochs[-1] if trial.curves else 0
        left.add(trial.run.name, f"ends at epoch {end}, and most at {usual}")
    out = set(map(id, others))
    return [trial for trial in trials if id(trial) not in out]


def _cut(found: Curves, last: int) -> Curves:
    keep = sum(epoch <= last for epoch in found.epochs)
    values = {column: of[:keep] for column, of in found.values.items()}
    return Curves(epochs=found.epochs[:keep], values=values, end=found.end)


def _table(
    runs: Runs,
    trials: Sequence[_Trial],
    columns: Mapping[str, str],
    asked: Asked,
    owners: Owners,
) -> Table:
    by_epoch = owners.says_seeds and any(
        trial.curves and len(trial.curves.epochs) > 1 for trial in trials
    )
    facts = _facts(trials, asked)
    cells: dict[str, list[object]] = {"arm": [], "state": []}
    if owners.says_seeds:
        cells["seed"] = []
    if by_epoch:
        cells["epoch"] = []
    numbers: dict[str, list[float]] = {name: [] for name in (*columns, *facts)}
    names: list[str] = []
    for trial in trials:
        of = trial.curves or Curves(epochs=(1,), values={}, end=0)
        rows = range(len(of.epochs)) if by_epoch else [len(of.epochs) - 1]
        for at in rows:
            last = at == len(of.epochs) - 1
            names.append(trial.run.name)
            cells["arm"].append(one_form(trial.owner.arm))
            cells["state"].append(trial.state if last else "")
            if owners.says_seeds:
                cells["seed"].append(str(trial.owner.seed))
            if by_epoch:
                cells["epoch"].append(str(of.epochs[at]))
            for column in columns:
                value = of.values[column][at] if column in of.values else math.nan
                numbers[column].append(value if math.isfinite(value) else math.nan)
            for fact, theirs in facts.items():
                value = _number(trial.run.params.get(theirs, "")) if last else math.nan
                numbers[fact].append(value)
    made = pd.DataFrame(
        {
            **{name: pd.Series(found, dtype=object) for name, found in cells.items()},
            **{name: pd.Series(found, dtype=float) for name, found in numbers.items()},
        }
    )
    return Table(
        path=runs.path,
        cells=made,
        lines=tuple(range(1, len(made) + 1)),
        written={**columns, **facts},
        comma=False,
        runs=tuple(names),
    )


def _facts(trials: Sequence[_Trial], asked: Asked) -> dict[str, str]:
    """Facts of trials by the parameters that tell them, where all of these are numbers."""
    params = list(dict.fromkeys(name for trial in trials for name in trial.run.params))
    found = {}
    for fact in (*FACTS, *OF_ARMS):
        name = asked.map.get(fact) or next(iter(alike(fact, params)), None)
        if name is None:
            continue
        said = [trial.run.params[name] for trial in trials if name in trial.run.params]
        if not said and fact in asked.map:
            raise UserError(f"{option(fact, name)}: no run of the study has a parameter '{name}'")
        if all(not math.isnan(_number(text)) for text in said):
            found[fact] = name
    return found


def _number(text: str) -> float:
    value = number(text, comma=False)
    return math.nan if value is None else value

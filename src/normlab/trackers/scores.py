"""Which metrics of another tool are ours, and the epochs of a run's curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from normlab.errors import UserError, listing
from normlab.frames.external_table import PERCENT
from normlab.metrics import METRICS
from normlab.records.plan import PlanRecord
from normlab.trackers.asked import Asked, option
from normlab.trackers.names import flat, maybe_ours, ours
from normlab.trackers.runs import Run, Series, first_names, same_series

_MADE_OF = {
    "test_f1_gap": ("test_micro_f1", "test_macro_f1"),
    "validation_f1_gap": ("validation_micro_f1", "validation_macro_f1"),
    "train_f1_gap": ("train_micro_f1", "train_macro_f1"),
    "test_loss_rises": ("test_loss", "train_loss"),
}


def needed_metrics(plan: PlanRecord) -> list[str]:
    """The metrics that a study's claims are judged by."""
    found: list[str] = []
    for claim in plan.judged:
        if claim.metric:
            found += _MADE_OF.get(claim.metric, (claim.metric,))
        if claim.at == "best_validation":
            found.append("validation_accuracy")
        if claim.time:
            found += [f"{claim.time.split}_accuracy"]
    return list(dict.fromkeys(found))


def metrics_of(runs: Sequence[Run], needed: Iterable[str], asked: Asked) -> dict[str, str]:
    """Our columns by their metrics: as asked, else where the name leaves no doubt.

    Args:
        runs: Those of the study.
        needed: The metrics without which there is no verdict.
        asked: What the user said.

    Raises:
        UserError: A needed one is not there for certain, or one may be either of two.
    """
    counts = Counter(name for run in runs for name in run.metrics)
    found: dict[str, str] = {}
    for column, theirs in asked.map.items():
        if column.removesuffix(PERCENT) in METRICS:
            if theirs not in counts:
                raise UserError(
                    f"{option(column, theirs)}: no run of the study has a metric '{theirs}'; "
                    f"{_there(counts)}"
                )
            found[column] = theirs
    said = {column.removesuffix(PERCENT) for column in found}
    by_column: dict[str, list[str]] = {}
    for name in counts:
        metric = (ours(name) or "").removesuffix(PERCENT)
        if metric and metric not in said:
            by_column.setdefault(metric, []).append(name)
    for metric, names in by_column.items():
        one = _one_of(metric, names, runs, needed=metric in set(needed))
        if one is not None:
            found[str(ours(one))] = one
    have = {column.removesuffix(PERCENT) for column in found}
    if missing := [metric for metric in needed if metric not in have]:
        raise UserError(asking(missing[0], counts))
    return found


def _one_of(metric: str, names: list[str], runs: Sequence[Run], *, needed: bool) -> str | None:
    """One of several names of a metric; None where they differ and no claim is about it."""
    exact = [name for name in names if name == metric] or names
    first = exact[0]
    if len(exact) == 1:
        return first
    for run in runs:
        there = [run.metrics[name] for name in exact if name in run.metrics]
        if not all(same_series(one, there[0]) for one in there[1:]):
            if not needed:
                return None
            lines = " or ".join(option(metric, name) for name in exact)
            raise UserError(
                f"the metrics {listing(exact)} may all be {metric}, and they differ: say {lines}"
            )
    return max(exact, key=lambda name: sum(name in run.metrics for run in runs))


def asking(metric: str, counts: Mapping[str, int]) -> str:
    """What is missing, what it may be called there, and what to write.

    Args:
        metric: That a claim is about.
        counts: The metrics that there are, and in how many runs; 0 where these are not counted.
    """
    measure = metric.partition("_")[2] or metric
    guesses = [name for name in counts if (maybe_ours(name) or "").removesuffix(PERCENT) == measure]
    other = [name for name in counts if (ours(name) or "").partition("_")[2] == measure]
    guess = next(iter([*guesses, *other]), None)
    what = f"no metric is certain to be {metric}; {_there(counts)}"
    if guess is None:
        return f"{what}. If one of them is {metric}: --map {metric}=NAME"
    doubt = (
        "does not say which images it was measured on"
        if guess in guesses
        else "was measured on other images, by its name"
    )
    percent = f"{option(metric + PERCENT, guess)} if it is in percent"
    return f"{what}. '{guess}' {doubt}; if it is {metric}: {option(metric, guess)}, or {percent}"


def _there(counts: Mapping[str, int]) -> str:
    if not counts:
        return "there are none"
    names = [f"{name} ({count} runs)" if count else name for name, count in counts.items()]
    return f"there are: {first_names(names)}"


def check_percents(runs: Iterable[Run], columns: Mapping[str, str]) -> None:
    """Refuse numbers above 1 that nobody said are percents.

    Raises:
        UserError: A fraction of 1 is needed, or `_percent` must be said.
    """
    fractions = {c: name for c, name in columns.items() if c in METRICS and METRICS[c].points}
    for run in runs:
        for column, name in fractions.items():
            series = run.metrics.get(name)
            most = max((v for v in series.values if math.isfinite(v)), default=0) if series else 0
            if most > 1:
                raise UserError(
                    f"run '{run.name}': {name} is {most:g}, above 1. If it is in percent, say "
                    f"{option(column + PERCENT, name)}"
                )


def diverged(run: Run, columns: Mapping[str, str]) -> bool:
    """Whether a loss of a run, or a metric that is read, ended in no number."""
    read = set(columns.values())
    return any(
        series.values and not math.isfinite(series.values[-1])
        for name, series in run.metrics.items()
        if name in read or "loss" in flat(name).split("_")
    )


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A run's metrics by epoch.

    Attributes:
        epochs: From 1 on, ascending.
        values: By our columns, one for each epoch; NaN where there is none.
        end: The tool's step of the last epoch.
        aside: Columns that were logged at steps of their own.
    """

    epochs: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]
    end: int
    aside: frozenset[str] = field(default=frozenset())


def curves(
    run: Run, columns: Mapping[str, str], main: str, first: int, epoch: str | None
) -> Curves:
    """A run's curves at the steps of its main metric.

    Where it has one point, ends alone are compared. Another metric with one point is known at the
    end. One with as many points at other steps is taken
    point by point, as loggers count a step for every call. Else its points at those steps are.

    Args:
        run: It has the main metric.
        columns: Our columns, by their metrics.
        main: The column whose steps are the epochs.
        first: The step of the first epoch, where steps are counted by epochs.
        epoch: The metric that says epochs, where there is one.
    """
    steps = run.metrics[columns[main]].steps
    if len(steps) == 1:  # the end alone is known
        ends = {
            column: (run.metrics[name].values[-1],)
            for column, name in columns.items()
            if name in run.metrics
        }
        return Curves(epochs=(1,), values=ends, end=steps[0])
    said = run.metrics.get(epoch) if epoch else None
    epochs = _epochs(steps, said, first)
    if len(set(epochs)) < len(epochs):  # several points in an epoch: the last one counts
        last = dict(zip(epochs, steps, strict=True))
        epochs, steps = tuple(last), tuple(last.values())
    values, aside = {}, set()
    for column, name in columns.items():
        series = run.metrics.get(name)
        if series is None:
            continue
        found = _at(series, steps)
        if found is None:
            aside.add(column)
        else:
            values[column] = found
    return Curves(epochs=epochs, values=values, end=steps[-1], aside=frozenset(aside))


def _epochs(steps: Sequence[int], said: Series | None, first: int) -> tuple[int, ...]:
    if said is not None:
        by_step = dict(zip(said.steps, said.values, strict=True))
        if all(step in by_step and by_step[step].is_integer() for step in steps):
            return tuple(int(by_step[step]) - first + 1 for step in steps)
    if steps == tuple(range(steps[0], steps[0] + len(steps))) and steps[0] == first:
        return tuple(step - first + 1 for step in steps)
    return tuple(range(1, len(steps) + 1))


def _at(series: Series, steps: Sequence[int]) -> tuple[float, ...] | None:
    """A metric's values at given steps; None where it has steps of its own."""
    by_step = dict(zip(series.steps, series.values, strict=True))
    if all(step in by_step for step in steps):
        return tuple(by_step[step] for step in steps)
    if len(series.steps) == 1:
        return (*[math.nan] * (len(steps) - 1), series.values[0])
    if len(series.steps) == len(steps):
        return series.values
    return None

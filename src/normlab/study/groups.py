"""Which trials train together, as units of work.

Which path a trial takes, lanes or torch's, follows from its recipe, its study and the processor
alone: never from what else is pending, or else the others would change its bits. So a trial that
has no companion is still a unit of the lanes' path.

Units are filled in the order of the trials, across arms. Then the last ones are split while that
brings the end nearer, so that no worker waits for another's large group.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from normlab.data import describe, held_out
from normlab.recipe import Recipe
from normlab.study.engines import Task, Unit
from normlab.study.plan import Plan, PlannedTrial
from normlab.study.spec import Study
from normlab.train import lanes

LEAST = 4
"""Lanes of the smallest program: fewer trials take as long, so no group is split below."""

TIMED = "a claim of the study is about seconds: its trials are timed alone"


@dataclass(frozen=True)
class Path:
    """Which path a trial takes.

    Attributes:
        form: What it shares with trials that it may train with; None on torch's path.
        why: Why it takes torch's path; empty where lanes train it.
    """

    form: lanes.Form | None
    why: str = ""


def path_of(recipe: Recipe, device: str, *, timed: bool) -> Path:
    """The path of a recipe's trials in a study.

    Args:
        recipe: Theirs.
        device: "cpu" or "cuda".
        timed: Whether a claim of the study is about seconds; see `is_timed`.
    """
    if timed:
        return Path(None, TIMED)
    found = form_of(recipe, device)
    return Path(None, found) if isinstance(found, str) else Path(found)


def form_of(recipe: Recipe, device: str) -> lanes.Form | str:
    """The form of a recipe's trials, or why lanes train none of them."""
    facts = describe(recipe.data)
    images = facts.train_images - held_out(facts.train_images, recipe.validation)
    return lanes.form(recipe, facts.shape, facts.num_classes, images, device)


def is_timed(study: Study) -> bool:
    """Whether a claim of a study is about seconds of training, or is looked at so.

    By what the study declares, not by the arms that a variant of it has.
    """
    analysis = study.analysis
    about: set[str | None] = {other.metric for other in analysis.alternatives}
    for claim in study.claims:
        time = claim.time()
        about.add(time.clock if time is not None else claim.metric or analysis.metric)
    return bool(study.claims) and "seconds" in about


def units_of(
    tasks: Sequence[Task],
    device: str,
    workers: int,
    *,
    timed: bool,
    alone: AbstractSet[str] = frozenset(),
) -> list[Unit]:
    """The units of work of pending trials, in their order.

    Args:
        tasks: Of one study.
        device: "cpu" or "cuda".
        workers: Units that are trained side by side.
        timed: Whether a claim of the study is about seconds.
        alone: Ids of trials that torch's path trained before: they keep it.
    """
    recipes = {id(task.recipe): task.recipe for task in tasks}  # an arm's trials share one
    paths = {each: path_of(recipe, device, timed=timed) for each, recipe in recipes.items()}
    forms = [None if task.trial_id in alone else paths[id(task.recipe)].form for task in tasks]
    keys = [key_of(form, task.recipe) for form, task in zip(forms, tasks, strict=True)]
    ready = [
        task if form is None else replace(task, together=True)
        for form, task in zip(forms, tasks, strict=True)
    ]
    weights = [float(task.recipe.epochs) for task in tasks]
    units = divide(keys, weights, workers, lambda at, trials: gain(forms[at], trials))
    return [tuple(ready[index] for index in unit) for unit in units]


def key_of(form: lanes.Form | None, recipe: Recipe) -> Hashable | None:
    """What trials of one unit have in common: their form and their images; None of a lone one."""
    return None if form is None else (form, recipe.data, recipe.validation)


def gain(form: lanes.Form | None, trials: int) -> float:
    """How many times as fast a trial of a group of so many is as on torch's path."""
    return 1.0 if form is None else lanes.gain(form, trials)


@dataclass(frozen=True)
class ArmUnits:
    """How the trials of an arm train.

    Attributes:
        path: Which path they take.
        sizes: For each of its trials, how many its unit has.
    """

    path: Path
    sizes: tuple[int, ...]

    @property
    def gain(self) -> float:
        """How many times as fast its trials are as on torch's path, as a whole."""
        if not self.sizes:
            return 1.0
        return len(self.sizes) / sum(1 / gain(self.path.form, size) for size in self.sizes)


def arm_units(
    plan: Plan, device: str, workers: int, finished: AbstractSet[str] = frozenset()
) -> dict[str, ArmUnits]:
    """How the trials of each arm of a plan would train now, by the arm's label.

    Args:
        plan: The study's.
        device: "cpu" or "cuda".
        workers: Units that are trained side by side.
        finished: Ids of trials that are trained; an arm with no others is shown as it would be
            trained from the beginning.
    """
    timed = is_timed(plan.study)
    paths = {arm.label: path_of(arm.recipe, device, timed=timed) for arm in plan.arms}
    planned = list(plan.trials.values())
    pending = [trial for trial in planned if trial.id not in finished]
    every, left = (_sizes(trials, paths, workers) for trials in (planned, pending))
    return {
        label: ArmUnits(path, tuple(left.get(label) or every.get(label) or ()))
        for label, path in paths.items()
    }


def _sizes(
    trials: Sequence[PlannedTrial], paths: Mapping[str, Path], workers: int
) -> dict[str, list[int]]:
    """For each trial of an arm, by the arm's label, how many its unit has."""
    forms = [paths[trial.arm.label].form for trial in trials]
    keys = [key_of(form, trial.arm.recipe) for form, trial in zip(forms, trials, strict=True)]
    weights = [float(trial.arm.recipe.epochs) for trial in trials]
    found: dict[str, list[int]] = {}
    for unit in divide(keys, weights, workers, lambda at, count: gain(forms[at], count)):
        for index in unit:
            found.setdefault(trials[index].arm.label, []).append(len(unit))
    return found


def divide(
    keys: Sequence[Hashable | None],
    weights: Sequence[float],
    workers: int,
    gains: Callable[[int, int], float],
) -> list[tuple[int, ...]]:
    """Indices of trials as units.

    Args:
        keys: Of each trial: equal ones may train together; None trains alone.
        weights: How long each takes alone, in any unit.
        workers: Units that are trained side by side.
        gains: How many times as fast the trial of an index is in a group of so many.

    Returns:
        Units in the order of their first trials, at most `lanes.size()` in each.
    """
    most = max(lanes.size(), 1)
    filled: list[list[int]] = []
    current: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        group = None if key is None else current.get(key)
        if group is None or len(group) == most:
            filled.append(group := [])
        group.append(index)
        if key is not None:
            current[key] = group

    def seconds(unit: Sequence[int]) -> float:
        together = keys[unit[0]] is not None
        factor = gains(unit[0], len(unit)) if together else 1.0
        return sum(weights[index] for index in unit) / factor

    return [tuple(unit) for unit in _balanced(filled, workers, seconds)]


def _balanced(
    units: list[list[int]], workers: int, seconds: Callable[[Sequence[int]], float]
) -> list[list[int]]:
    """Units, the last to end of them split while all workers then end sooner."""
    times = [seconds(unit) for unit in units]
    ends = _ends(times, workers)
    while True:
        # The one that ends last; splitting another cannot bring the end nearer.
        _, at = max(ends.last)
        parts = _parts(units[at]) if units else []
        if len(parts) < 2:
            return units
        new_times = [*times[:at], *map(seconds, parts), *times[at + 1 :]]
        new_ends = _ends(new_times, workers)
        if new_ends.loads >= ends.loads:
            return units
        units = [*units[:at], *parts, *units[at + 1 :]]
        times, ends = new_times, new_ends


@dataclass(frozen=True)
class _Ends:
    """When workers are through, the latest first, and the last unit of each with its end."""

    loads: tuple[float, ...]
    last: tuple[tuple[float, int], ...]


def _ends(times: Iterable[float], workers: int) -> _Ends:
    """Units handed out in their order, each to the worker that is free first."""
    free = [(0.0, worker, -1) for worker in range(max(workers, 1))]
    for index, time in enumerate(times):
        at, worker, _ = heapq.heappop(free)
        heapq.heappush(free, (at + time, worker, index))
    return _Ends(
        tuple(sorted((at for at, _, _ in free), reverse=True)),
        tuple((at, index) for at, _, index in free),
    )


def _parts(unit: list[int]) -> list[list[int]]:
    """Two halves, the first a whole number of the smallest program's lanes; one if it is small."""
    middle = -(-len(unit) // (2 * LEAST)) * LEAST
    return [part for part in (unit[:middle], unit[middle:]) if part]

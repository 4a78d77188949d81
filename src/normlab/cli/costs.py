"""How what a study costs looks in a terminal and as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from normlab.text import shown
from normlab.wording import bytes_text, counted, flops_text, hours_text, number, short_hours

if TYPE_CHECKING:
    from normlab.study.costs import ArmCost, Costs
    from normlab.study.probing import Told


@contextmanager
def telling() -> Iterator[Told | None]:
    """Say on standard error which arm is timed, if that is a terminal."""
    from rich.console import Console
    from rich.text import Text

    errors = Console(stderr=True, highlight=False, markup=False)
    if not errors.is_terminal:
        yield None
        return
    with errors.status("timing a few training steps") as line:

        def told(label: str, done: int, kinds: int) -> None:
            line.update(Text(f"timing a few training steps ({done} of {kinds}): {shown(label)}"))

        yield told


def print_costs(costs: Costs) -> None:
    """What a trial of each arm costs, where that is from, and the hours of the plan."""
    from normlab.terminal import console, fewer, table

    some, more = fewer(costs.arm_costs, "arm")
    rows = [
        (
            arm.arm,
            flops_text(arm.flops),
            bytes_text(arm.peak_memory),
            number(arm.images_per_second),
            short_hours(arm.hours),
            arm.speed or "unknown",
        )
        for arm in some
    ]
    threads = f", {counted(costs.threads, 'thread')}" if costs.device == "cpu" else ""
    console.print(f"a trial on one worker ({costs.chip}{threads}):", soft_wrap=True)
    columns = ["arm", "operations", "peak memory", "images/s", "hours", "speed"]
    console.print(table(columns, rows, left=["speed"]))
    if more:
        console.print(more)
    for line in (*_sources(costs), *_not_timed(costs.not_timed), *_units(costs)):
        console.print(line, soft_wrap=True)
    console.print(f"the whole plan: {flops_text(costs.flops)}, {_hours(costs)}", soft_wrap=True)


def costs_record(costs: Costs) -> dict[str, object]:
    """The same for programs."""
    return {
        "device": costs.device,
        "chip": costs.chip,
        "threads": costs.threads,
        "flops": costs.flops,
        "hours": costs.hours,
        "hours_left": costs.hours_left,
        "probe_seconds": costs.probe_seconds,
        "plain_norms": costs.plain_norms,
        "not_timed": dict(costs.not_timed),
        "arms": [
            asdict(arm)
            | {"trials": costs.trials[arm.arm], "trials_left": costs.trials_left[arm.arm]}
            for arm in costs.arm_costs
        ],
        "claims": costs.claims.to_dict("records"),
    }


def _hours(costs: Costs) -> str:
    if costs.hours is None:
        return "hours unknown"
    whole = f"about {hours_text(costs.hours)} on one worker"
    done = sum(costs.trials.values()) - sum(costs.trials_left.values())
    if not done or costs.hours_left is None:
        return whole
    return f"{whole}, {hours_text(costs.hours_left)} of it left"


_NAMED = 3

_WORDS = {
    "probe": "a probe",
    "stored": "stored trials of this machine",
    "elsewhere": "stored trials of another machine",
}


def _sources(costs: Costs) -> Iterator[str]:
    """Where the speeds are from, a line each."""
    by: dict[str | None, list[ArmCost]] = defaultdict(list)
    for arm in costs.arm_costs:
        by[arm.speed].append(arm)
    if by["probe"]:
        norms = (
            "; norms by plain torch, slower than the loops that the first run compiles"
            if costs.plain_norms
            else ""
        )
        yield (
            f"speed probe: estimated from a few training steps, timed now in "
            f"{costs.probe_seconds:.0f} seconds{norms}"
        )
    if by["stored"]:
        yield "speed stored: measured in stored trials of this machine"
    for place, arms in _grouped((_place(arm), arm.arm) for arm in by["elsewhere"]):
        yield f"speed elsewhere: measured on another machine ({place}): {_arms(arms)}"
    basis = ((f"{_WORDS[arm.speed_is or '']} of arm '{arm.speed_of}'", arm) for arm in by["scaled"])
    for words, arms in _grouped((words, arm.arm) for words, arm in basis):
        yield f"speed scaled: estimated from {words}, by operations: {_arms(arms)}"
    if by[None]:
        yield "speed unknown: no trial is stored, and nothing was timed"


def _not_timed(reasons: Mapping[str, str]) -> Iterator[str]:
    for why, labels in _grouped((why, label) for label, why in reasons.items()):
        yield f"not timed: {_arms(labels)}: {why}"


def _units(costs: Costs) -> Iterator[str]:
    """How many trials train together, and which arms' trials do not, a line each."""
    arms = costs.arm_costs
    most = ((counted(arm.together, "trial"), arm.arm) for arm in arms if not arm.alone)
    for trials, labels in _grouped(most):
        named = "" if len(labels) == len(arms) else f"{_arms(labels)}: "
        yield (
            f"trained together: {named}up to {trials} at once in a worker; hours and images/s are "
            "the share of each"
        )
    for why, labels in _grouped((arm.alone, arm.arm) for arm in arms if arm.alone):
        named = "" if len(labels) == len(arms) else f"{_arms(labels)}: "
        yield f"trained one by one: {named}{why}"


def _place(arm: ArmCost) -> str:
    place = arm.place or {}
    threads = place.get("threads")
    words = f", {counted(threads, 'thread')}" if isinstance(threads, int) else ""
    return f"{place.get('chip')}{words}"


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    """Labels by what is said of them, in the order in which it is first said."""
    found: dict[str, list[str]] = {}
    for words, label in pairs:
        found.setdefault(words, []).append(label)
    return found.items()


def _arms(labels: Sequence[str]) -> str:
    """Some labels, or how many there are."""
    return ", ".join(labels) if len(labels) <= _NAMED else counted(len(labels), "arm")

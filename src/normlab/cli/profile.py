"""The command that shows where a step and a trial go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from normlab.cli.options import Json, Quick, Sets, StudyName, Trust, parse_sets
from normlab.records.profiling import Part, part_rows, shares, whole
from normlab.wording import bytes_text, counted, hours_text, number, percent

if TYPE_CHECKING:
    from normlab.study.profiling import Profile

_STEPS = 20
_LEAST = 0.001
"""Share of the whole below which a part of a part is left out of a table."""


def profile(
    study: StudyName,
    arm: Annotated[
        str | None, typer.Option(metavar="ARM", help="The arm's label; left out: the first one.")
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps to time of each kind.")
    ] = _STEPS,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="CPU threads.")] = 1,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
    sets: Sets = None,
    quick: Quick = False,
    json: Json = False,
    trust: Trust = None,
) -> None:
    """Show where a training step and a trial of an arm go, beside what this machine allows."""
    from normlab import api
    from normlab.cli.variant import print_variant, variant_text

    chosen = api.load_study(study, overrides=parse_sets(sets), quick=quick, trust=trust or ())
    with _waiting():
        found = api.profile(chosen, arm=arm, steps=steps, device=device, threads=threads)
    if json:
        from normlab.cli.outputs.output import print_output
        from normlab.cli.outputs.profile import ArmProfiled

        print_output(ArmProfiled, **profile_record(found))
        return
    print_variant(variant_text(chosen))
    print_profile(found)


@contextmanager
def _waiting() -> Iterator[None]:
    """Say on standard error what takes its time, if that is a terminal."""
    from rich.console import Console

    errors = Console(stderr=True, highlight=False, markup=False)
    if not errors.is_terminal:
        yield
        return
    words = "training a few steps (the first time on a machine, loops are compiled: a minute)"
    with errors.status(words):
        yield


def profile_record(found: Profile) -> dict[str, object]:
    """A profile for programs; times are seconds, rates a second."""
    training = asdict(found.training)
    for name in ("parts", "steps", "batch"):
        del training[name]
    return {
        "name": found.name,
        "arm": found.arm,
        "device": found.device,
        "chip": found.chip,
        "threads": found.threads,
        "images": found.images,
        "batch": found.training.batch,
        "steps": found.training.steps,
        "disturbed": found.is_disturbed,
        "rates": found.rates,
        "training": training,
        "step": part_rows(found.training.parts),
        "trial": part_rows(found.trial_parts),
        "worker": part_rows(found.worker_parts),
    }


def print_profile(found: Profile) -> None:
    """The tables of a step and of a trial, and what they were measured with."""
    from normlab.terminal import console, table

    training, rates = found.training, found.rates
    threads = f", {counted(found.threads, 'thread')}" if found.device == "cpu" else ""
    console.print(
        f"{found.name}, arm {found.arm}: a step of {counted(training.batch, 'image')} "
        f"({found.chip}{threads}, {rates.precision}, {found.images} images)",
        soft_wrap=True,
    )
    console.print()
    columns = ["part of a step", "ms", "share, %", "calls", "floor, ms", "times the floor"]
    console.print(table(columns, _rows(training.parts, 1000.0)))
    console.print()
    for line in _step_lines(found):
        console.print(line, soft_wrap=True)
    console.print()
    columns = ["part of a trial", "seconds", "share, %", "calls"]
    rows = [row[: len(columns)] for row in _rows(found.trial_parts, 1.0)]
    console.print(table(columns, rows))
    console.print()
    hours = whole(found.trial_parts) / 3600
    console.print(f"a trial: about {hours_text(hours)} on one worker", soft_wrap=True)
    once = ", ".join(f"{part.name} {part.seconds:.2f} s" for part in found.worker_parts)
    if once:
        console.print(f"once a worker, beside its trials: {once}", soft_wrap=True)
    if found.is_disturbed:
        console.print(
            f"warning: other programs took the processor away: this one had "
            f"{percent(training.processor, 0)} % of a core. Profile again when the machine is "
            "free.",
            soft_wrap=True,
        )


def _rows(parts: Sequence[Part], unit: float) -> Iterator[tuple[object, ...]]:
    """Of each part name, time, share, calls, floor and times the floor."""
    for part, share in zip(parts, shares(parts), strict=True):
        if part.within and share < _LEAST:
            continue
        yield (
            f"  {part.name}" if part.within else part.name,
            number(unit * part.seconds, 3),
            percent(share, 1),
            number(part.calls),
            number(None if part.floor is None else unit * part.floor, 3),
            number(part.times_the_floor, 1),
        )
    yield ("together", number(unit * whole(parts), 3), percent(1.0, 1), "", *_floors(parts, unit))


def _floors(parts: Sequence[Part], unit: float) -> tuple[str, str]:
    """Floor of all, and times the floor."""
    floor = sum(part.floor or 0.0 for part in parts if not part.within)
    return number(unit * floor, 3), number(whole(parts) / floor if floor else None, 1)


def _step_lines(found: Profile) -> Iterator[str]:
    training, rates = found.training, found.rates
    undisturbed, by_part, by_layer = (
        f"{number(1000 * seconds, 3)} ms"
        for seconds in (training.undisturbed, training.by_part, training.by_layer)
    )
    yield (
        f"the clocks: a step takes {undisturbed} undisturbed, {by_part} with its parts timed, "
        f"{by_layer} with every layer timed ({training.steps} of each; parts of parts below "
        f"{percent(_LEAST, 1)} % are left out)"
    )
    near = ""
    if rates.cache is not None:
        near = (
            f", {rates.cache / 1e9:,.0f} GB/s for a copy of {bytes_text(rates.cache_array)}, for "
            f"what fits into half of the cache of {bytes_text(rates.cache_size)}"
        )
    yield (
        f"the floor: the larger of operations and bytes, layer by layer, at what was measured now: "
        f"{rates.flops / 1e9:,.0f} GFLOP/s ({rates.flops_of}, {rates.precision}); "
        f"{rates.memory / 1e9:,.0f} GB/s for a copy of {bytes_text(rates.memory_array)}{near}"
    )
    once = training.watching_once + training.watching
    yield (
        f"a trial's first epoch is watched for its liveness: {1000 * once:.1f} ms once, and "
        f"{1000 * training.watching:.3f} ms a step"
    )

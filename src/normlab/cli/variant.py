"""Which variant of a study a command speaks of, as `--set`, `--seeds` and `--quick` made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.records.plan import PlanRecord
    from normlab.study.spec import Study


def variant_text(plan: PlanRecord | Study) -> str | None:
    """How a plan differs from its study file, in words; None where it does not."""
    from normlab.recipe import value_text

    if not (plan.varied or plan.rehearsal or plan.overrides):
        return None
    seeds = [str(seed) for seed in plan.seeds]
    parts = ["quick"] if plan.rehearsal else []
    parts += [f"{key}={value_text(value)}" for key, value in plan.overrides.items()]
    parts.append(f"seed{'' if len(seeds) == 1 else 's'} {_run(seeds)}")
    return f"variant: {', '.join(parts)}"


def lost_lines(plan: PlanRecord) -> list[str]:
    """A line for each claim and figure that a variant has no arms for, with the reason.

    Of a rehearsal there are none: it answers nothing.
    """
    from normlab.records.plan import UnresolvedClaim

    if plan.rehearsal:
        return []
    claims = [claim for claim in plan.claims if isinstance(claim, UnresolvedClaim)]
    lost = [f"claim {claim.name}: {claim.unresolved}" for claim in claims]
    lost += [f"figure {one.name}: {one.unresolved}" for one in plan.figures if one.unresolved]
    return [f"lost in this variant: {line}" for line in lost]


def print_stored_variant(folder: Path, *, aside: bool = False) -> None:
    """Say which variant a run folder's last run was of, if it was one.

    Args:
        folder: The run folder.
        aside: On standard error, where standard output is a list of files; with what is lost in
            the variant, which tables of claims say themselves.
    """
    import typer

    from normlab.store import Store

    with Store.read(folder) as store:
        plan = store.plan()
    text = variant_text(plan)
    if text is not None and aside:
        for line in (text, *lost_lines(plan)):
            typer.echo(line, err=True)
    elif text is not None:
        print_variant(f"{text}; what is said here is of the last run")


def print_variant(text: str | None) -> None:
    """Print what `variant_text` says, if it says something."""
    from normlab.terminal import console

    if text is not None:
        console.print(text, soft_wrap=True)


def print_lost_lines(plan: PlanRecord) -> None:
    """Print which claims and figures the variant has no arms for, one in a line."""
    from normlab.terminal import console

    for line in lost_lines(plan):
        console.print(line, soft_wrap=True)


def _run(seeds: list[str]) -> str:
    """Seeds in few words: 0, 1, 2 or 0 to 29."""
    most = 5
    return ", ".join(seeds) if len(seeds) <= most else f"{seeds[0]} to {seeds[-1]} ({len(seeds)})"

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


def print_stored_variant(folder: Path, *, aside: bool = False) -> None:
    """Say which variant a run folder's last run was of, if it was one.

    Args:
        folder: The run folder.
        aside: On standard error, where standard output is a list of files.
    """
    import typer

    from normlab.store import Store

    with Store.read(folder) as store:
        text = variant_text(store.plan())
    if text is not None and aside:
        typer.echo(text, err=True)
    elif text is not None:
        print_variant(f"{text}; what is said here is of the last run")


def print_variant(text: str | None) -> None:
    """Print what `variant_text` says, if it says something."""
    from normlab.terminal import console

    if text is not None:
        console.print(text, soft_wrap=True)


def _run(seeds: list[str]) -> str:
    """Seeds in few words: 0, 1, 2 or 0 to 29."""
    most = 5
    return ", ".join(seeds) if len(seeds) <= most else f"{seeds[0]} to {seeds[-1]} ({len(seeds)})"

"""Times to an accuracy in a table of trials run elsewhere."""

from __future__ import annotations

from normlab.errors import UserError
from normlab.frames.external_table import PERCENT, Table
from normlab.lazy import pandas as pd
from normlab.records.plan import PlanRecord, TimeRecord


def timed(plan: PlanRecord) -> list[tuple[str, TimeRecord]]:
    """The claims that are about a time, by name."""
    return [(claim.name, claim.time) for claim in plan.judged if claim.time]


def check_claims_of_time(read: Table, plan: PlanRecord, *, by_epoch: bool) -> None:
    """The columns that claims of time need are there."""
    clocks = {"seconds": "seconds", "examples": "train_images" if by_epoch else "examples"}
    for name, time in timed(plan):
        first = f"{time.split}_accuracy" if by_epoch else target_column(time)
        for column in (first, clocks[time.clock]):
            if column not in read.cells and column + PERCENT not in read.cells:
                raise UserError(f"{read.path}: claim {name} needs the column '{column}'")


def target_column(time: TimeRecord) -> str:
    """The column of a time to its target."""
    return f"{time.clock}_to_{time.target:g}"


def times_of(trials: pd.DataFrame, plan: PlanRecord) -> pd.DataFrame:
    """Times to the targets that the claims name."""
    parts = {}
    for _, time in timed(plan):
        whole, times = trials[time.clock], trials[target_column(time)]
        part = trials[["arm", "seed", "id"]].assign(
            split=time.split,
            target=time.target,
            reached=times.notna(),
            epochs=1,
            **{time.clock: times.where(times.notna(), whole)},
        )
        parts[time.clock, time.target, time.split] = part[trials["state"] != "pending"]
    columns = ["arm", "seed", "id", "split", "target", "reached", "epochs", "examples", "seconds"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts.values(), ignore_index=True)

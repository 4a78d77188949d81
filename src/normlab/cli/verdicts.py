"""How claims look in a terminal: planned and judged."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from normlab.wording import OUT_OF_REACH, is_missing, reach_text, seeds_text, short_hours

if TYPE_CHECKING:
    import pandas as pd


def print_verdicts(found: pd.DataFrame, *, where: str = "--json") -> None:
    """The verdicts as a table, then why each of them.

    Args:
        found: From `normlab.claims`.
        where: What shows all of them, where they are many.
    """
    from normlab.terminal import MOST_ROWS, console, fewer, table

    every = without_nan(found.to_dict("records"))
    if len(every) > MOST_ROWS:  # those that are settled come first
        every.sort(key=lambda row: row["verdict"] not in {"supported", "refuted"})
    records, more = fewer(every, "claim", where)
    rows = []
    for row in records:
        size = f", {row['size']}" if row["size"] else ""
        seeds = None if row["seeds"] is None else f"{row['seeds']:.0f}"
        needed = row["seeds_to_settle"]
        settle = None if needed is None else seeds_text(needed)
        rows.append((row["claim"], f"{row['verdict']}{size}", row["measured"], seeds, settle))
    columns = ["claim", "verdict", "measured", "seeds", "seeds to settle"]
    console.print(table(columns, rows, left=["verdict", "measured"]))
    if more:
        console.print(more)
    console.print()
    for row in records:
        console.print(f"{row['claim']}: {row['sentence'] or row['reason']}", soft_wrap=True)
        if row["sentence"]:
            console.print(f"  {row['verdict']}: {row['reason']}", soft_wrap=True)
        if row["detail"]:
            console.print(f"  {row['detail']}", soft_wrap=True)
        if row["exploratory"]:
            console.print(f"  exploratory: {row['exploratory']}", soft_wrap=True)
        if row["left_out"]:
            console.print(f"  left out: {row['left_out']}", soft_wrap=True)


def print_claim_plans(claims: pd.DataFrame) -> None:
    """What the planned seeds can find out about each claim, as a table."""
    from normlab.stats.claims import Unit
    from normlab.terminal import console, fewer, table

    rows = []
    planned, more = fewer(without_nan(claims.to_dict("records")), "claim")
    for row in planned:
        unit = Unit.named(row["unit"])
        effect, needed = row["smallest_effect"], row["seeds_needed"]
        rows.append(
            (
                row["claim"],
                row["margin"],
                "?" if row["spread"] is None else unit.text(row["spread"], ".3g"),
                "?" if effect is None else unit.text(effect, ".3g"),
                "?" if row["spread"] is None else seeds_text(needed or math.inf),
                "?" if row["power"] is None else f"{100 * row['power']:.0f} %",
                _hours_text(row),
            )
        )
    columns = [
        "claim", "margin", "spread", "smallest effect", "seeds for the margin", "power now",
        "hours to settle",
    ]  # fmt: skip
    console.print(table(columns, rows))
    if more:
        console.print(more)
    if any(row[2] == "?" for row in rows):
        console.print(
            "?: no spread over seeds is known yet: run two seeds, or, for claims about "
            "analysis.metric, state analysis.spread"
        )
    if (claims["source"] == "released").any():
        console.print("The spread is that of the released findings, trained elsewhere.")
    for row in planned:
        _print_notes(row)
    print_hopeless(claims)


def _print_notes(row: dict[str, Any]) -> None:
    """What pairing gains a claim, and which margin is within reach where its own is not."""
    from normlab.stats.claims import Unit
    from normlab.terminal import console

    if row["reachable"] is not None:
        reachable = Unit.named(row["unit"]).text(row["reachable"], ".2g")
        text = f"{row['claim']}: {reach_text(row['margin'], reachable)}"
        console.print(text, soft_wrap=True)
    if row["correlation"] is not None:
        console.print(
            f"{row['claim']}: over the seeds so far its arms correlate by "
            f"{row['correlation']:.2f}: {seeds_text(row['seeds_paired'] or math.inf)} seeds in "
            f"pairs, {seeds_text(row['seeds_unpaired'] or math.inf)} not in pairs",
            soft_wrap=True,
        )


def _hours_text(row: Mapping[str, Any]) -> str:
    """Hours until a claim is settled: a dash where its margin is out of reach."""
    needed, hours = row["seeds_needed"], row.get("hours")
    reachable = row["spread"] is None or (needed or math.inf) <= OUT_OF_REACH
    return "?" if is_missing(hours) and reachable else short_hours(hours)


def print_hopeless(claims: pd.DataFrame, *, where: str = "--json") -> None:
    """The claims that no outcome of the planned seeds could settle, and why.

    Args:
        claims: Their plans.
        where: What shows all of them, where they are many.
    """
    from normlab.terminal import print_lines

    hopeless = claims[~claims["settles"].astype(bool)]
    lines = (f"cannot be settled: {one.claim}: {one.obstacle}" for one in hopeless.itertuples())
    print_lines(list(lines), "claim", where)


def without_nan(rows: list[dict[Hashable, Any]]) -> list[dict[str, Any]]:
    """Rows for people and programs: a number that is none is None."""

    def value(cell: Any) -> Any:
        bad = isinstance(cell, float) and not math.isfinite(cell)
        return None if bad else (cell.item() if hasattr(cell, "item") else cell)

    return [{str(key): value(cell) for key, cell in row.items()} for row in rows]

"""How claims look in a terminal: planned and judged."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from normlab.wording import short_hours

if TYPE_CHECKING:
    import pandas as pd


def print_verdicts(found: pd.DataFrame) -> None:
    """The verdicts as a table, then why each of them."""
    from normlab.terminal import console, table

    records, rows = without_nan(found.to_dict("records")), []
    for row in records:
        size = f", {row['size']}" if row["size"] else ""
        seeds, settle = (
            None if row[key] is None else f"{row[key]:.0f}" for key in ("seeds", "seeds_to_settle")
        )
        rows.append((row["claim"], f"{row['verdict']}{size}", row["measured"], seeds, settle))
    columns = ["claim", "verdict", "measured", "seeds", "seeds to settle"]
    console.print(table(columns, rows, left=["verdict", "measured"]))
    console.print()
    for row in records:
        console.print(f"{row['claim']}: {row['reason']}", soft_wrap=True)
        if row["detail"]:
            console.print(f"  {row['detail']}", soft_wrap=True)
        if row["exploratory"]:
            console.print(f"  exploratory: {row['exploratory']}", soft_wrap=True)
        if row["left_out"]:
            console.print(f"  left out: {row['left_out']}", soft_wrap=True)


def print_claim_plans(claims: pd.DataFrame) -> None:
    """What the planned seeds can find out about each claim, as a table."""
    from normlab.stats.claims import Unit
    from normlab.terminal import console, table

    rows = []
    for row in without_nan(claims.to_dict("records")):
        unit = Unit(100.0 if row["unit"] in {"points", "%"} else 1.0, row["unit"])
        effect, needed = row["smallest_effect"], row["seeds_needed"]
        rows.append(
            (
                row["claim"],
                row["margin"],
                "?" if row["spread"] is None else unit.text(row["spread"], ".3g"),
                "?" if effect is None else unit.text(effect, ".3g"),
                "?" if needed is None else f"{needed:.0f}",
                "?" if row["power"] is None else f"{100 * row['power']:.0f} %",
                "?" if row.get("hours") is None else short_hours(row["hours"]),
            )
        )
    columns = [
        "claim", "margin", "spread", "smallest effect", "seeds for the margin", "power now",
        "hours to settle",
    ]  # fmt: skip
    console.print(table(columns, rows))
    if any(row[2] == "?" for row in rows):
        console.print(
            "?: no spread over seeds is known yet: run two seeds, or, for claims about "
            "analysis.metric, state analysis.spread"
        )
    print_hopeless(claims)


def print_hopeless(claims: pd.DataFrame) -> None:
    """The claims that no outcome of the planned seeds could settle, and why."""
    from normlab.terminal import console

    for hopeless in claims[~claims["settles"].astype(bool)].to_dict("records"):
        text = f"cannot be settled: {hopeless['claim']}: {hopeless['obstacle']}"
        console.print(text, soft_wrap=True)


def without_nan(rows: list[dict[Hashable, Any]]) -> list[dict[str, Any]]:
    """Rows for people and programs: a number that is none is None."""

    def value(cell: Any) -> Any:
        bad = isinstance(cell, float) and not math.isfinite(cell)
        return None if bad else (cell.item() if hasattr(cell, "item") else cell)

    return [{str(key): value(cell) for key, cell in row.items()} for row in rows]

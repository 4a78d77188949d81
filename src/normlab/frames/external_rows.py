"""Whose row it is, of a table of trials run elsewhere: its arm and its seed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from normlab.arms import is_number
from normlab.errors import UserError, listing, nearest, unknown
from normlab.frames.external_table import LARGEST, MISSING, Table, number, plain_name, whole
from normlab.lazy import pandas as pd
from normlab.recipe import value_text
from normlab.records.plan import PlanRecord
from normlab.text import one_form

SEED_NAMES = ("random_state", "rng")
"""What a column of seeds may be called beside names with "seed" in them."""
_REPEATS = re.compile(
    r"(run|trial|repeat|repetition|rep|replicate|replication|fold|attempt|try)s?"
    r"(_(id|no|nr|num|number|idx|index|n))?"
)
"""What may number the repeats of an arm, or anything: taken where it does number them."""


def arms_of(read: Table, arms: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The label of the arm that each row is of."""
    needed = {"arm", *(key for levels in arms.values() for key in levels)}
    rows = read.cells[[name for name in read.cells if name in needed]].to_dict("records")
    return [
        _arm({str(key): str(cell) for key, cell in row.items()}, arms, read, at)
        for at, row in enumerate(rows)
    ]


def _arm(
    row: Mapping[str, str], arms: Mapping[str, Mapping[str, object]], read: Table, at: int
) -> str:
    where = read.where(at)
    if "arm" in row:
        labels = {one_form(label): label for label in arms}
        if row["arm"] not in labels:
            raise UserError(f"{where}: {unknown('arm', row['arm'], arms)}")
        label = labels[row["arm"]]
        for key, level in arms[label].items():
            if key in row and row[key] and not same(level, row[key], comma=read.comma):
                raise UserError(
                    f"{where}: the arm '{label}' has {key} {value_text(level)}, and the column "
                    f"{read.said(key)} says '{row[key]}'"
                )
        return label
    for label, levels in arms.items():
        absent = [key for key in levels if key not in row]
        if absent:
            hint = nearest(absent[0], map(str, read.cells))
            meant = f" Is '{hint}' meant?" if hint else ""
            raise UserError(
                f"{read.path} has no column '{absent[0]}' and no column 'arm'; it has "
                f"{listing(read.written.values())}.{meant}"
            )
        if all(same(level, row[key], comma=read.comma) for key, level in levels.items()):
            return label
    factors = {key: row[key] for levels in arms.values() for key in levels}
    raise UserError(f"{where}: {factors} fits no arm; the arms are: {listing(arms)}")


def same(level: object, cell: str, *, comma: bool) -> bool:
    """Whether a cell of the file says a level: its text, its kind, or the same number."""
    if isinstance(level, Mapping):
        texts = {json.dumps(level), json.dumps(level, sort_keys=True), value_text(level)}
        return cell in texts or cell == str(level.get("kind"))
    if level is None:
        return cell.lower() in MISSING
    if isinstance(level, int | float) and is_number(level):
        return number(cell, comma=comma) == float(level)
    if isinstance(level, bool):
        return cell.lower() == str(level).lower()
    return cell in {one_form(str(level)), value_text(level)}


def seeds_of(
    read: Table, name: str | None, labels: pd.Series[str], plan: PlanRecord
) -> pd.Series[int]:
    """Every row's seed: as that column says, or numbered within its arm."""
    if name is not None:
        return whole_numbers(read, name, 0)
    in_pairs = [claim.name for claim in plan.judged if plan.in_pairs(claim)]
    if in_pairs:
        raise UserError(
            f"{read.path} has no column 'seed': claim {in_pairs[0]} compares arms seed by seed "
            "(paired), and which rows belong together must be said"
        )
    if "epoch" in read.cells:
        epochs = read.numbers("epoch").groupby(labels)
        if any(
            len(found) > 1 and set(found) == set(range(1, len(found) + 1)) for _, found in epochs
        ):
            raise UserError(
                f"{read.path} has a row for each epoch and no column 'seed': which epochs are of "
                "one trial must be said"
            )
    return labels.groupby(labels).cumcount()


def seed_column(read: Table, labels: pd.Series[str]) -> str | None:
    """The column of seeds, if there is one by any usual name.

    Raises:
        UserError: Two that say different things.
    """
    if "seed" in read.cells:
        return "seed"
    names = {str(name): plain_name(str(name)) for name in read.cells}
    sure = [name for name, plain in names.items() if re.search(r"seed", plain)]
    sure += [name for name in names if names[name] in SEED_NAMES]
    for name in sure[1:]:
        if read.cells[name].tolist() != read.cells[sure[0]].tolist():
            raise UserError(
                f"{read.path}: the columns '{sure[0]}' and '{name}' may both be the seeds, and "
                "they differ: call one of them 'seed'"
            )
    if sure:
        return sure[0]
    numbered = [
        name
        for name, plain in names.items()
        if _REPEATS.fullmatch(plain) and _numbers_repeats(read, name, labels)
    ]
    return numbered[0] if numbered else None


def _numbers_repeats(read: Table, name: str, labels: pd.Series[str]) -> bool:
    """Whether a column has whole numbers, no one twice in an arm, or in an epoch of it."""
    whole = bool(read.cells[name].str.fullmatch(r"\d+").all())
    once = {"arm": labels, "number": read.cells[name]}
    if "epoch" in read.cells:
        once["epoch"] = read.cells["epoch"]
    return whole and not pd.DataFrame(once).duplicated().any()


def whole_numbers(read: Table, name: str, least: int) -> pd.Series[int]:
    """A column of whole numbers from `least` to `LARGEST`, none of them missing."""
    numbers = read.numbers(name)
    if numbers.isna().any():
        raise UserError(f"{read.path}: a row has no {read.said(name)}")
    found = []
    for row, cell in enumerate(read.cells[name]):
        value = whole(str(cell), comma=read.comma and isinstance(cell, str))
        if value is None or not least <= value <= LARGEST:
            end = f"to {LARGEST}" if value is not None and value > LARGEST else "on"
            raise UserError(
                f"{read.where(row)}: {read.said(name)} is {cell}: a whole number from {least} "
                f"{end} is needed"
            )
        found.append(value)
    return pd.Series(found, index=read.cells.index, dtype="int64")


def check_unique(table: pd.DataFrame, keys: list[str], path: Path) -> None:
    """Refuse two rows of one arm and the same other keys."""
    if doubled := table[table.duplicated(keys)].to_dict("records"):
        arm, *rest = (doubled[0][key] for key in keys)
        which = ", ".join(f"{key} {value}" for key, value in zip(keys[1:], rest, strict=True))
        raise UserError(f"{path}: {arm}, {which} is there twice")

"""A stored plan as it is read: of the shape that a run writes, its texts fit to be shown.

Whoever sends a run folder has written the plan in it. A figure's name becomes a file's and a
trial's id leads to files, so both are held to what normlab writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

from pydantic import ValidationError

from normlab.errors import UserError
from normlab.places import Place
from normlab.records.plan import PLAN_VERSION, FigureRecord, PlanRecord
from normlab.store.paths import is_id
from normlab.text import clean, may_hide_controls

_FIGURE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 100  # characters of a figure's name


@lru_cache(maxsize=1)
def parse_plan(text: str, folder: Path) -> PlanRecord:
    """The plan in a row of a store; that of the last call is remembered, as commands ask again.

    Raises:
        UserError: Not what normlab writes; the message says where.
    """
    data = parse_json(text, "its plan", folder)
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > PLAN_VERSION:
        raise UserError(
            f"{folder} was written by a newer normlab (its plan has version {version}, this one "
            f"reads up to {PLAN_VERSION}): install that one"
        )
    try:
        plan = PlanRecord.from_data(clean(data) if may_hide_controls(text) else data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        why = f": {first['ctx']['error']}" if first["type"] == "value_error" else ""
        raise not_ours(folder, f"its plan has no valid {place or 'mapping'}{why}") from None
    except RecursionError:
        raise not_ours(folder, "its plan is nested too deep") from None
    if not all(map(is_id, plan.trials)):
        raise not_ours(folder, "its plan has no valid arms.trials")
    return plan.model_copy(update={"figures": tuple(_named(plan.figures))})


def _named(figures: Iterable[FigureRecord]) -> Iterator[FigureRecord]:
    """Figures that could not have their names in a study file get others."""
    for number, figure in enumerate(figures, start=1):
        usual = len(figure.name) <= _LONGEST and _FIGURE.fullmatch(figure.name)
        yield figure if usual else figure.model_copy(update={"name": f"figure-{number}"})


def parse_json(text: str, what: str, folder: Path) -> object:
    """Plain data from a store's JSON.

    Raises:
        UserError: It is none.
    """
    try:
        found: object = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise not_ours(folder, f"{what} is no JSON") from None
    return found


def parse_places(text: str | None) -> list[Place]:
    """The places in a stored provenance; one that cannot be read has none."""
    try:
        found = clean(json.loads(text)) if text else []
    except (TypeError, ValueError, RecursionError):
        return []
    found = found if isinstance(found, list) else [found]
    return [
        {k: v for k, v in place.items() if v is not None} for place in found if _is_place(place)
    ]


def _is_place(place: object) -> TypeGuard[dict[str, object]]:
    return isinstance(place, dict) and isinstance(place.get("taken_from", []), list)


@contextmanager
def as_written(folder: Path) -> Iterator[None]:
    """Within it, values of a store that are not of the shape a run writes are the store's fault.

    Raises:
        UserError: What is read of the store is not what normlab writes.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise not_ours(folder, f"{type(error).__name__}: {error}") from error
    except RecursionError as error:
        raise not_ours(folder, "its values are nested too deep") from error


def not_ours(folder: Path, why: str) -> UserError:
    """The error for a store that normlab did not write so."""
    return UserError(f"the store of {folder} is damaged, or not written by normlab: {why}")

"""A stored plan as it is read: of the shape that a run writes, its texts fit to be shown.

Whoever sends a run folder has written the plan in it. A figure's name becomes a file's and a
trial's id leads to files, so both are held to what normlab writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from normlab.errors import UserError
from normlab.store.paths import is_id
from normlab.text import clean

_FIGURE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 100  # characters of a figure's name
_OF_ARMS: dict[str, type | tuple[type, ...]] = {
    "label": str,
    "levels": dict,
    "recipe": dict,
    "epochs": int,
    "parameters": int,
    "trials": dict,
}


def parse_plan(text: str, folder: Path) -> dict[str, Any]:
    """The plan in a row of a store.

    Raises:
        UserError: Not what normlab writes; the message says where.
    """
    plan = clean(parse_json(text, "its plan", folder))

    def need(true: bool, where: str) -> None:
        if not true:
            raise not_ours(folder, f"its plan has no valid {where}")

    need(isinstance(plan, dict), "mapping")
    need(isinstance(plan.get("name"), str), "name")
    need(isinstance(plan.get("question", ""), str), "question")
    for key in ("arms", "claims", "figures", "seeds", "published"):
        need(isinstance(plan.get(key, []), list), key)
    for arm in plan.get("arms", []):
        need(isinstance(arm, dict) and {"label", "trials"} <= arm.keys(), "arms")
        for key in _OF_ARMS.keys() & arm.keys():
            need(isinstance(arm[key], _OF_ARMS[key]), f"arms.{key}")
        need(all(str(seed).isdecimal() for seed in arm["trials"]), "arms.trials")
        need(all(is_id(trial) for trial in arm["trials"].values()), "arms.trials")
    _named(plan.get("figures", []), need)
    for claim in plan.get("claims", []):
        need(isinstance(claim, dict) and isinstance(claim.get("name"), str), "claims")
    return plan  # type: ignore[no-any-return]


def _named(figures: list[Any], need: Callable[[bool, str], None]) -> None:
    """Give figures that could not have their names in a study file others."""
    for number, figure in enumerate(figures, start=1):
        need(isinstance(figure, dict) and isinstance(figure.get("kind"), str), "figures")
        for key in ("heading", "caption"):
            need(isinstance(figure.get(key, ""), str | None), f"figures.{key}")
        name = figure.get("name")
        if not isinstance(name, str) or len(name) > _LONGEST or not _FIGURE.fullmatch(name):
            figure["name"] = f"figure-{number}"


def parse_json(text: Any, what: str, folder: Path) -> Any:
    """Plain data from a store's JSON.

    Raises:
        UserError: It is none.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise not_ours(folder, f"{what} is no JSON") from None


def parse_places(text: Any) -> list[dict[str, Any]]:
    """The places in a stored provenance; one that cannot be read has none."""
    try:
        found = clean(json.loads(text)) if text else []
    except (TypeError, ValueError, RecursionError):
        return []
    found = found if isinstance(found, list) else [found]
    return [
        {k: v for k, v in place.items() if v is not None} for place in found if _is_place(place)
    ]


def _is_place(place: Any) -> bool:
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

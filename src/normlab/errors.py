"""The errors users see, and how a wrong name finds the right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NormlabError(Exception):
    """Base of every error raised on purpose."""


class UserError(NormlabError):
    """A mistake the user can mend: the command line prints the message and exits with 2."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that looks most like `name`, if any looks like it at all."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def listing(names: Iterable[str]) -> str:
    """Names in a row, apart by semicolons where one of them has a comma."""
    every = list(names)
    return ("; " if any("," in name for name in every) else ", ").join(every)


def unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    """One sentence for a name that is not known: what it was, the nearest, what is allowed."""
    names = sorted(allowed)
    guess = nearest(name, names)
    hint = f" Did you mean '{guess}'?" if guess else ""
    return f"unknown {what} '{name}'.{hint} Allowed: {listing(names)}."

"""The errors users see, and how a wrong name finds the right one."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from normlab.synonyms import AFFIXES, BY_NAME, OTHERS, PREFIXES

_ALIKE = 0.66  # share of equal letters: "dgo" is "dog", "drop_last" no "dropout"


class NormlabError(Exception):
    """Base of every error raised on purpose."""


class UserError(NormlabError):
    """A mistake the user can mend: the command line prints the message and exits with 2."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `name` most likely means, if any.

    Names are compared without case and signs; then by what other libraries and people call the
    same thing; only then by spelling, and never where the name is that of something else.
    """
    by_plain = {_plain(candidate): candidate for candidate in allowed}
    for word in _bared(_plain(name)):
        if word in by_plain:
            return by_plain[word]
        for meant in BY_NAME.get(word, ()):
            if _plain(meant) in by_plain:
                return by_plain[_plain(meant)]
        if word in OTHERS:
            return None
    found = difflib.get_close_matches(_plain(name), by_plain, n=1, cutoff=_ALIKE)
    return by_plain[found[0]] if found else None


def _plain(name: str) -> str:
    """A name without case and signs."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).lower()) or name


def _bared(word: str) -> list[str]:
    """The word, and what is left of it without beginnings and ends that only name its kind."""
    found = [word]
    for each in found:
        shorter = [each.removesuffix(end) for end in AFFIXES]
        shorter += [each.removeprefix(start) for start in PREFIXES]
        found += [part for part in shorter if part and part not in found]
    return found


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

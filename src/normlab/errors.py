"""The errors users see, and how a wrong name finds the right one."""

from __future__ import annotations

import difflib
import errno
import os
import re
import signal
import unicodedata
from collections.abc import Iterable

from normlab.synonyms import AFFIXES, BY_NAME, OTHERS, PREFIXES

_ALIKE = 0.66  # share of equal letters: "dgo" is "dog", "drop_last" no "dropout"


class NormlabError(Exception):
    """Base of every error raised on purpose."""


class UserError(NormlabError):
    """A mistake the user can mend: the command line prints the message and exits with 2."""


class MachineError(UserError):
    """The machine, not the study, is at fault: a full disk, a disk that cannot be read."""


class SignalledError(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: it ends what Ctrl-C ends.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def end_word(stopped: KeyboardInterrupt) -> str:
    """How a run that was stopped from outside ended, in words."""
    if not isinstance(stopped, SignalledError):
        return "interrupted"
    name = signal.Signals(stopped.number).name
    return f"{'hung up' if name == 'SIGHUP' else 'terminated'} ({name})"


MACHINE_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ENODEV",
        "ENXIO", "ESTALE", "EFBIG", "ENOLCK", "ETXTBSY", "EUCLEAN", "EREMOTEIO", "ENOMEDIUM",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""Numbers of errors that say nothing about what was being done, only about where."""

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "unable to allocate")


def fault_of_machine(error: BaseException) -> str | None:
    """What is wrong with the machine, in one sentence, if it is what raised `error`."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, OSError) and link.errno in MACHINE_ERRORS:
            return os_words(link)
        if is_lack_of_memory(link):
            return f"out of memory: {link}" if str(link) else "out of memory"
        link = link.__cause__ or link.__context__
    return None


def for_user(error: OSError, message: str) -> UserError:
    """What to raise where a file cannot be used: the machine's fault, or the user's."""
    return (MachineError if fault_of_machine(error) else UserError)(message)


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: the only fault that a trial may not meet when it runs alone."""
    if isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    ):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def os_words(error: OSError) -> str:
    """An operating system's error as words: the file, then what is wrong with it."""
    words = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    return f"{error.filename}: {words}" if error.filename else words


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
    if not names:
        return f"unknown {what} '{name}': there are none here."
    guess = nearest(name, names)
    hint = f" Did you mean '{guess}'?" if guess else ""
    return f"unknown {what} '{name}'.{hint} Allowed: {listing(names)}."

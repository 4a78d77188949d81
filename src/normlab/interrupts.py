"""Signals that end a run, remembered until it has ended.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. In a destructor, or in a
function that C calls, it is printed and forgotten, and the run would go on. So the command line
notes each signal here, and a run asks for it after every message of its engine.
"""

from __future__ import annotations

import signal
from types import FrameType

from normlab.errors import SignalledError

_came: list[int] = []


def stop(number: int, _frame: FrameType | None) -> None:
    """A handler of SIGINT, SIGTERM and SIGHUP.

    Raises:
        KeyboardInterrupt: Always; of the latter two a `SignalledError`.
    """
    _came.append(number)
    if number != signal.SIGINT:
        # Those who end a session send both, and more than once: one is enough.
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    _raise(number)


def check() -> None:
    """Raise what `stop` raised, if that was lost on its way."""
    if _came:
        _raise(_came[0])


def forget() -> None:
    """The run has ended: what came is dealt with."""
    _came.clear()


def _raise(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else SignalledError(number)

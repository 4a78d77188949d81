"""Old words that work for one more release, with a warning that names the new ones."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed_keyword(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take a keyword by its old name too.

    Args:
        old: What it was called.
        new: What it is called.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__name__}() got '{old}' and '{new}': they are one")
                _warn(f"{function.__name__}({old}=...) is now {function.__name__}({new}=...)")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return wrap


def renamed(old: str, new: str) -> None:
    """Warn that something is used by its old name."""
    _warn(f"{old} is now {new}", stacklevel=4)


def _warn(text: str, *, stacklevel: int = 3) -> None:
    warnings.warn(
        f"{text}; the old name works for one more release",
        DeprecationWarning,
        stacklevel=stacklevel,
    )

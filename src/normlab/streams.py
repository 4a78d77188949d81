"""Standard output and error that a reader may leave, close or fill up.

The words a run prints are not what it is for: they may get lost, its trials may not. The other
commands have nothing but their words, so there a lost word is an error.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import TextIO


class OutputError(OSError):
    """Standard output cannot be written."""


class _Raw(io.RawIOBase):
    """A file descriptor; what cannot be written is lost, or an error, as `may_lose` says."""

    def __init__(self, number: int, open_: bool) -> None:
        self.number, self.open_ = number, open_
        self.lost: OSError | None = None
        self.may_lose = False
        self.told: Callable[[OSError], None] | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def isatty(self) -> bool:
        return self.open_ and os.isatty(self.number)

    def write(self, content: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        if self.lost is None:
            try:
                if not self.open_:
                    raise OSError(9, "it is closed")  # noqa: TRY301
                return os.write(self.number, content)
            except BlockingIOError:
                return 0
            except OSError as error:
                self.lost = error
                if not self.may_lose:
                    raise OutputError(error.errno, error.strerror) from None
                if self.told is not None:
                    self.told(error)
        return len(content)


def guard() -> None:
    """Put streams that can be lost in the place of standard output and error.

    Where one of the three standard descriptors is closed, the null device takes its number, so
    that no file of a run ever gets it.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream: TextIO | None = getattr(sys, name)
        if stream is None or number in closed:
            raw = _Raw(number, open_=False)
            setattr(sys, name, _text(raw, "utf-8", line_buffering=True, write_through=False))
        elif _is_plain(stream):
            assert isinstance(stream, io.TextIOWrapper)
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
            raw = _Raw(stream.fileno(), open_=True)
            text = _text(
                raw,
                stream.encoding,
                line_buffering=stream.line_buffering or number == 2,
                write_through=stream.write_through,
            )
            setattr(sys, name, text)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    errors = _raw(sys.stderr)
    if errors is not None:
        errors.may_lose = True  # there is nobody left to tell


def go_on_without_reader(told: Callable[[OSError], None]) -> None:
    """From now on words for standard output may get lost; `told` is called once, when they do."""
    raw = _raw(sys.stdout)
    if raw is not None:
        raw.may_lose, raw.told = True, told


def lost() -> OSError | None:
    """Why standard output could not be written, if it could not."""
    raw = _raw(sys.stdout)
    return raw.lost if raw is not None else None


_answers: list[tuple[TextIO, int | None]] = []
"""While everything else goes to standard error: the stream of the answer, and its descriptor."""


def aside() -> None:
    """From now on all that is printed goes to standard error, until `back` is called.

    That of worker processes and of libraries too, which print without asking Python. Only what
    `answer` gives still leads to standard output: one document for a program that reads it.
    """
    if _answers:
        return
    stream, number = sys.stdout, None
    stream.flush()
    raw = _raw(stream)
    if raw is not None and raw.open_:
        number = raw.number
        raw.number = os.dup(number)
        os.dup2(2, number)
    _answers.append((stream, number))
    sys.stdout = sys.stderr


def answer() -> TextIO:
    """Standard output, also while everything else goes to standard error."""
    return _answers[0][0] if _answers else sys.stdout


def back() -> None:
    """End what `aside` began, if it was called."""
    while _answers:
        stream, number = _answers.pop()
        sys.stdout = stream
        raw = _raw(stream)
        if raw is not None and number is not None:
            kept, raw.number = raw.number, number
            os.dup2(kept, number)
            os.close(kept)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _is_plain(stream: TextIO) -> bool:
    """Whether the stream is Python's own on a descriptor, none that somebody put there."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves the buffer out
    return isinstance(stream, io.TextIOWrapper) and isinstance(raw, io.FileIO) and os.name != "nt"


def _raw(stream: TextIO | None) -> _Raw | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Raw) else None


def _text(
    raw: _Raw, encoding: str, *, line_buffering: bool, write_through: bool
) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),  # type: ignore[type-var]
        encoding=encoding,
        errors="replace",  # a label no terminal of this kind can show
        line_buffering=line_buffering,
        write_through=write_through,
    )

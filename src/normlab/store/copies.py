"""Reading a database where nothing may be written: its files, copied to where they can be read."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from normlab.errors import MachineError, UserError, fault_of_machine

_BESIDE = {
    "-wal": "what was stored last stands in it",
    "-journal": "it is needed to undo what a killed process left half-written",
}
_TRIES = 5


@contextlib.contextmanager
def copied(
    path: Path, *, because: str, what: str | None = None, writer: str = "a run is writing there"
) -> Iterator[Path]:
    """A copy of the database at `path` with its log or journal, as they were at one moment.

    Args:
        path: The database.
        because: Why it cannot be read where it is.
        what: What cannot be read then, for a message; None is the run folder it stands in.
        writer: Who may be writing, for a message.

    Raises:
        UserError: A file cannot be read; the message names it. Nothing is read without it.
        MachineError: The disk reports an error.
    """
    what = what or f"the run folder {path.parent}"
    with tempfile.TemporaryDirectory(prefix="normlab-") as folder:
        copy = Path(folder) / "copy.sqlite"
        for _ in range(_TRIES):
            before = _looks(path)
            for ending in ("", *_BESIDE):
                target = copy.with_name(copy.name + ending)
                target.unlink(missing_ok=True)
                content = _content(path, ending, f"{what} cannot be read: {because}")
                if content is not None:
                    target.write_bytes(content)
            if _looks(path) == before:
                yield copy
                return
    raise UserError(
        f"{what} cannot be read: {because}, and its files change too fast to be copied: {writer}; "
        "try again"
    )


def _content(path: Path, ending: str, problem: str) -> bytes | None:
    file = path.with_name(path.name + ending)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        if ending:
            return None
        raise
    except OSError as error:
        kind = UserError if fault_of_machine(error) is None else MachineError
        why = f" ({_BESIDE[ending]})" if ending else ""
        raise kind(f"{problem}; {file.name}{why} cannot be read either: {error.strerror}") from None


def _looks(path: Path) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for ending in ("", *_BESIDE):
        try:
            state = path.with_name(path.name + ending).stat()
            found.append((state.st_ino, state.st_size, state.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
        except OSError:  # said when it is read
            found.append((0, 0, 0))
    return found

"""Reading the runs of other tools: which tool a file or folder is of, and its runs as plain data.

Nothing is ever written to a source, and no tool's own server or code of a run is started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from normlab.errors import UserError
from normlab.text import shown
from normlab.trackers.read import mlflow, tensorboard, trackio, wandb
from normlab.trackers.read.sqlite import is_database, whose
from normlab.trackers.runs import Runs

__all__ = ["READERS", "read_runs", "tool_of"]


class Reader(Protocol):
    """A module that reads the runs of one tool."""

    WHAT: str
    """What it reads, for a message: "an MLflow database or mlruns folder"."""

    def recognises(self, source: Path) -> bool:
        """Whether the source, which exists, is of this tool: by its content, not by its name."""

    def read(self, source: Path) -> Runs:
        """The runs of a source that was recognised.

        Raises:
            UserError: It is damaged, or a package that reads it is not installed.
        """


READERS: dict[str, Reader] = {
    "mlflow": mlflow,
    "trackio": trackio,
    "wandb": wandb,
    "tensorboard": tensorboard,
}
"""By the tool's name."""
_ANY_DEPTH = "tensorboard"
"""It is recognised by a file anywhere in a folder: what other tools keep may have event files."""


def tool_of(source: Path) -> str | None:
    """The name of the tool that wrote a source; None where it is of none of them.

    Raises:
        UserError: It does not exist or cannot be opened, or more than one tool wrote to it.
    """
    try:
        source.stat()
        found = [t for t, r in READERS.items() if t != _ANY_DEPTH and r.recognises(source)]
        if not found and READERS[_ANY_DEPTH].recognises(source):
            found = [_ANY_DEPTH]
    except OSError as error:
        raise UserError(f"{shown(str(source))} cannot be read: {error.strerror or error}") from None
    if found[1:]:
        raise UserError(
            f"{shown(str(source))} has runs of {' and of '.join(found)}: name the file or folder "
            "of one of them"
        )
    return found[0] if found else None


def read_runs(source: Path) -> Runs:
    """The runs that another tool logged.

    Args:
        source: A file or a folder of MLflow, TensorBoard, trackio or Weights & Biases.

    Raises:
        UserError: It is of none of them, is damaged, or a package that reads it is not installed.
    """
    tool = tool_of(source)
    if tool is None:
        kinds = "; ".join(reader.WHAT for reader in READERS.values())
        raise UserError(
            f"{shown(str(source))} is {_kind(source)} without runs that can be read. "
            f"What can be: {kinds}"
        )
    return READERS[tool].read(source)


def _kind(source: Path) -> str:
    if is_database(source):
        return whose(source)
    if source.is_dir():
        return "a folder" if any(source.iterdir()) else "an empty folder"
    return "a file" if source.stat().st_size else "an empty file"

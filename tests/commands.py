"""Every command of the command line, by its words."""

from collections.abc import Iterator
from typing import Any

import typer

from normlab.cli import app


def _commands(group: Any, *words: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *words, name)
        else:
            yield " ".join([*words, name]), command


COMMANDS = dict(_commands(typer.main.get_command(app)))

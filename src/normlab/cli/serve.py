"""The command of the live page: serve."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from normlab import streams
from normlab.cli.options import DEFAULT_RUNS
from normlab.errors import UserError

_NEEDS = ("starlette", "uvicorn")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    runs: Annotated[
        Path, typer.Argument(metavar="RUNS", help="Folder that holds the studies' runs.")
    ] = DEFAULT_RUNS,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=65535,
            help="Listen on this port; without it on 8321, or on the next one that is free.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Listen on this address of the machine.")
    ] = "127.0.0.1",
) -> None:
    """Show the studies of a folder in a browser, also while they run; Ctrl-C ends it."""
    if any(find_spec(name) is None for name in _NEEDS):
        raise UserError("normlab serve needs Starlette and uvicorn: pip install 'normlab[live]'")
    from normlab.live.app import serve as serving
    from normlab.terminal import console

    is_first = True

    def say(address: str) -> None:
        nonlocal is_first
        if is_first and host not in _LOOPBACK:
            console.print(
                f"note: whoever can read the network's traffic to {host} can read the pages and "
                "the token too; `ssh -L` needs no --host",
                soft_wrap=True,
            )
        words = f"the studies of {runs}" if is_first else "for another browser"
        console.print(f"{words}: {address}", soft_wrap=True, highlight=False)
        is_first = False
        # Whoever has read the first address is served, even if nobody reads the next ones.
        streams.go_on_without_reader(lambda _: None)

    serving(runs, host=host, port=port, say=say)

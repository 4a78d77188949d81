"""A server of the live page in a process of its own, and browsers that look at it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@contextmanager
def process(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """`normlab` with these words; ended as by Ctrl-C if it has not ended before."""
    made = subprocess.Popen(
        [sys.executable, "-u", "-m", "normlab", *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    try:
        yield made
    finally:
        made.send_signal(signal.SIGINT)
        try:
            made.wait(30)
        except subprocess.TimeoutExpired:
            made.kill()
            made.wait()
        if made.stdout is not None:
            made.stdout.close()


@dataclass
class Server:
    """A server that runs.

    Attributes:
        port: Where it listens.
        lines: What it has printed.
    """

    port: int
    lines: list[str] = field(default_factory=list)
    printed: threading.Condition = field(default_factory=threading.Condition)
    used: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its first page, without a token and without the slash."""
        return f"http://127.0.0.1:{self.port}"

    def ticket(self) -> str:
        """An address that lets a browser in, which no test has used before."""
        with self.printed:
            assert self.printed.wait_for(self._fresh, 60), self.lines
            ticket = self._fresh()
        assert ticket is not None
        self.used.add(ticket)
        return ticket

    def _fresh(self) -> str | None:
        found = re.findall(r"http://\S+\?token=\S+", "\n".join(self.lines))
        return found[-1] if found and found[-1] not in self.used else None

    def read(self, stream: Any) -> None:
        """Keep what it prints."""
        for line in stream:
            with self.printed:
                self.lines.append(line)
                self.printed.notify_all()


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
    return port


@contextmanager
def served(runs: Path) -> Iterator[Server]:
    """The studies of a folder, served."""
    server = Server(free_port())
    with process("serve", str(runs), "--port", str(server.port), cwd=runs) as running:
        reader = threading.Thread(target=server.read, args=[running.stdout])
        reader.start()
        try:
            yield server
        finally:
            running.send_signal(signal.SIGINT)
            reader.join(30)


class Seen:
    """What a browser's pages did that they should not, and what they asked for.

    Args:
        context: Of playwright: its pages share a cookie.
        refused: Whether answers with an error are expected, which the browser then logs.
    """

    def __init__(self, context: Any, *, refused: bool = False) -> None:
        self._refused = refused
        self.problems: list[str] = []
        self.requests: list[str] = []
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (event) =>"
            " console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI));"
        )
        context.on("console", self._logged)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        context.on("request", lambda request: self.requests.append(request.url))

    def _logged(self, message: Any) -> None:
        if self._refused and message.text.startswith("Failed to load resource"):
            return
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def check(self, server: Server) -> None:
        """No error, no refusal by the policy, and no request to another host."""
        assert self.problems == []
        away = [url for url in self.requests if not url.startswith((server.url + "/", "data:"))]
        assert [url for url in away if not url.startswith(f"blob:{server.url}")] == []

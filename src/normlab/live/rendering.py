"""The one process that draws: what takes seconds of a core stays out of the server's way.

It has a lower priority than trainings, is started at the first page that needs it, and ends with
the server, also with one that is killed: then its standard input ends. Requests and answers are
lines of JSON, by pipes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from normlab.errors import NormlabError, UserError, os_words

NICE = 15
"""Added to the process's nice value: of trainings on all cores it takes next to nothing."""


class Made(TypedDict):
    """An answer.

    Attributes:
        content: What was asked for.
        seconds: Of a core that it took.
    """

    content: Any
    seconds: float


class Renderer:
    """The process, started when it is needed and again where it was killed; for one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def body(self, folder: Path) -> Made:
        """The body of a study's report as HTML.

        Raises:
            UserError: The study cannot be read.
            NormlabError: The process has ended, or cannot be started.
        """
        return self._ask("body", str(folder))

    def compare(self, folder: Path, arms: Sequence[str], metrics: Sequence[str]) -> Made:
        """A figure for each metric; see `normlab.live.drawing.compared`."""
        return self._ask("compare", str(folder), list(arms), list(metrics))

    def static(self) -> Made:
        """The script that draws a report's figures in a browser, by its name."""
        return self._ask("static")

    def close(self) -> None:
        """End the process; from any thread, also while another one waits for a drawing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, what: str, *given: object) -> Made:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError, ValueError):  # it ended, or `close` ended it
            process.stdin.write(json.dumps([what, *given]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        if not line.endswith("\n"):
            self.close()
            raise NormlabError("the process that draws has ended")
        answer = json.loads(line)
        if "refused" in answer:
            raise UserError(answer["refused"])
        if "broken" in answer:
            raise NormlabError(answer["broken"])
        return Made(content=answer["content"], seconds=answer["seconds"])

    def _started(self) -> subprocess.Popen[str]:
        process = self._process
        if process is not None and process.poll() is None:
            return process
        self.close()
        paths = [path or str(Path.cwd()) for path in sys.path]
        try:
            process = self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "normlab.live.rendering"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)},
                text=True,
                encoding="ascii",
                # Ctrl-C is for the server, which ends this process.
                start_new_session=True,
            )
        except OSError as error:
            raise NormlabError(
                f"the process that draws cannot be started: {os_words(error)}"
            ) from error
        return process


_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main() -> None:
    """Answer the lines on standard input until it ends."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    # What a library prints must not stand between the answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()


def _answer(asked: list[Any]) -> dict[str, object]:
    # Imports take seconds, once: they are no part of what a drawing takes.
    from normlab.live import drawing

    began = time.process_time()
    what, *given = asked
    try:
        if what == "static":
            content: object = drawing.static()
        elif what == "body":
            content = drawing.body(Path(given[0]))
        else:
            content = drawing.compared(Path(given[0]), given[1], given[2])
    except UserError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"broken": f"it cannot be drawn ({type(error).__name__})"}
    return {"content": content, "seconds": time.process_time() - began}


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()

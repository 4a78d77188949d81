"""Runs of the command line in a forked process that is warm already, and what is done to them.

The process can be killed at, or given an error of, any of its file-changing system calls: by strace
where it is installed and may attach, else by a hook at the places where Python and SQLite make them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = (
    "write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "linkat",
)  # fmt: skip
"""System calls that change files; `openat` does where it makes one."""
TRACED = ",".join(f"?{name}" for name in (*CHANGES, "openat", "lseek"))
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += +(-?\d+|\?)(.*)$")
_HEX = re.compile(r"\\x([0-9a-f]{2})")
PATIENCE = 240.0  # seconds a run gets


@dataclass(frozen=True)
class Call:
    """A system call of the recorded run: the `nth` of its name in its thread."""

    name: str
    nth: int
    arguments: str
    result: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code (negative: a signal's number) and what it printed."""

    code: int
    text: str


def can_trace() -> bool:
    """Whether strace is there and may attach to a child of this process."""
    if shutil.which("strace") is None:
        return False
    child = subprocess.Popen(["sleep", "30"])
    try:
        log = subprocess.run(
            ["timeout", "2", "strace", "-p", str(child.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return "attached" in log.stderr
    finally:
        child.kill()
        child.wait()


def warm(folder: Path, words: list[str]) -> Outcome:
    """Run a command line in this process, so that its forks have all they need.

    The report's script is left out: Vega's library starts threads, which no fork survives.
    """
    import torch

    from normlab.reports import html

    html._bundle = str
    torch.set_num_threads(1)
    out, before, typed = io.StringIO(), Path.cwd(), sys.argv
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out):
            code = _main(words)
    finally:
        os.chdir(before)
        sys.argv = typed
    return Outcome(code, out.getvalue())


def run(
    folder: Path, words: list[str], *, strace: list[str] | None = None, hook: Hook | None = None
) -> Outcome:
    """Run a command line in `folder`, in a fork of this process.

    Args:
        folder: Where; its output goes to `out.txt` there.
        words: The command line.
        strace: Options of strace, which then watches.
        hook: Installed in the fork before the command starts.
    """
    pid, gate = start(folder, words, hook)
    tracer = None
    if strace is not None:
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", str(pid), *strace], stderr=subprocess.PIPE, text=True
        )
        assert tracer.stderr is not None
        if "attached" not in tracer.stderr.readline():
            os.kill(pid, signal.SIGKILL)
    os.write(gate, b"x")
    os.close(gate)
    code = wait(pid)
    if tracer is not None:
        tracer.communicate()
    return Outcome(code, (folder / "out.txt").read_text(errors="replace"))


def start(folder: Path, words: list[str], hook: Hook | None = None) -> tuple[int, int]:
    """Fork a process that runs a command line as soon as a byte comes: its id, where to send it."""
    ours, theirs = os.pipe()[::-1]
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    code = 70
    try:
        os.close(ours)
        os.chdir(folder)
        out = os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        os.read(theirs, 1)
        os.close(theirs)
        if hook is not None:
            hook.install(folder)
        code = _main(words)
        if hook is not None:
            hook.finish()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _main(words: list[str]) -> int:
    from normlab.cli import main

    sys.argv = ["normlab", *words]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def wait(pid: int) -> int:
    """The exit code of a child; one that hangs is killed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -signal.SIGALRM


def record(folder: Path, words: list[str], *, data: bool = False) -> tuple[Outcome, list[Call]]:
    """Run a command line and list its file-changing calls below `folder`, in their order."""
    log = folder.with_suffix(".strace")
    wide = ["-xx", "-s", "100000000"] if data else ["-s", "4"]
    done = run(folder, words, strace=["-y", "-o", str(log), *wide, "-e", f"trace={TRACED}"])
    counts: Counter[tuple[str, str]] = Counter()
    calls, begun = [], {}
    for raw in log.read_text(errors="replace").splitlines():
        line = raw
        if line.endswith("<unfinished ...>"):
            begun[line.split()[0]] = line.removesuffix("<unfinished ...>")
            continue
        if "resumed>" in line:
            thread = line.split()[0]
            line = begun.pop(thread, f"{thread} ") + line.split("resumed>", 1)[1]
        found = _LINE.match(line)
        if not found:
            continue
        thread, name, arguments, result, _ = found.groups()
        counts[thread, name] += 1
        plain = plain_text(arguments) if name not in {"write", "pwrite64"} else arguments
        where = plain_text(arguments.split(",")[0]) if plain is arguments else plain
        is_ours = f"{folder}/" in where or '"runs' in where or where.endswith(f"{folder}>")
        if not is_ours:
            continue
        if name == "openat" and not ("O_CREAT" in plain or "O_TRUNC" in plain):
            if data:
                calls.append(Call(name, counts[thread, name], plain, result))
            continue
        calls.append(Call(name, counts[thread, name], plain, result))
    log.unlink()
    return done, calls


def plain_text(arguments: str) -> str:
    """Arguments with strace's hexadecimal letters as letters."""
    return _HEX.sub(lambda found: chr(int(found[1], 16)), arguments)


_EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir"})


@dataclass
class Hook:
    """Where there is no strace: counts what Python and SQLite do to files, and acts at one of them.

    Attributes:
        at: The place to act at, from 1 on; 0 only counts, into `places.txt`.
        error: The error's number to raise there; None kills the process.
        lasting: Raise it at every place from there on.
    """

    at: int = 0
    error: int | None = None
    lasting: bool = False
    seen: int = 0

    def install(self, folder: Path) -> None:
        """Watch from now on, in this process."""
        self.folder = folder
        whole = os.fsync

        def fsync(number: int) -> None:
            self._place()
            whole(number)

        os.fsync = fsync
        connect = sqlite3.connect

        def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
            made = connect(*arguments, **options)
            if self.error is None:  # what a trace raises is ignored
                made.set_trace_callback(self._statement)
            return made

        sqlite3.connect = connected
        sys.addaudithook(self._audit)

    def finish(self) -> None:
        """Write down how many places there were."""
        (self.folder / "places.txt").write_text(str(self.seen))

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int):
            if arguments[2] & (os.O_CREAT | os.O_TRUNC) and self._is_ours(arguments[0]):
                self._place()
        elif event in _EVENTS and self._is_ours(arguments[0]):
            self._place()

    def _statement(self, sql: str) -> None:
        if not sql.lstrip().startswith("SELECT"):
            self._place()

    def _is_ours(self, path: object) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        return f"{self.folder / Path(path)}".startswith(f"{self.folder}/runs")

    def _place(self) -> None:
        self.seen += 1
        if not self.at or self.seen < self.at or (self.seen > self.at and not self.lasting):
            return
        if self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.error, os.strerror(self.error or 0))


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; whether it came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False

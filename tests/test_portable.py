"""Nothing but a run's comfort rests on what only Linux, or only Unix, has."""

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import os, signal, sys
import numpy, pandas, torch, scipy, altair, numba, filelock  # what these need is theirs to know
import multiprocessing.popen_spawn_posix, multiprocessing.resource_tracker as tracker

tracker._HAVE_SIGMASK = False
for module in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[module] = None
for module, names in (
    (os, "sched_getaffinity posix_fallocate fork forkpty register_at_fork statvfs sync getuid"),
    (signal, "SIGHUP SIGKILL SIGALRM pthread_sigmask setitimer"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

import ctypes
def nowhere(name, *_, **__):
    raise OSError(name)
if sys.argv.pop(1) == "alone":
    ctypes.CDLL = nowhere

from normlab.cli import main
main()
"""
STUDY = """
question: q
base: {data: digits, data.limit: 5, model: digits-small, epochs: 1}
factors: {norm: [batch, none]}
seeds: 1
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_runs_where_much_is_missing_that_linux_has(tmp_path: Path, workers: int) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    # The children of one with two workers are spared: there the other process is looked at.
    words = ["run", "s.yaml", "--workers", str(workers)]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, "alone" if workers == 1 else "with", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (ended.returncode, "2 complete" in ended.stdout) == (0, True), ended.stderr
    assert (tmp_path / "runs" / "s" / "report.html").is_file()

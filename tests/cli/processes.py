"""The command line in a process of its own, which signals can end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NORMLAB = (sys.executable, "-m", "normlab")


def started(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    """A command that runs in `folder`, in a session of its own; `options` are those of Popen."""
    return subprocess.Popen(
        [*NORMLAB, *words],
        cwd=folder,
        text=True,
        start_new_session=True,
        preexec_fn=None if os.name == "nt" else _listening,  # noqa: PLW1509
        **options,
    )


def until_first_checkpoint(folder: Path) -> None:
    """Wait until a training of the study in `folder` has stored an epoch, a minute at most."""
    deadline = time.monotonic() + 60
    while not list(folder.glob("checkpoints/*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)


def _listening() -> None:
    """Hear every signal, also where the suite itself runs under nohup or in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)

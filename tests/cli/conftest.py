"""The command line, run in this process."""

import sys
from pathlib import Path
from typing import Any

import pytest

from normlab.cli import main

Run = Any


@pytest.fixture
def normlab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run a command line in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["normlab", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return int(code or 0), out, err

    return run

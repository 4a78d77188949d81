"""A share of the crash benchmark: a small study stopped where it changes files, then gone on with."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "words", [("--hook", "--share", "30"), ("--share", "60")], ids=["hook", "calls"]
)
def test_nothing_is_lost_wherever_a_run_is_stopped(words: tuple[str, ...]) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "crash.py"), "--every-call", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = re.findall(
        r"^(killed at .*?|one error|errors that last) +(\d+)((?: +\d+){7})$",
        done.stdout,
        re.MULTILINE,
    )
    assert {kind.split()[0] for kind, _, _ in rows} == {"killed", "one", "errors"}, (
        done.stdout + done.stderr
    )
    assert all(int(cases) > 0 for _, cases, _ in rows)
    assert done.returncode == 0, done.stdout
    assert {count for _, _, counts in rows for count in counts.split()} == {"0"}

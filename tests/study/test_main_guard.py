"""A script without a main guard is refused, with the way out, before a worker is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from normlab import api

HEAD = """
import normlab

study = normlab.load_study("s.yaml")
"""
STUDY = """
question: q
base: {data: digits, data.limit: 2, model: digits-small, epochs: 1}
factors: {norm: [batch, none]}
seeds: 1
"""
CALL = "normlab.run(study, workers=2)"


def ran(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "s.yaml").write_text(STUDY)
    (folder / "script.py").write_text(HEAD + text)
    return subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"def main():\n    {CALL}\n\nmain()",
        f"if study:\n    {CALL}",
        f'import sys\nif __name__ != "__main__":\n    sys.exit()\n{CALL}',  # it ends the workers
    ],
    ids=["plain", "function", "if", "left"],
)
def test_a_script_without_a_guard_is_refused(text: str, tmp_path: Path) -> None:
    done = ran(text, tmp_path)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr
    assert "workers=1" in done.stderr
    assert "script.py, line" in done.stderr
    assert api.status("s", runs=tmp_path / "runs").counts == {"pending": 2}


@pytest.mark.parametrize(
    "text",
    [
        f'if __name__ == "__main__":\n    {CALL}',
        f'def main():\n    {CALL}\n\nif "__main__" == __name__:\n    main()',
        CALL.replace("2", "1"),
    ],
    ids=["plain", "function", "serial"],
)
def test_a_guarded_script_runs(text: str, tmp_path: Path) -> None:
    done = ran(text, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert api.status("s", runs=tmp_path / "runs").counts == {"complete": 2}

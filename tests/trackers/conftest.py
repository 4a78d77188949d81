"""The environment of the tools' real packages, and stores that these wrote.

`make check` builds it in `.trackers`; NORMLAB_TRACKERS names the Python of another one.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.trackers.trials import trials

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("mlflow", "mlruns", "trackio", "wandb", "tensorboard", "torch")
_HERE = ROOT / "tests" / "trackers"
_OFFLINE = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_CONSOLE": "off",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRACKIO_ANALYTICS": "false",
}

There = Callable[..., str]
"""Runs a script of tests/trackers, or code, with the packages; its arguments; what it printed."""


@pytest.fixture(scope="session")
def trackers_python() -> str:
    """The Python that has the tools' packages; without it a test is skipped."""
    named = os.environ.get("NORMLAB_TRACKERS")
    python = Path(named) if named else ROOT / ".trackers" / "bin" / "python"
    if not python.exists():
        pytest.skip("the environment of the tools' packages is not here: make .trackers/ready")
    return str(python)


@pytest.fixture(scope="session")
def there(trackers_python: str, tmp_path_factory: pytest.TempPathFactory) -> There:
    """A function that runs code with the tools' packages: see `There`.

    It has `code` or `script` (the name of a file of tests/trackers), any number of arguments,
    `given` (JSON on its standard input) and `environ`; without network, in a folder of its own.
    """

    def run(
        *arguments: str | Path,
        code: str | None = None,
        script: str | None = None,
        given: Any = None,
        environ: dict[str, str] | None = None,
    ) -> str:
        begin = ["-c", code] if code is not None else [str(_HERE / str(script))]
        home = tmp_path_factory.mktemp("there")
        done = subprocess.run(
            [trackers_python, *begin, *map(str, arguments)],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            cwd=home,
            env=os.environ
            | _OFFLINE
            | {
                "PYTHONPATH": str(ROOT / "src"),
                "WANDB_DIR": str(home),
                "TRACKIO_DIR": str(home / "trackio"),
                "TMPDIR": str(home),
            }
            | (environ or {}),
            check=False,
            timeout=240,
        )
        if done.returncode:
            raise AssertionError(f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
        return done.stdout

    return run


@pytest.fixture(scope="session")
def written(there: There, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function: tool of `TOOLS`, runs as of `trials()` -> the folder that the tool wrote."""
    made: dict[str, Path] = {}

    def write(tool: str, runs: list[dict[str, Any]] | None = None) -> Path:
        if runs is None and tool in made:
            return made[tool]
        dest = tmp_path_factory.mktemp(tool) / "store"
        there(tool, dest, script="write_runs.py", given=trials() if runs is None else runs)
        if runs is None:
            made[tool] = dest
        return dest

    return write


@pytest.fixture(scope="session")
def read_there(there: There) -> Callable[[Path], dict[str, Any]]:
    """A function: source -> what `read_runs` reads where the tools' packages are, as plain data."""

    def read(source: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(there(source, script="read_back.py"))
        return found

    return read

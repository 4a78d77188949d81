"""A script that would run again in every worker is refused before one is started.

A worker process imports the script that started it. Where the run is not under ``if __name__ ==
"__main__":`` every worker begins the study anew and dies, and its trials would count as failed.
"""

from __future__ import annotations

import ast
import multiprocessing
import sys
from pathlib import Path
from types import FrameType

from normlab.errors import UserError


def check_main_guard() -> None:
    """Refuse to start workers from a script without the guard.

    Raises:
        UserError: There is none; the message shows where it goes.
    """
    script = _script()
    if script is None:
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        line: int | None = None  # this is a worker, on its way through the script
    else:
        line = _running_line(script)
        if line is None or _is_guarded(script, line):
            return
    where = f"{script.name}, line {line}" if line else script.name
    raise UserError(
        f"{where}: worker processes import this script, and would start the study again. Put what "
        'runs it under\n\n    if __name__ == "__main__":\n\nor train in this process alone: '
        "workers=1"
    )


def _script() -> Path | None:
    """The file that workers import as their main module; None where they import none."""
    main = sys.modules.get("__main__")
    name = getattr(getattr(main, "__spec__", None), "name", None)
    file = getattr(main, "__file__", None)
    if file is None or (name is not None and name.endswith("__main__")):
        return None
    path = Path(file)
    return path if path.suffix in {".py", ".pyw", ""} and path.is_file() else None


def _running_line(script: Path) -> int | None:
    """The line of the script's top level that runs now; None where it is not running."""
    frame: FrameType | None = sys._getframe()
    found = None
    while frame is not None:
        code = frame.f_code
        if code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            found = frame.f_lineno if Path(code.co_filename).name == script.name else found
        frame = frame.f_back
    return found


def _is_guarded(script: Path, line: int) -> bool:
    """Whether a line at a script's top level is reached in the main process alone."""
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True  # nothing is known: as if there were no check
    return any(
        isinstance(statement, ast.If)
        and statement.lineno <= line <= (statement.end_lineno or line)
        and any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(statement.test))
        for statement in tree.body
    )

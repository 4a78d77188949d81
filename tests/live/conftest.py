"""Studies for the live page's tests, and a server that shows them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.browsing import Server, served

HOSTILE = "it's <img src=x onerror=alert(1)> & 100%2e"
"""The name of a study's folder."""
TRACEBACK = """Traceback (most recent call last):
  File "model.py", line 3, in forward
ValueError: <script>alert("shape")</script> is no shape"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A folder with a finished study, and a copy whose names are hostile and one trial failed."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    shutil.copytree(finished, folder / "tiny")
    shutil.copytree(finished, folder / HOSTILE)
    with sqlite3.connect(folder / HOSTILE / "store.sqlite") as database:
        (failed,) = database.execute("SELECT id FROM trials ORDER BY id LIMIT 1").fetchone()
        database.execute(
            "UPDATE trials SET state = 'failed', reason = ? WHERE id = ?", (TRACEBACK, failed)
        )
    database.close()
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Server]:
    with served(runs) as made:
        yield made

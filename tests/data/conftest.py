"""No test here meets a user's cache or what another test has read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from normlab import data


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NORMLAB_CACHE", str(folder))
    data.forget()
    yield folder
    data.forget()

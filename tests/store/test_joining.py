"""Joining another store's trials: whose fault it is where one cannot be read."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.made_stores import fill, plan

from normlab.errors import UserError
from normlab.store import Store
from normlab.store.joining import FolderOrigin, folder_origin, join
from normlab.store.portable import Entry

BOTH = [("none", 0), ("batch", 0)]


@pytest.mark.parametrize("broken", [1, 2])
def test_a_source_that_cannot_be_read_is_named_in_the_second_pass_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    here = fill(tmp_path / "a/s", plan([0]), BOTH)
    there = fill(tmp_path / "b/s", plan([0]), BOTH, change={("none", 0): 0.25})
    passes = []
    whole = FolderOrigin.entries

    def entries(self: FolderOrigin) -> Iterator[Entry]:
        passes.append(self.path)
        yield next(whole(self))
        if len(passes) == broken:
            raise sqlite3.DatabaseError("database disk image is malformed")
        yield from list(whole(self))[1:]

    monkeypatch.setattr(FolderOrigin, "entries", entries)
    with (
        pytest.raises(UserError) as error,
        folder_origin(there) as source,
        Store.write(here) as store,
        store.at_once(),
    ):
        join(store, source)
    assert str(error.value) == (
        f"the run folder {there} cannot be read: database disk image is malformed"
    )
    assert passes == [there] * broken
    assert list((here / "conflicts").glob("*")) == []

"""What a stranger's database may take."""

import sqlite3
import time
from pathlib import Path

import pytest
from tests.plans import plan_of

from normlab.errors import UserError
from normlab.store import DATABASE, Store
from normlab.store.guard import guard, tables

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT {} FROM r"


@pytest.mark.parametrize(
    "sql",
    [
        f"ALTER TABLE trials RENAME TO t; CREATE VIEW trials AS {ENDLESS.format('n AS id, n AS state')}",
        "CREATE TRIGGER x AFTER INSERT ON studies BEGIN DELETE FROM trials; END",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
    ],
    ids=["view", "trigger", "virtual table"],
)
def test_a_store_holds_tables_alone(tmp_path: Path, sql: str) -> None:
    with Store.write(tmp_path) as store:
        store.record_plan(plan_of(), [])
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.executescript(sql)
    connection.close()
    for opened in (Store.read, Store.write):
        with (
            pytest.raises(
                UserError, match=r"not written by normlab: it has a (view|trigger|virtual table)"
            ),
            opened(tmp_path),
        ):
            pass


def test_a_query_ends_after_its_time_and_the_next_one_has_its_own(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:")
    guard(connection, tmp_path, seconds=0.3)
    started = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.execute(ENDLESS.format("count(*)")).fetchone()
    assert time.monotonic() - started < 10
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()


def test_only_tables_that_hold_what_they_hold_are_named() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        f"CREATE TABLE Runs (id); CREATE INDEX i ON Runs (id); CREATE VIEW metrics AS "
        f"{ENDLESS.format('n')}; CREATE VIRTUAL TABLE params USING fts5(a)"
    )
    found = tables(connection)
    connection.close()
    assert "runs" in found
    assert found.isdisjoint({"i", "metrics", "params"})

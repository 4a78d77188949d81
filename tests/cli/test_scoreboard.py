"""`normlab scoreboard`: what became of every sentence of the sources."""

import json

from tests.cli.conftest import Run

import normlab as package


def test_the_counts_stand_above_a_line_for_each_row(normlab: Run) -> None:
    code, out, _ = normlab("scoreboard", "--source", "b")
    board = package.scoreboard("B")
    assert code == 0
    assert out.startswith(str(board))
    for row in board.rows:
        assert f"\n{row.number}" in out
        assert row.state != "not asked" or f"{row.number}: not asked, {row.why}" in out
    (line,) = (line for line in out.splitlines() if line.startswith("113 "))
    assert "mnist-l1-l2-gbn: L1 with" in line
    assert line.split()[-3:] == ["refuted", "10", "full"]


def test_json_has_every_row_with_its_claims(normlab: Run) -> None:
    code, out, _ = normlab("scoreboard", "--json")
    board = package.scoreboard()
    assert code == 0
    found = json.loads(out)
    assert found == {"format": 1, **json.loads(json.dumps(board.record()))}
    assert len(found["rows"]) == len(board.rows)
    for row in found["rows"]:
        asked = [(each["study"], each["claim"]) for each in row["asked"]]
        assert (row["claim"] is None) == (not asked)
        assert row["claim"] is None or (row["study"], row["claim"]) in asked
        assert row["reason"]


def test_a_verdict_alone(normlab: Run) -> None:
    code, out, _ = normlab("scoreboard", "--verdict", "refuted", "--json")
    assert code == 0
    assert {row["verdict"] for row in json.loads(out)["rows"]} == {"refuted"}


def test_a_slip_is_named(normlab: Run) -> None:
    code, out, err = normlab("scoreboard", "--verdict", "refutd")
    assert (code, out) == (2, "")
    assert "unknown verdict 'refutd'. Did you mean 'refuted'?" in err

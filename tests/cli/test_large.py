"""What a terminal shows of hundreds of arms."""

from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.large import plan_of_arms, store_of

from normlab.cli.lost import print_lost
from normlab.study.stored import LostFile
from normlab.terminal import FEWER_ROWS, MOST_ROWS, fewer


def test_all_of_few_things_are_shown_and_the_first_of_many() -> None:
    few, many = list(range(MOST_ROWS)), list(range(MOST_ROWS + 1))
    assert fewer(few, "arm") == (few, "")
    assert fewer(many, "arm") == (many[:FEWER_ROWS], "and 151 more arms; --json has all")


def test_a_command_without_json_says_what_shows_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = {"arm": "a", "id": "0", "kind": "weights", "path": "p", "reason": "is gone"}
    files: list[LostFile] = [{**lost, "seed": seed} for seed in range(MOST_ROWS + 1)]  # type: ignore[typeddict-item]
    print_lost("s", files, where="`normlab status s --json`")
    out = capsys.readouterr().out.splitlines()
    assert out[FEWER_ROWS] == "and 151 more lost files; `normlab status s --json` has all"
    assert sum(line.startswith("lost: ") for line in out) == FEWER_ROWS


def test_of_few_that_may_be_shown_no_more_are() -> None:
    many = list(range(21))
    assert fewer(many, "conflict", most=20) == (many[:20], "and 1 more conflict; --json has all")


def test_status_shows_arms_that_are_not_through_first(normlab: Run, tmp_path: Path) -> None:
    plan = plan_of_arms(70, seeds=1)
    store_of(plan, tmp_path / "runs" / "large")
    code, out, _ = normlab("status", "large")
    assert code == 0
    lines = out.splitlines()
    arms = [line.split("  ")[0] for line in lines if line.startswith("norm=")]
    assert len(arms) == FEWER_ROWS
    *_, failed, pending = plan.record.labels
    assert arms[:2] == [failed, pending]
    assert arms[2:] == list(plan.record.labels[:48])
    assert "and 160 more arms; --json has all" in lines
    assert lines[0].startswith("large: 208 of 210 trials finished")
    assert sum(line.startswith("failed: ") for line in lines) == 1

"""What a terminal shows of hundreds of arms."""

from pathlib import Path

from tests.cli.conftest import Run
from tests.large import plan_of_arms, store_of

from normlab.terminal import FEWER_ROWS, MOST_ROWS, fewer


def test_all_of_few_things_are_shown_and_the_first_of_many() -> None:
    few, many = list(range(MOST_ROWS)), list(range(MOST_ROWS + 1))
    assert fewer(few, "arms") == (few, "")
    assert fewer(many, "arms") == (many[:FEWER_ROWS], "and 151 more arms; --json has all")


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

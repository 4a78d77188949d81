"""A study shared out by whole seeds to machines that share no disk."""

from pathlib import Path

import pandas as pd
import pytest
from tests.study.test_merging import study, tables

import normlab
from normlab.errors import UserError
from normlab.study.plan import make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.session import train
from normlab.study.shard import Shard


def run(runs: Path, shard: str | None = None) -> dict[str, int]:
    summary = run_plan(make_plan(study([0, 1, 2, 3, 4])), runs, RunOptions(shard=shard))
    assert (summary.shard, summary.planned, summary.failed) == (shard, 10, False)
    return {"trained": summary.trained, "left": summary.left}


def test_the_shards_of_three_machines_joined_are_one_run(tmp_path: Path) -> None:
    parts = [run(tmp_path / name, shard=f"{name}/3") for name in "123"]
    assert parts == [
        {"trained": 4, "left": 6},
        {"trained": 4, "left": 6},
        {"trained": 2, "left": 8},
    ]
    assert run(tmp_path / "whole") == {"trained": 10, "left": 0}
    found = normlab.merge([tmp_path / name / "s" for name in "123"], into=tmp_path / "all/s")
    assert (sum(found.taken.values()), found.joined) == (10, True)
    made, whole = tables(tmp_path / "all/s"), tables(tmp_path / "whole/s")
    for name in whole:
        pd.testing.assert_frame_equal(made[name], whole[name], check_exact=True)
    assert run(tmp_path / "all") == {"trained": 0, "left": 0}


def test_a_shard_is_resumed_and_the_whole_study_takes_up_the_rest(tmp_path: Path) -> None:
    assert run(tmp_path, shard="1/2") == {"trained": 6, "left": 4}
    assert run(tmp_path, shard="1/2") == {"trained": 0, "left": 4}
    assert run(tmp_path) == {"trained": 4, "left": 0}


def test_the_arms_of_a_seed_stay_together() -> None:
    parts = [Shard(number, 3).seeds([5, 6, 7, 8]) for number in (1, 2, 3)]
    assert parts == [{5, 8}, {6}, {7}]


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "", "-1/2", "1/2/3", "a/b", "½/2"])
def test_what_names_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="K/N is allowed"):
        RunOptions(shard=text)


def test_more_parts_than_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 5 parts"):
        run(tmp_path, shard="1/6")
    assert not (tmp_path / "s").exists()


def test_looks_need_all_of_their_trials(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave shard out"):
        train(study([0, 1]), tmp_path, RunOptions(shard="1/2"), until_settled=True)

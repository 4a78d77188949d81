"""Stores of machines that share no disk, joined: each trial once, and nothing overwritten."""

import gzip
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.made_stores import ARMS, contents, fill, plan, trial_id
from tests.study.test_runner import exploratory

import normlab
from normlab.errors import UserError
from normlab.frames import arm_table, claim_table, load_frames
from normlab.records.plan import PlanRecord
from normlab.store import DATABASE, Store
from normlab.study.merging import merge
from normlab.study.plan import make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study
from normlab.study.stored import compared_files

PLACES = ["provenance", "seconds", "examples_per_second", "peak_memory", "together"]


def study(seeds: list[int], **of_claim: object) -> Study:
    base = {"data": "digits", "model": "digits-small", "epochs": 2, "batch_size": 64}
    claims = [
        {
            "name": "batch wins",
            "kind": "better",
            "arm": {"norm": "batch"},
            "over": {"norm": "none"},
            **of_claim,
        }
    ]
    content = {"name": "s", "question": "?", "base": base, "factors": {"norm": ["none", "batch"]}}
    return Study.parse({**content, "seeds": seeds, "claims": claims})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study in one run, and shared out by its seeds to two machines."""
    folder = tmp_path_factory.mktemp("trained")
    for name, seeds in {"whole": [0, 1, 2, 3], "one": [0, 1], "two": [2, 3]}.items():
        run_plan(make_plan(study(seeds)), folder / name)
    return folder


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    with Store.read(folder) as store:
        frames = load_frames(store)
    arms = arm_table(frames)
    return {
        "arms": arms.drop(columns=[c for c in arms.columns if "second" in c or c in PLACES]),
        "claims": claim_table(frames),
        "trials": frames.trials.drop(columns=PLACES, errors="ignore"),
        "epochs": frames.epochs.drop(columns=PLACES, errors="ignore"),
    }


def begun_together(trained: Path, tmp_path: Path, names: Sequence[str]) -> list[Path]:
    """Copies of folders whose plans are all of the time before anybody saw results."""
    parts = [shutil.copytree(trained / name / "s", tmp_path / name / "s") for name in names]
    for part in parts:
        change(part, "UPDATE studies SET recorded_at = '2026-01-01T00:00:00+00:00'")
        change(part, "UPDATE looks SET looked_at = '2026-01-02T00:00:00+00:00'")
    return parts


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_tables_of_two_machines_are_those_of_one_run(
    trained: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    found = merge(begun_together(trained, tmp_path, order), tmp_path / "s")
    assert found.joined
    assert (sum(found.taken.values()), found.known, found.unfinished) == (8, 0, 0)
    made, whole = tables(tmp_path / "s"), tables(trained / "whole/s")
    for name in whole:
        pd.testing.assert_frame_equal(made[name], whole[name], check_exact=True)
    assert len(made["trials"]) == 8
    assert compared_files(tmp_path / "s") == (16, [])


def test_a_report_of_trials_that_came_without_weights_links_to_none(
    trained: Path, tmp_path: Path
) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=trained / "one")
    normlab.import_trials(file, runs=tmp_path)
    page = normlab.report("s", runs=tmp_path).read_text(encoding="utf-8")
    assert page.count("(no file here)") == 4
    assert "weights.pt" not in page
    assert "file lost" not in page


def test_a_run_of_the_whole_study_trains_nothing_more(trained: Path, tmp_path: Path) -> None:
    merge([trained / "one/s", trained / "two/s"], tmp_path / "s")
    summary = run_plan(make_plan(study([0, 1, 2, 3])), tmp_path)
    assert (summary.trained, summary.counts) == (0, {"complete": 8})


def test_files_that_are_lost_here_come_from_the_other_store(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "one/s", tmp_path / "s")
    (weights, other, *_) = sorted((tmp_path / "s/artifacts").glob("*/weights.pt"))
    weights.unlink()
    other.write_bytes(b"short")
    found = merge([trained / "one/s"], tmp_path / "s")
    assert (found.taken, found.known, found.filled) == ({}, 4, 2)
    assert compared_files(tmp_path / "s") == (8, [])


def test_what_another_machine_has_finished_is_not_unfinished(tmp_path: Path) -> None:
    for name in "12":
        run_plan(make_plan(study([0, 1])), tmp_path / name, RunOptions(shard=f"{name}/2"))
    found = merge([tmp_path / "1/s", tmp_path / "2/s"], tmp_path / "s")
    assert (sum(found.taken.values()), found.unfinished) == (4, 0)
    assert merge([tmp_path / "1/s"], tmp_path / "half").unfinished == 2


def test_bits_that_are_equal_are_no_conflict_wherever_they_were_trained(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "whole/s", tmp_path / "s")
    found = merge([trained / "one/s"], tmp_path / "s")
    assert found.joined
    assert (found.taken, found.known) == ({}, 4)
    with Store.read(tmp_path / "s") as store, Store.read(trained / "one/s") as other:
        (here,), (there,) = (s.rows("epochs", other.finished()[:1])[:1] for s in (store, other))
    assert here["seconds"] != there["seconds"]


def test_a_conflict_is_shown_and_kept_apart_and_the_same_merge_adds_nothing(tmp_path: Path) -> None:
    both = [(arm, 0) for arm in ARMS]
    here = fill(tmp_path / "a/s", plan([0]), both)
    there = fill(tmp_path / "b/s", plan([0]), both, chip="quartz", change={("none", 0): 0.25})
    before = contents(here)
    found = merge([there], here)
    assert not found.joined
    (conflict,) = found.conflicts
    assert (conflict["arm"], conflict["seed"], conflict["id"]) == ("none", 0, trial_id("none", 0))
    assert conflict["source"] == str(there)
    assert conflict["differs"][0] == "weights"
    assert "test accuracy 0.885714 here, 1.13571 there after epoch 2" in conflict["differs"][1]
    assert [p["chip"] for p in conflict["here"]] == ["abacus"]
    assert [p["chip"] for p in conflict["there"]] == ["quartz"]
    assert contents(here) == before
    again = merge([there], here)
    assert again.conflicts == found.conflicts
    (kept,) = (here / "conflicts").iterdir()
    assert str(kept) == conflict["kept"]
    normlab.import_trials(kept, into=here)  # from its place among the conflicts
    assert list((here / "conflicts").iterdir()) == [kept]
    apart = normlab.import_trials(kept, into=tmp_path / "c/s")
    assert sum(apart.taken.values()) == 1
    (row,) = contents(tmp_path / "c/s")["trials"]
    (version,) = [r for r in contents(there)["trials"] if r["id"] == conflict["id"]]
    assert row == version


def test_an_export_replaces_nothing_but_a_file_of_trials(tmp_path: Path) -> None:
    """A study file, say, that was named first by mistake."""
    here = fill(tmp_path / "runs/s", plan([0]), [("none", 0)])
    mine = tmp_path / "s.yaml"
    for content in (b"question: Does it last?", gzip.compress(b"a log")):
        mine.write_bytes(content)
        with pytest.raises(UserError, match="is no file of export-trials: name another one"):
            normlab.export_trials(mine, "s", runs=tmp_path / "runs")
        assert mine.read_bytes() == content
    with pytest.raises(UserError, match="is no file of export-trials"):
        normlab.export_trials(here / "store.sqlite", "s", runs=tmp_path / "runs")
    mine.write_bytes(b"")
    normlab.export_trials(mine, "s", runs=tmp_path / "runs")
    first = mine.read_bytes()
    normlab.export_trials(mine, "s", runs=tmp_path / "runs")
    assert mine.read_bytes() == first != b""


def test_an_export_of_nothing_finished_is_one_message_and_no_file(tmp_path: Path) -> None:
    fill(tmp_path / "runs/s", plan([0, 1]), [("none", 0)])
    with pytest.raises(UserError, match="no trial is finished"):
        normlab.export_trials(tmp_path / "f", "s", seeds=[1], runs=tmp_path / "runs")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("seconds", 99.0), ("examples_per_second", 1.0)],
)
def test_how_fast_it_was_makes_no_other_trial(tmp_path: Path, column: str, value: float) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    there = fill(tmp_path / "b/s", plan([0]), [("none", 0)])
    change(there, f"UPDATE epochs SET {column} = ?", value)
    change(there, "UPDATE trials SET started_at = '1999', finished_at = '1999'")
    change(there, "UPDATE trials SET result = json_set(result, '$.peak_memory', 5)")
    assert merge([there], here).known == 1


NUMBERS = [
    (
        "UPDATE epochs SET test_loss = 0.3 WHERE epoch = 1",
        "test loss 0.30000000000000004 here, 0.3",
    ),
    ("UPDATE epochs SET train_loss = NULL", "None there"),
    ("UPDATE epochs SET details = '{\"weight_norm\": 2}'", "diagnostics"),
    ("UPDATE trials SET result = json_set(result, '$.parameters', 11)", "parameters 10 here, 11"),
    ("DELETE FROM epochs WHERE epoch = 2", "stored epochs 2 here, 1 there"),
]


@pytest.mark.parametrize(("sql", "words"), NUMBERS)
def test_any_other_number_makes_a_conflict(tmp_path: Path, sql: str, words: str) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    there = fill(tmp_path / "b/s", plan([0]), [("none", 0)])
    change(there, sql)
    (conflict,) = merge([there], here).conflicts
    assert words in "; ".join(conflict["differs"])


def change(folder: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(folder / DATABASE)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


SHARE = st.sets(st.tuples(st.sampled_from(ARMS), st.integers(0, 3)), min_size=1)


def in_every_order(parts: Sequence[Path], folder: Path) -> Iterator[Path]:
    """The parts joined, all at once or one by one, and the first of them once more."""
    for n, order in enumerate(permutations(parts)):
        for together in [[*order]] if n % 2 else [[part] for part in order]:
            merge(together, folder / f"{n}/s")
        merge([order[0]], folder / f"{n}/s")
        yield folder / f"{n}/s"


@settings(max_examples=6, deadline=None)
@given(shares=st.tuples(SHARE, SHARE, SHARE))
def test_the_order_of_merges_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, shares: tuple[set[tuple[str, int]], ...]
) -> None:
    tmp_path = tmp_path_factory.mktemp("orders")
    parts = []
    for n, share in enumerate(shares):
        made = plan(sorted({seed for _, seed in share}))
        parts.append(fill(tmp_path / f"part-{n}/s", made, sorted(share)))
        change(parts[-1], "UPDATE trials SET started_at = '2026', finished_at = '2026'")
    found = []
    for folder in in_every_order(parts, tmp_path):
        with Store.read(folder) as store:
            found.append((contents(folder), store.plan()))
    assert len(found[0][0]["trials"]) == len(set().union(*shares))
    assert all(one == found[0] for one in found)


DAYS = st.tuples(st.integers(1, 3), st.integers(0, 2))


@settings(max_examples=6, deadline=None)
@given(days=st.tuples(DAYS, DAYS, DAYS))
def test_a_look_has_all_seeds_exactly_if_all_had_been_declared(
    tmp_path_factory: pytest.TempPathFactory, days: tuple[tuple[int, int], ...]
) -> None:
    tmp_path = tmp_path_factory.mktemp("looks")
    parts, expected = [], {}
    last = max(declared for declared, _ in days)
    for seed, (declared, later) in enumerate(days):
        part = fill(tmp_path / f"part-{seed}/s", plan([seed]), [("none", seed)])
        change(part, "UPDATE studies SET recorded_at = ?", f"2026-01-0{declared}T00:00:00+00:00")
        at = f"2026-01-0{declared + later}T00:00:00+00:00"
        change(part, "UPDATE looks SET looked_at = ?", at)
        parts.append(part)
        expected[trial_id("none", seed)] = declared + later >= last
    for folder in in_every_order(parts, tmp_path):
        with Store.read(folder) as store:
            looks = {i: look.declared.seeds for look in store.looks() for i in look.trials}
        assert {i: seeds == (0, 1, 2) for i, seeds in looks.items()} == expected


def test_shares_declared_before_anybody_saw_results_stay_confirmatory(
    trained: Path, tmp_path: Path
) -> None:
    parts = begun_together(trained, tmp_path, ["one", "two"])
    merge(parts, tmp_path / "s")
    assert exploratory(tmp_path / "s") == [None]
    for part in parts:
        merge([part], tmp_path / "s")
    assert exploratory(tmp_path / "s") == [None]
    run_plan(make_plan(study([0, 1, 2, 3])), tmp_path)
    assert exploratory(tmp_path / "s") == [None]


def test_seeds_that_were_added_after_results_were_seen_are_exploratory(
    trained: Path, tmp_path: Path
) -> None:
    parts = []
    for name, day in (("one", "01"), ("two", "05")):
        parts.append(shutil.copytree(trained / name / "s", tmp_path / name / "s"))
        change(parts[-1], f"UPDATE studies SET recorded_at = '2026-01-{day}T00:00:00+00:00'")
        change(parts[-1], f"UPDATE looks SET looked_at = '2026-01-{day}T01:00:00+00:00'")
    for order in (parts, parts[::-1]):
        folder = tmp_path / order[0].parent.name / "merged"
        for part in order:
            merge([part], folder)
        (why,) = exploratory(folder)
        assert "when 2 seeds were planned; now there are 4" in str(why)


def test_what_was_exploratory_stays_so(trained: Path, tmp_path: Path) -> None:
    other = shutil.copytree(trained / "one/s", tmp_path / "one/s")
    change(other, "UPDATE looks SET declared = '{}'")
    merge([trained / "whole/s", other], tmp_path / "s")
    (why,) = exploratory(tmp_path / "s")
    assert "in another study" in str(why)


def test_planned_trials_that_are_not_finished_are_left_behind_and_planned_here(
    tmp_path: Path,
) -> None:
    there = fill(tmp_path / "b/s", plan([0, 1]), [("none", 0)])
    found = merge([there], tmp_path / "s")
    assert (found.taken, found.unfinished) == ({str(there): 1}, 3)
    status = normlab.status("s", runs=tmp_path)
    assert (status.counts, status.lost) == ({"complete": 1, "pending": 3}, [])


def test_a_trial_that_is_pending_here_is_taken_and_one_without_files_gets_them(
    tmp_path: Path,
) -> None:
    both = [(arm, 0) for arm in ARMS]
    here = fill(tmp_path / "a/s", plan([0]), both[:1], files=False)
    there = fill(tmp_path / "b/s", plan([0]), both)
    found = merge([there], here)
    assert (found.taken, found.known, found.filled) == ({str(there): 1}, 1, 1)
    assert compared_files(here) == (4, [])
    assert merge([there], here).filled == 0


def test_trials_of_another_variant_are_kept_and_the_plan_stays(tmp_path: Path) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    there = fill(tmp_path / "b/s", plan([1], overrides={"epochs": 9}), [("none", 1)])
    found = merge([there], here)
    assert sum(found.taken.values()) == 1
    assert "another variant of the study (epochs=9)" in found.notes[0]
    with Store.read(here) as store:
        assert store.plan().seeds == (0,)
        assert len(store.finished()) == 2


def refused(other: Path, into: Path) -> str:
    """Why two stores are not joined; nothing of the target changed."""
    before = contents(into) if into.exists() else None
    with pytest.raises(UserError) as error:
        merge([other], into)
    assert (contents(into) if into.exists() else None) == before
    return str(error.value)


def test_studies_that_declare_other_things_are_not_joined(tmp_path: Path) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    others: dict[str, tuple[PlanRecord, str]] = {
        "name": (plan([1], name="t"), "two studies, s and t"),
        "question": (plan([1], question="why?"), "differ in question: ? against why?"),
        "analysis": (plan([1], analysis={"alpha": 0.01}), "differ in analysis: {alpha: 0.05}"),
        "looks": (plan([1], sequential=[5, 10]), "differ in looks"),
    }
    for name, (made, words) in others.items():
        other = fill(tmp_path / name / "s", made, [("none", 1)])
        assert words in refused(other, here)
    recipes = plan([0]).model_dump()["arms"]
    recipes[0]["recipe"] = {"norm": "batch", "lr": 9}
    other = fill(tmp_path / "recipe/s", plan([0], arms=recipes), [("none", 0)])
    assert "differ in recipes: {batch: {lr: its default}}" in refused(other, here)


def test_claims_that_differ_are_named(trained: Path, tmp_path: Path) -> None:
    run_plan(make_plan(study([2, 3], margin="2 points")), tmp_path / "b")
    shutil.copytree(trained / "one/s", tmp_path / "a/s")
    assert "'batch wins' is another claim there" in refused(tmp_path / "b/s", tmp_path / "a/s")


def is_a_link(tmp_path: Path, good: Path) -> Path:
    (tmp_path / "link").symlink_to(good)
    return tmp_path / "link"


def is_newer(tmp_path: Path, good: Path) -> Path:
    change(good, "PRAGMA user_version = 99")
    return good


def is_nothing(tmp_path: Path, good: Path) -> Path:
    return tmp_path / "nothing"


def has_no_store(tmp_path: Path, good: Path) -> Path:
    return tmp_path / "b"


def is_no_database(tmp_path: Path, good: Path) -> Path:
    (good / DATABASE).write_bytes(b"no database" * 100)
    return good


def is_of_others(tmp_path: Path, good: Path) -> Path:
    (good / DATABASE).unlink()
    change(good, "CREATE TABLE x (y)")
    return good


def is_the_target(tmp_path: Path, good: Path) -> Path:
    return tmp_path / "a/../a/s"


def is_a_pipe(tmp_path: Path, good: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


BAD: list[tuple[Callable[[Path, Path], Path], str]] = [
    (is_a_link, "is a link"),
    (is_newer, "written by a newer normlab"),
    (is_nothing, "is not there"),
    (has_no_store, "is no study's run folder: it has no store.sqlite"),
    (is_no_database, "file is not a database"),
    (is_of_others, "it is no store"),
    (is_the_target, "are one folder"),
    (is_a_pipe, "is no file"),
]


@pytest.mark.parametrize(("make", "words"), BAD, ids=lambda v: getattr(v, "__name__", ""))
def test_what_cannot_be_joined_is_one_message_and_changes_nothing(
    tmp_path: Path, make: Callable[[Path, Path], Path], words: str
) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    good = fill(tmp_path / "b/s", plan([1]), [("none", 1)])
    assert words in refused(make(tmp_path, good), here)


@pytest.mark.parametrize(("make", "words"), BAD[:-2], ids=lambda v: getattr(v, "__name__", ""))
def test_what_cannot_be_joined_makes_no_folder(
    tmp_path: Path, make: Callable[[Path, Path], Path], words: str
) -> None:
    good = fill(tmp_path / "b/s", plan([1]), [("none", 1)])
    assert words in refused(make(tmp_path, good), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("schema", [1, 2])
def test_a_store_of_an_older_normlab_is_joined_and_stays_as_it_is(
    tmp_path: Path, schema: int
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    asset = Path(__file__).parents[1] / "store/assets" / f"schema-{schema}.sqlite"
    shutil.copyfile(asset, old / DATABASE)
    found = merge([old], tmp_path / "new/s")
    assert found.joined
    assert sum(found.taken.values()) == len(contents(tmp_path / "new/s")["trials"]) > 0
    assert (old / DATABASE).read_bytes() == asset.read_bytes()
    assert [path.name for path in old.iterdir()] == [DATABASE]


def test_a_database_with_a_damaged_page_is_named_and_the_folder_stays(tmp_path: Path) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    there = fill(tmp_path / "b/s", plan([1, 2, 3]), [(a, s) for a in ARMS for s in (1, 2, 3)])
    raw = sqlite3.connect(there / DATABASE)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'epochs'").fetchone()
    (size,) = raw.execute("PRAGMA page_size").fetchone()
    raw.close()
    with (there / DATABASE).open("r+b") as stream:
        stream.seek((root - 1) * size)
        stream.write(b"\xff" * size)
    words = refused(there, here)
    assert f"the run folder {there} cannot be read" in words
    assert "store.sqlite is damaged" in words


def test_a_folder_of_other_things_becomes_no_study(tmp_path: Path) -> None:
    good = fill(tmp_path / "runs/s", plan([1]), [("none", 1)])
    with pytest.raises(UserError, match=r"is no study's run folder: .*and it has s"):
        merge([good], tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["s"]


def test_a_run_that_writes_there_is_not_disturbed(tmp_path: Path) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    good = fill(tmp_path / "b/s", plan([1]), [("none", 1)])
    with Store.write(here), pytest.raises(UserError, match="another run is writing"):
        merge([good], here)
    with Store.write(good):  # whose finished trials are there to read
        assert merge([good], here).joined


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [("none", 0)])
    there = fill(tmp_path / "b/s", plan([0]), [("none", 0)], change={("none", 0): 0.1})
    (tmp_path / "precious").mkdir()
    (here / "conflicts").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="conflicts is a link"):
        merge([there], here)
    assert not list((tmp_path / "precious").iterdir())


def has_a_damaged_file(folder: Path) -> str:
    (folder / "artifacts" / trial_id("none", 0) / "weights.pt").write_bytes(b"x")
    return "weights.pt is not there as recorded"


def has_words_for_numbers(folder: Path) -> str:
    change(folder, "UPDATE epochs SET test_loss = 'small' WHERE trial_id = ?", trial_id("none", 0))
    return "test_loss of epoch 1 is no number"


@pytest.mark.parametrize("damage", [has_a_damaged_file, has_words_for_numbers])
def test_a_damaged_trial_is_refused_and_the_others_are_joined(
    tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    here = fill(tmp_path / "a/s", plan([0]), [])
    there = fill(tmp_path / "b/s", plan([0]), [(arm, 0) for arm in ARMS])
    why = damage(there)
    found = merge([there], here)
    assert sum(found.taken.values()) == 1
    (one,) = found.refused
    assert (one["arm"], one["seed"]) == ("none", 0)
    assert normlab.status("s", runs=tmp_path / "a").counts == {"complete": 1, "pending": 1}
    assert why in one["reason"]
    assert not found.joined
    normlab.report("s", runs=tmp_path / "a")


def test_a_store_without_its_files_is_joined_and_that_is_said(tmp_path: Path) -> None:
    """As when someone fetched the database alone."""
    here = fill(tmp_path / "a/s", plan([0]), [])
    there = fill(tmp_path / "b/s", plan([0]), [(arm, 0) for arm in ARMS])
    shutil.rmtree(there / "artifacts")
    found = merge([there], here)
    assert (found.joined, sum(found.taken.values())) == (True, 2)
    assert "2 trials of" in found.notes[0]
    assert "came without weights or predictions" in found.notes[0]
    assert compared_files(here) == (0, [])


def test_one_bad_store_among_several_leaves_all_as_it_was(tmp_path: Path) -> None:
    good = fill(tmp_path / "b/s", plan([1]), [("none", 1)])
    bad = fill(tmp_path / "c/s", plan([2], question="why?"), [("none", 2)])
    with pytest.raises(UserError, match="question"):
        merge([good, bad], tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_the_command_says_what_it_did(normlab_command: Any, tmp_path: Path) -> None:
    both = [(arm, 0) for arm in ARMS]
    fill(tmp_path / "a/s", plan([0]), both)
    fill(tmp_path / "b/s", plan([0]), both, chip="quartz", change={("none", 0): 0.25})
    code, out, _ = normlab_command("merge", "a/s", "--into", "runs/s")
    assert (code, "2 trials joined, 0 there already" in out) == (0, True)
    assert "`normlab report s --runs runs` writes the report" in out
    code, out, _ = normlab_command("merge", "b/s", "--into", "runs/s")
    assert code == 1
    assert f"conflict: none, seed 0 ({trial_id('none', 0)}), in b/s: weights; test accuracy" in out
    assert "Here: cpu, abacus, threads 1. There: cpu, quartz, threads 1" in out
    code, out, _ = normlab_command("merge", "b/s", "--into", "runs/s", "--json")
    assert (code, len(json.loads(out)["conflicts"])) == (1, 1)
    code, _, err = normlab_command("merge", "nowhere", "--into", "runs/s")
    assert (code, err) == (2, "normlab: nowhere is not there\n")
    code, out, _ = normlab_command("status", "s")
    assert (code, "2 of 2 trials finished" in out) == (0, True)

"""Trials of a stranger's folder: taken by id and kind, or left and said why."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from normlab.errors import UserError
from normlab.frames import load_frames
from normlab.reports.provenance import where_it_ran
from normlab.store import DATABASE, Store, artifact_path, refuse_links
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study


@pytest.fixture(scope="module")
def plan() -> Plan:
    base = {"data": "digits", "model": "digits-small", "epochs": 1}
    return make_plan(Study.parse({"name": "s", "question": "q", "base": base, "seeds": 1}))


@pytest.fixture(scope="module")
def original(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    run_plan(plan, runs)
    return runs / "s"


@pytest.fixture
def home(tmp_path: Path, original: Path) -> Path:
    """A home with files of the user's, and a run folder `gift` of a stranger's in `project/runs`."""
    import shutil

    shutil.copytree(original, tmp_path / "project/runs/gift")
    (tmp_path / ".bashrc").write_text("# mine\n")
    (tmp_path / "key").write_text("KEY\n")
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def change(home: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(home / "project/runs/gift" / DATABASE)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def names_a_path_behind_a_link(home: Path) -> None:
    gift = home / "project/runs/gift"
    (gift / "a/b/c/d/e").mkdir(parents=True)
    (gift / "L").symlink_to("a/b/c/d/e")
    (gift / "a/.bashrc").write_text("echo owned\n")
    text = b"echo owned\n"
    change(
        home,
        "INSERT INTO artifacts SELECT id, 'x', 'L/../../../../.bashrc', ?, ? FROM trials",
        hashlib.sha256(text).hexdigest(),
        len(text),
    )


def names_an_absolute_path(home: Path) -> None:
    digest = hashlib.sha256(b"KEY\n").hexdigest()
    change(
        home,
        "UPDATE artifacts SET path = ?, sha256 = ?, bytes = 4 WHERE kind = 'weights'",
        str(home / "key"),
        digest,
    )


def has_a_link_to_a_file(home: Path) -> None:
    (weights,) = (home / "project/runs/gift").glob("artifacts/*/weights.pt")
    weights.unlink()
    weights.symlink_to(home / "key")
    digest = hashlib.sha256(b"KEY\n").hexdigest()
    change(home, "UPDATE artifacts SET sha256 = ?, bytes = 4 WHERE kind = 'weights'", digest)


def has_other_weights(home: Path) -> None:
    (weights,) = (home / "project/runs/gift").glob("artifacts/*/weights.pt")
    weights.write_bytes(bytes(weights.stat().st_size))


def promises_a_huge_file(home: Path) -> None:
    (weights,) = (home / "project/runs/gift").glob("artifacts/*/weights.pt")
    os.truncate(weights, 1 << 40)  # sparse: it takes no disk


def has_a_result_of_another_shape(home: Path) -> None:
    change(home, 'UPDATE trials SET result = \'{"state": "complete"}\'')


def has_words_for_numbers(home: Path) -> None:
    change(home, "UPDATE epochs SET test_accuracy = 'ninety'")


ATTACKS: list[tuple[Callable[[Path], None], str]] = [
    (names_a_path_behind_a_link, "names a file that no trial has"),
    (names_an_absolute_path, "names a file that no trial has"),
    (has_a_link_to_a_file, "weights.pt is not there as recorded"),
    (has_other_weights, "weights.pt is not there as recorded"),
    (promises_a_huge_file, "weights.pt is not there as recorded"),
    (has_a_result_of_another_shape, "result is not what a trial leaves"),
    (has_words_for_numbers, "test_accuracy of epoch 1 is no number"),
]


@pytest.mark.parametrize(("attack", "why"), ATTACKS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_trial_that_is_not_as_a_run_leaves_it_is_trained_anew_and_why_is_said(
    home: Path, plan: Plan, attack: Callable[[Path], None], why: str
) -> None:
    attack(home)
    summary = run_plan(plan, home / "project/runs")
    assert (summary.adopted, summary.trained) == ({}, 1)
    assert why in summary.unreadable["gift"]
    assert (home / ".bashrc").read_text() == "# mine\n"
    assert ((home / "key").read_text(), (home / "key").stat().st_mode & 0o777) == ("KEY\n", 0o600)
    ours = home / "project/runs/s"
    files = [path for path in ours.rglob("*") if path.is_file()]
    assert not [path for path in ours.rglob("*") if path.is_symlink()]
    assert not [path for path in files if path.read_bytes() == b"KEY\n"]


def test_from_whom_a_trial_was_taken_is_in_the_report_and_what_it_is_stays_ours(
    home: Path, plan: Plan
) -> None:
    change(
        home,
        "UPDATE trials SET recipe = '{\"lr\": 666}', provenance = ?",
        json.dumps([{"device": "\x1b[31mabacus", "code": "f00d"}]),
    )
    summary = run_plan(plan, home / "project/runs")
    assert summary.adopted == {"gift": 1}
    with Store.read(home / "project/runs/s") as store:
        (row,) = store.rows("trials", [plan.rows()[0].id])
        assert json.loads(row["recipe"]) == plan.rows()[0].recipe
        (place,) = where_it_ran(load_frames(store))
    assert place["device"] == "\\x1b[31mabacus"
    assert (place["torch"], place["taken_from"]) == ("unknown", ["gift"])
    assert place["doubts"] == [
        "taken over from gift, as stored there",
        "trained by other code than this normlab's",
    ]


@pytest.mark.parametrize(
    "provenance", [None, "", "no JSON", "3", '"x"', "[1, null]", "[" * 5000, '[{"taken_from": 1}]']
)
def test_no_provenance_is_shown_as_unknown(home: Path, plan: Plan, provenance: str | None) -> None:
    from normlab.reports import write_report

    change(home, "UPDATE trials SET provenance = ?", provenance)
    with Store.read(home / "project/runs/gift") as store:
        (place,) = where_it_ran(load_frames(store))
    assert (place["trials"], place["doubts"]) == (1, ["where they ran is unknown"])
    assert "where they ran is unknown" in write_report(home / "project/runs/gift").read_text()


def test_a_folder_that_is_a_link_is_not_looked_into(home: Path, plan: Plan) -> None:
    runs = home / "project/runs"
    (runs / "gift").rename(home / "elsewhere")
    (runs / "gift").symlink_to(home / "elsewhere")
    summary = run_plan(plan, runs)
    assert summary.adopted == {}
    assert "is a link" in summary.unreadable["gift"]


LINKS = [
    ".",
    "store.sqlite",
    "store.sqlite-wal",
    "lock",
    "checkpoints",
    "artifacts",
    "artifacts/abc",
    "tables",
    "tables/arms.csv",
    "report.html",
]


@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_written_or_deleted_behind_a_link(tmp_path: Path, plan: Plan, name: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.pt").write_text("x")
    folder = tmp_path / "runs/s"
    link = folder / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(
        precious if "." not in Path(name).name else precious / "thesis.pt"
    ) if name != "." else folder.symlink_to(precious)
    with pytest.raises(UserError, match="is a link"):
        run_plan(plan, tmp_path / "runs")
    assert [path.name for path in precious.iterdir()] == ["thesis.pt"]
    assert (precious / "thesis.pt").read_text() == "x"


def test_the_runs_folder_itself_is_the_user_s_word_and_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch/s").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "scratch")
    refuse_links(tmp_path / "runs/s")


@pytest.mark.parametrize(
    ("trial", "kind"),
    [("../x", "weights"), ("a/b", "weights"), ("", "weights"), ("a", "x"), ("a", "../weights")],
)
def test_only_ids_and_kinds_make_a_path(trial: str, kind: str) -> None:
    with pytest.raises(UserError, match="has no file of the kind"):
        artifact_path(trial, kind)


def test_the_sweep_removes_a_run_s_own_leftovers_alone(tmp_path: Path, plan: Plan) -> None:
    folder = tmp_path / "s" / "checkpoints"
    (folder / "mine").mkdir(parents=True)
    for name in ("notes.txt", "0123456789abcdef0123.pt", "mine/deep.pt"):
        (folder / name).write_text("x")
    run_plan(plan, tmp_path)
    assert sorted(path.name for path in folder.rglob("*")) == ["deep.pt", "mine", "notes.txt"]

"""Files of trials: the same to the last bit when they are read, and a stranger's until then."""

import base64
import gzip
import hashlib
import json
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.made_stores import ARMS, contents, fill, plan, trial_id

import normlab
from normlab.errors import UserError
from normlab.study.stored import compared_files

BOTH = [(arm, seed) for arm in ARMS for seed in (0, 1)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    fill(tmp_path / "runs/s", plan([0, 1]), BOTH)
    return tmp_path / "runs"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def write(file: Path, made: list[Any]) -> Path:
    """Lines with the end that they should have."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in made if "end" not in line)
    count = sum("trial" in line for line in made)
    end = {"end": {"trials": count, "sha256": hashlib.sha256(body).hexdigest()}}
    file.write_bytes(gzip.compress(body + json.dumps(end).encode() + b"\n"))
    return file


@pytest.mark.parametrize("weights", [False, True])
def test_what_is_read_is_what_was_written_to_the_last_bit(
    runs: Path, tmp_path: Path, weights: bool
) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs, weights=weights)
    found = normlab.import_trials(file, runs=tmp_path / "other")
    assert (found.folder, found.taken) == (tmp_path / "other/s", {str(file): 4})
    made, original = contents(tmp_path / "other/s"), contents(runs / "s")
    if not weights:
        assert made.pop("artifacts") == []
        original.pop("artifacts")
    assert made == original
    again = normlab.import_trials(file, runs=tmp_path / "other")
    assert (again.taken, again.known, again.joined) == ({}, 4, True)


def test_trials_without_their_files_are_whole_and_nothing_of_them_is_lost(
    runs: Path, tmp_path: Path
) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    normlab.import_trials(file, runs=tmp_path / "other")
    status = normlab.status("s", runs=tmp_path / "other")
    assert (status.name, status.counts, status.lost) == ("s", {"complete": 4}, [])
    assert compared_files(tmp_path / "other/s") == (0, [])
    whole = normlab.export_trials(tmp_path / "g", "s", runs=runs, predictions=True)
    assert normlab.import_trials(whole, runs=tmp_path / "other").filled == 4
    assert compared_files(tmp_path / "other/s") == (4, [])


def test_the_same_trials_give_the_same_file(runs: Path, tmp_path: Path) -> None:
    one = normlab.export_trials(tmp_path / "one", "s", runs=runs, weights=True).read_bytes()
    other = normlab.export_trials(tmp_path / "deep/other", "s", runs=runs, weights=True)
    assert one == other.read_bytes()
    assert str(tmp_path).encode() not in gzip.decompress(one)


def test_chosen_trials_are_carried_and_the_plan_is_whole(runs: Path, tmp_path: Path) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs, arms=["none"], seeds=[1])
    found = normlab.import_trials(file, runs=tmp_path / "other")
    assert (found.taken, found.unfinished) == ({str(file): 1}, 3)
    (row,) = contents(tmp_path / "other/s")["trials"]
    assert row["id"] == trial_id("none", 1)
    status = normlab.status("s", runs=tmp_path / "other")
    assert status.counts == {"complete": 1, "pending": 3}


@pytest.mark.parametrize(
    ("choice", "words"),
    [({"arms": ["bach"]}, "Did you mean 'batch'"), ({"seeds": [7]}, "has no seed 7")],
)
def test_what_is_not_there_cannot_be_chosen(
    runs: Path, tmp_path: Path, choice: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        normlab.export_trials(tmp_path / "f", "s", runs=runs, **choice)
    assert not (tmp_path / "f").exists()


def test_a_file_that_is_lost_is_said_and_none_is_written(runs: Path, tmp_path: Path) -> None:
    (runs / "s/artifacts" / trial_id("none", 1) / "weights.pt").unlink()
    with pytest.raises(UserError, match=r"weights.pt is not there as recorded .*--retrain-lost"):
        normlab.export_trials(tmp_path / "f", "s", runs=runs, weights=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    normlab.export_trials(tmp_path / "f", "s", runs=runs)


def unchanged(file: Path, tmp_path: Path) -> str:
    """Why a file is refused; nothing is made of it, and what was there stays."""
    with pytest.raises(UserError) as error:
        normlab.import_trials(file, into=tmp_path / "new/s")
    assert not (tmp_path / "new").exists()
    there = fill(tmp_path / "there/s", plan([0]), [("none", 0)])
    before = contents(there)
    with pytest.raises(UserError):
        normlab.import_trials(file, into=there)
    assert contents(there) == before
    return str(error.value)


def test_every_byte_that_is_changed_or_cut_off_is_noticed(runs: Path, tmp_path: Path) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    whole = file.read_bytes()
    places = [*range(10, len(whole), max(1, len(whole) // 97)), len(whole) - 1]
    for place in places:  # behind the head, in which gzip has bytes of no use
        changed = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        if not says_the_same(changed, whole):
            assert "is damaged" in refusal(file, changed, tmp_path / "new/s")
        assert "is damaged" in refusal(file, whole[:place], tmp_path / "new/s")
    assert "is damaged" in refusal(file, whole + b"more", tmp_path / "new/s")
    assert not (tmp_path / "new").exists()


def refusal(file: Path, content: bytes, into: Path) -> str:
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        normlab.import_trials(file, into=into)
    return str(error.value)


def says_the_same(changed: bytes, whole: bytes) -> bool:
    """Whether the change is one of the bits that fill up the last byte of what is compressed."""
    try:
        return gzip.decompress(changed) == gzip.decompress(whole)
    except (OSError, EOFError, zlib.error):
        return False


def test_a_changed_number_is_noticed_even_where_gzip_is_made_anew(
    runs: Path, tmp_path: Path
) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    text = gzip.decompress(file.read_bytes()).replace(b"0.51", b"0.99", 1)
    file.write_bytes(gzip.compress(text))
    assert "its checksum is not that of its content" in unchanged(file, tmp_path)


Make = Callable[[list[Any]], list[Any]]
BAD: dict[str, tuple[Make, str]] = {
    "newer": (lambda f: [{**f[0], "version": 99}, *f[1:]], "written by a newer normlab"),
    "another form": (lambda f: [{**f[0], "normlab": "x"}, *f[1:]], "none of normlab's"),
    "no head": (lambda f: f[1:], "not where one may be"),
    "no plan": (lambda f: [f[0], *f[2:]], "not where one may be"),
    "two plans": (lambda f: [*f[:2], *f[1:]], "not where one may be"),
    "a plan of words": (lambda f: [f[0], {**f[1], "plan": "x"}, *f[2:]], "plan has no valid"),
    "a newer plan": (
        lambda f: [f[0], {**f[1], "plan": {**f[1]["plan"], "version": 99}}, *f[2:]],
        "newer normlab",
    ),
    "a look of words": (lambda f: [*f[:3], {"look": 3}, *f[3:]], "look is not what"),
    "a list": (lambda f: [*f[:3], ["x"], *f[3:]], "no JSON object"),
    "another line": (lambda f: [*f[:3], {"x": 1}, *f[3:]], "not where one may be"),
    "a trial of words": (lambda f: [*f, {"trial": "x"}], "no mapping"),
    "a piece of words": (lambda f: [*f, {"file": "weights", "data": "§"}], "no base64"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_of_another_shape_is_one_message_and_changes_nothing(
    runs: Path, tmp_path: Path, name: str
) -> None:
    make, words = BAD[name]
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    assert words in unchanged(write(file, make(lines(file))), tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04 a zip", "no gzip file"),
        (gzip.compress(b"", mtime=0), "it is empty"),
        (gzip.compress(b"[" * 100_000, mtime=0), "no JSON"),
        (gzip.compress(b"\xff\xfe\n", mtime=0), "no JSON"),
    ],
)
def test_other_files_are_none_of_these(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert words in unchanged(tmp_path / "f", tmp_path)


def test_a_small_file_that_unpacks_to_a_full_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb"
    with gzip.open(file, "wb") as packed:
        for _ in range(600):
            packed.write(b" " * (1 << 20))
    assert file.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert "unpacks to more than" in unchanged(file, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 29
    finally:
        tracemalloc.stop()


def test_many_small_lines_end_too(tmp_path: Path, runs: Path) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    first = gzip.decompress(file.read_bytes()).splitlines(keepends=True)[:3]
    piece = json.dumps({"file": "weights", "data": base64.b64encode(bytes(3 << 18)).decode()})
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.writelines(first)
        for _ in range(300):
            packed.write(piece.encode() + b"\n")
    assert "unpacks to more than" in unchanged(file, tmp_path)


Change = Callable[[dict[str, Any]], object]
HARM: dict[str, tuple[Change, str]] = {
    "an id that is a path": (lambda t: t.update(id="../../x"), "id, seed or data"),
    "an absolute id": (lambda t: t.update(id="/etc/passwd"), "id, seed or data"),
    "a kind that is a path": (
        lambda t: t["artifacts"].append({"kind": "../x", "sha256": "0", "bytes": 1}),
        "",  # it is no file that a trial has, and left out
    ),
    "a path of its own": (lambda t: t["artifacts"][0].update(path="../../x"), ""),
    "other weights": (lambda t: t["artifacts"][0].update(sha256="0" * 64), "not there as"),
    "a size of its own": (lambda t: t["artifacts"][0].update(bytes=1 << 60), "not there as"),
    "a size in words": (lambda t: t["artifacts"][0].update(bytes="x"), "neither hash nor size"),
    "a seed in words": (lambda t: t.update(seed="1"), "id, seed or data"),
    "a huge seed": (lambda t: t.update(seed=10**30), "id, seed or data"),
    "a recipe in words": (lambda t: t.update(recipe="x"), "recipe is no JSON"),
    "another state": (lambda t: t.update(state="diverged"), "another one than its state"),
    "no result": (lambda t: t.update(result=None), "result"),
    "a result of words": (lambda t: t.update(result={"state": "complete"}), "result"),
    "no epochs": (lambda t: t.pop("epochs"), "not what a trial leaves"),
    "epochs cut off": (lambda t: t["epochs"]["lr"].pop(), "epochs are not whole"),
    "a huge number": (lambda t: t["epochs"]["lr"].__setitem__(0, 10**30), "is no number"),
    "no number": (lambda t: t["epochs"]["lr"].__setitem__(0, None), "is no number"),
    "words": (lambda t: t["epochs"]["lr"].__setitem__(0, "x"), "is no number"),
    "another epoch": (lambda t: t["epochs"]["epoch"].__setitem__(0, 7), "epoch 1 is missing"),
    "times of lists": (lambda t: t.update(started_at=[1]), "no text"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_trial_that_means_harm_is_refused_alone_and_writes_nowhere_else(
    runs: Path, tmp_path: Path, name: str
) -> None:
    harm, words = HARM[name]
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs, weights=True)
    made = lines(file)
    victim = next(line["trial"] for line in made if "trial" in line)
    harm(victim)
    write(file, made)
    before = set(tmp_path.rglob("*"))
    found = normlab.import_trials(file, into=tmp_path / "new/s")
    assert [words in one["reason"] for one in found.refused] == ([True] if words else [])
    assert sum(found.taken.values()) == (3 if words else 4)
    normlab.status("s", runs=tmp_path / "new")
    for path in set(tmp_path.rglob("*")) - before:
        assert path.is_relative_to(tmp_path / "new")
    names = {path.name for path in (tmp_path / "new/s").rglob("*") if path.is_file()}
    assert names <= {
        "lock",
        "store.sqlite",
        "store.sqlite-wal",
        "store.sqlite-shm",
        "weights.pt",
        "predictions.npz",
    }


@pytest.mark.parametrize("name", ["../escaped", "/nowhere/x", "..", "a/b", "", ".hidden"])
def test_a_study_s_name_in_a_file_leads_nowhere(runs: Path, tmp_path: Path, name: str) -> None:
    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    made = lines(file)
    made[1]["plan"]["name"] = name
    write(file, made)
    with pytest.raises(UserError, match="is no folder's"):
        normlab.import_trials(file, runs=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_file_that_changes_while_it_is_read_changes_nothing(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normlab.store.portable import TrialsFile

    file = normlab.export_trials(tmp_path / "f", "s", runs=runs)
    there = fill(tmp_path / "there/s", plan([0]), [("none", 0)])
    before = contents(there)
    whole = TrialsFile.entries

    def entries(self: TrialsFile) -> Any:
        text = gzip.decompress(file.read_bytes()).replace(b"0.51", b"0.99")
        with file.open("r+b") as stream:
            stream.write(gzip.compress(text))
            stream.truncate()
        return whole(self)

    monkeypatch.setattr(TrialsFile, "entries", entries)
    with pytest.raises(UserError, match="is damaged"):
        normlab.import_trials(file, into=there)
    assert contents(there) == before


def test_a_trial_says_from_which_file_it_came(runs: Path, tmp_path: Path) -> None:
    from normlab.store import Store

    file = normlab.export_trials(tmp_path / "f.trials.gz", "s", runs=runs)
    normlab.import_trials(file, into=tmp_path / "new/s")
    with Store.read(tmp_path / "new/s") as store:
        for places in store.places(store.finished()).values():
            assert [place["taken_from"] for place in places] == [["f.trials.gz"]]
            assert [place["chip"] for place in places] == ["abacus"]


def test_the_commands(runs: Path, tmp_path: Path, normlab_command: Any) -> None:
    run = normlab_command
    code, out, _ = run("export-trials", "f.trials.gz")
    assert (code, "f.trials.gz: 4 trials of s" in out) == (0, True)
    code, out, _ = run("export-trials", "g.trials.gz", "s", "--arm", "none", "--seed", "0")
    assert (code, "1 trial of s" in out) == (0, True)
    code, out, _ = run("import-trials", "f.trials.gz", "--runs", "other")
    assert (code, "other/s: 4 trials joined, 0 there already" in out) == (0, True)
    code, out, _ = run("import-trials", "f.trials.gz", "--into", "other/s")
    assert (code, "0 trials joined, 4 there already" in out) == (0, True)
    (tmp_path / "f.trials.gz").write_bytes(b"x")
    code, _, err = run("import-trials", "f.trials.gz", "--runs", "other")
    assert (code, "is damaged" in err, err.count("\n")) == (2, True, 1)
    code, _, err = run("import-trials", "runs/s")
    assert (code, "`normlab merge` joins folders" in err) == (2, True)
    code, _, err = run("export-trials", "x", "--runs", "nowhere")
    assert (code, "no study has runs in nowhere" in err) == (2, True)
    assert run("export-trials", "runs")[0] == 2
    assert os.listdir("runs") == ["s"]  # noqa: PTH208

"""How a run may be stopped, overlooked or hit, and what is left then."""

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import NORMLAB, started, until_first_checkpoint

from normlab.errors import SignalledError
from normlab.store import DATABASE, Store
from normlab.store.migrations import MIGRATIONS

Run = Any
ASSETS = Path(__file__).parents[1] / "store" / "assets"
SMALL = "question: q\nbase: {data: digits, model: digits-small, epochs: 1}\nseeds: 1\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a study file of one trial; the study's run folder."""
    (tmp_path / "s.yaml").write_text(SMALL)
    return tmp_path / "runs" / "s"


def states(folder: Path) -> list[str]:
    raw = sqlite3.connect(folder / DATABASE)
    found = [state for (state,) in raw.execute("SELECT state FROM trials ORDER BY id")]
    raw.close()
    return found


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_run_brings_a_store_of_every_schema_up_to_date_and_reading_does_not(
    normlab: Run, small: Path, version: int
) -> None:
    small.mkdir(parents=True)
    shutil.copy(ASSETS / f"schema-{version}.sqlite", small / DATABASE)
    if version < len(MIGRATIONS):
        before = (small / DATABASE).read_bytes()
        for command in ("status", "report", "plan", "claims"):
            code, _, err = normlab(command, "s.yaml")
            assert (code, "`normlab run` of its study brings it up to date" in err) == (2, True)
        assert (small / DATABASE).read_bytes() == before
    code, out, _ = normlab("run", "s.yaml", "--workers", "1")
    assert (code, "trained 1 trial" in out) == (0, True)
    raw = sqlite3.connect(small / DATABASE)
    assert raw.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    raw.close()
    for command in ("status", "report", "plan"):
        assert normlab(command, "s.yaml")[0] == 0


def test_run_takes_up_a_store_that_was_killed_while_it_was_made(normlab: Run, small: Path) -> None:
    small.mkdir(parents=True)
    (small / DATABASE).touch()
    assert normlab("plan", "s.yaml")[0] == 0
    code, _, err = normlab("status", "s.yaml")
    assert (code, "no runs" in err) == (2, True)
    assert normlab("run", "s.yaml", "--workers", "1")[0] == 0
    assert normlab("status", "s.yaml")[0] == 0


def test_lost_files_are_said_verified_and_mended(normlab: Run, small: Path) -> None:
    normlab("run", "s.yaml", "--workers", "1")
    assert normlab("verify", "s.yaml")[:2] == (
        0,
        "s: 2 of 2 files of finished trials are as they were stored\n",
    )
    (path,) = small.glob("artifacts/*/weights.pt")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "lost" not in normlab("status", "s.yaml")[1]
    code, out, _ = normlab("verify", "s.yaml")
    assert (code, "weights.pt is damaged: its SHA-256 is not the one stored" in out) == (1, True)
    assert json.loads(normlab("verify", "s.yaml", "--json")[1])["lost"][0]["kind"] == "weights"
    path.unlink()
    for command in (("status", "s.yaml"), ("run", "s.yaml", "--workers", "1")):
        code, out, _ = normlab(*command)
        assert code == 0
        assert "1 file of them lost" in out
        assert f"lost: base, seed 0: artifacts/{path.parent.name}/weights.pt is gone" in out
        assert "`normlab run s --retrain-lost` trains them again" in out
    assert 'href="artifacts' not in (small / "report.html").read_text(encoding="utf-8")
    code, out, _ = normlab("run", "s.yaml", "--retrain-lost", "--workers", "1")
    assert (code, "trained again for its lost files: base, seed 0: the same weights" in out) == (
        0,
        True,
    )
    assert path.read_bytes() == content
    assert 'href="artifacts' in (small / "report.html").read_text(encoding="utf-8")


def test_a_trial_whose_process_is_gone_is_interrupted(normlab: Run, small: Path) -> None:
    normlab("run", "s.yaml", "--workers", "1")
    with sqlite3.connect(small / DATABASE) as raw:  # as a killed run leaves it
        raw.execute("UPDATE trials SET state = 'running', result = NULL")
    raw.close()
    assert "(1 interrupted)" in normlab("status", "s.yaml")[1]
    with Store.write(small):
        assert "(1 running)" in normlab("status", "s.yaml")[1]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00" + bytes(200)])
def test_a_damaged_prediction_file_costs_its_figure_and_not_the_report(
    normlab: Run, small: Path, content: bytes
) -> None:
    figures = "figures: [{kind: confusion}, {kind: misclassified, arm: {norm: batch}}]\n"
    arms = "factors: {norm: [batch, none]}\n"
    (small.parents[1] / "s.yaml").write_text(SMALL + arms + figures)
    assert normlab("run", "s.yaml", "--workers", "1")[0] == 0
    raw = sqlite3.connect(small / DATABASE)
    found = raw.execute("SELECT id FROM trials WHERE recipe LIKE '%none%'").fetchall()
    raw.close()
    (victim,) = {path.parent.name for path in small.glob("artifacts/*/weights.pt")} - {
        one for (one,) in found
    }
    (small / "artifacts" / victim / "predictions.npz").write_bytes(content)
    assert normlab("report", "s.yaml")[0] == 0
    page = (small / "report.html").read_text(encoding="utf-8")
    assert "Not drawn: no finished trial has left its predictions" in page
    assert "Left out: 1 trial whose predictions are missing or damaged." in page


@pytest.mark.skipif(os.name == "nt", reason="has no such signals")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGTERM, "terminated (SIGTERM)"), (signal.SIGHUP, "hung up (SIGHUP)")],
)
def test_a_signal_ends_a_run_as_ctrl_c_does_with_its_word(
    tmp_path: Path, number: int, word: str, workers: str
) -> None:
    words = ("run", "digits-norms", "--set", "epochs=200", "--workers", workers)
    process = started(tmp_path, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    folder = tmp_path / "runs" / "digits-norms"
    until_first_checkpoint(folder)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"{word}: whole epochs are stored; the same command again goes on" in out
    assert "Traceback" not in out
    assert set(states(folder)) == {"pending"}
    assert list(folder.glob("checkpoints/*.pt"))
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("stopped", "code", "said"),
    [
        (SignalledError(signal.SIGTERM), 143, "terminated (SIGTERM)\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(errno.EIO, "Input/output error", "a/b"), 2, "normlab: a/b: Input/output error\n"),
        (MemoryError(), 2, "normlab: out of memory\n"),
    ],
    ids=repr,
)
def test_what_ends_a_command_before_it_trains_has_its_word(
    normlab: Run, monkeypatch: pytest.MonkeyPatch, stopped: BaseException, code: int, said: str
) -> None:
    from normlab import api

    def plan(_: object) -> None:
        raise stopped

    monkeypatch.setattr(api, "plan", plan)
    assert normlab("plan", "digits-norms")[::2] == (code, said)


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("{} run s.yaml --workers 1 | head -1", "Broken pipe"),
        ("{} run s.yaml --workers 1 >&-", "it is closed"),
        ("{} run s.yaml --workers 1 > /dev/full", "No space left on device"),
        ("{} run s.yaml --workers 1 2>&- > out", ""),
        ("{} run s.yaml --workers 2 <&- > out", ""),
    ],
)
def test_a_run_goes_on_when_nobody_can_read_its_words(small: Path, shell: str, said: str) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell.format(" ".join(NORMLAB))],
        cwd=small.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert states(small) == ["complete"]
    assert (small / "report.html").is_file()
    assert (f"the output cannot be written ({said}): the run goes on" in done.stderr) == bool(said)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("{} list >&-", 2, "normlab: the output cannot be written: it is closed\n"),
        (
            "{} list > /dev/full",
            2,
            "normlab: the output cannot be written: No space left on device\n",
        ),
        (
            "{} list norms --json > /dev/full",
            2,
            "normlab: the output cannot be written: No space left on device\n",
        ),
        ("{} list 2>&- | head -1 > /dev/null", 1, ""),
    ],
)
def test_a_command_whose_words_are_lost_says_so_in_one_line(
    tmp_path: Path, shell: str, code: int, said: str, unbuffered: str
) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell.format(" ".join(NORMLAB))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("where", [".", "/"])
def test_a_folder_is_no_file_for_epochs(normlab: Run, small: Path, where: str) -> None:
    normlab("run", "s.yaml", "--workers", "1")
    code, _, err = normlab("report", "s.yaml", "--csv", where)
    assert (code, err) == (2, f"normlab: {where} cannot be written: Is a directory\n")

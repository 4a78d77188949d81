"""Stops a small study at every place where it changes a file, then looks whether anything is lost.

    python benchmarks/crash.py --every-call --random 500 --two-runs 200

Each case is a run of a fresh folder that is ended (killed, given an error, left without power); then
the same command goes on. After each: a trial that was called finished is there once, with its files;
in the end weights and tables are those of a run that nothing happened to, no file is left over, no
trial has failed, and nobody saw a traceback. With --two-runs two runs share a folder, and one of them
is killed: each trial is there once, and was trained to its end by one of them.

Strace finds the calls where it is installed and may attach, else a hook does at the same places.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import crash_calls as calls
import pandas as pd
from crash_calls import Call, Hook, Outcome
from crash_pairs import two_runs
from crash_power import Disk

STUDY = """\
question: Does anything get lost?
base: {data: digits, model: digits-small, epochs: 2, batch_size: 256}
factors: {norm: [none, batch]}
seeds: 1
"""
WORDS = ["run", "s.yaml", "--workers", "1"]
CLOCKS = ["seconds", "examples_per_second", "peak_memory", "images_per_second"]
"""Columns of the tables that no two runs share."""
COLUMNS = ("lost", "duplicated", "unequal", "stray", "refused", "failed", "traceback")
OUT_OF_PLACE = {"fsync": errno.EIO, "fdatasync": errno.EIO, "openat": errno.EMFILE}
"""Errors given to calls; the others get ENOSPC."""
LASTING = "?write,?pwrite64,?ftruncate,?fsync,?fdatasync,?rename,?renameat,?mkdir,?mkdirat"


@dataclass
class State:
    """A study's folder as data: what is to be equal in the end."""

    weights: dict[str, str]
    epochs: dict[str, list[int]]
    tables: dict[str, str]
    files: set[str]


@dataclass
class Tally:
    """Counts of one kind of case."""

    kind: str
    cases: int = 0
    found: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


class Judge:
    """Knows how a whole run ends, and holds what is left of others against it."""

    def __init__(self, work: Path) -> None:
        self.work, self.number = work, 0
        self.tallies: dict[str, Tally] = {}
        folder = self.fresh()
        calls.warm(folder, WORDS)
        shutil.rmtree(folder)
        folder = self.fresh()
        began = time.monotonic()
        done = calls.run(folder, WORDS)
        self.seconds = time.monotonic() - began
        assert done.code == 0, done.text
        self.whole = state(folder / "runs" / "s")
        shutil.rmtree(folder)

    def fresh(self) -> Path:
        """An empty folder with the study file."""
        self.number += 1
        folder = self.work / f"case{self.number}"
        folder.mkdir()
        (folder / "s.yaml").write_text(STUDY)
        return folder

    def judge(self, kind: str, what: str, folder: Path, first: Outcome) -> None:
        """After a case: look, go on with the same command, look again; the folder is removed."""
        tally = self.tallies.setdefault(kind, Tally(kind))
        tally.cases += 1
        found = set(looked(folder, first))
        second = calls.run(folder, WORDS)
        if second.code != 0:
            second = calls.run(folder, WORDS)
        if second.code != 0:
            found.add("refused")
        if "Traceback" in first.text + second.text:
            found.add("traceback")
        if second.code == 0:
            found |= set(self.differences(state(folder / "runs" / "s")))
        for name in found:
            tally.found[name] += 1
            tally.notes.append(
                f"{kind}, {what}: {name}\n{first.text[-1500:]}\n{second.text[-800:]}"
            )
        shutil.rmtree(folder)

    def differences(self, now: State) -> Iterator[str]:
        """How a folder in the end differs from that of a whole run."""
        if now.weights != self.whole.weights or now.tables != self.whole.tables:
            yield "unequal"
        if now.epochs != self.whole.epochs:
            yield "duplicated"
        if now.files != self.whole.files:
            yield "stray"


def looked(folder: Path, first: Outcome) -> Iterator[str]:
    """What is wrong right after a case: finished trials without row or files, failed ones."""
    from normlab.errors import UserError
    from normlab.store import NoRunsError, Store

    said = len(re.findall(r"^\[\d+/\d+\] .*: complete", first.text, re.MULTILINE))
    try:
        with Store.read(folder / "runs" / "s") as store:
            ids = [row["id"] for row in store._all("SELECT id FROM trials")]
            states = store.states(ids)
            complete = [one for one in ids if states[one] == "complete"]
            if len(complete) < said or store.losses(complete, hashes=True):
                yield "lost"
            if "failed" in states.values():
                yield "failed"
    except NoRunsError:
        if said:
            yield "lost"
    except UserError:
        yield "lost"


def state(folder: Path) -> State:
    """A study's folder as it is in the end."""
    raw = sqlite3.connect(folder / "store.sqlite")
    with contextlib.closing(raw):
        results = raw.execute("SELECT id, result FROM trials WHERE state = 'complete'").fetchall()
        epochs = raw.execute("SELECT trial_id, epoch FROM epochs ORDER BY 1, 2").fetchall()
    found: dict[str, list[int]] = {}
    for trial, epoch in epochs:
        found.setdefault(trial, []).append(epoch)
    tables = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        frame = pd.read_csv(path)
        tables[path.name] = frame.drop(columns=frame.columns.intersection(CLOCKS)).to_csv()
    weights = {trial: json.loads(result)["weights_sha256"] for trial, result in results}
    for trial in list(weights):
        if not (folder / "artifacts" / trial / "weights.pt").is_file():
            del weights[trial]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return State(weights, found, tables, files)


def every_call(judge: Judge, recorded: list[Call], share: int) -> None:
    """Each file-changing call as the last one; an error at each; errors that last."""
    for place, call in enumerate(recorded):
        if place % share:
            continue
        what = f"call {place} {call.name} {call.arguments[:60]}"
        number = OUT_OF_PLACE.get(call.name, errno.ENOSPC)
        error = errno.errorcode[number]
        ways = {
            "killed at a call": f"inject={call.name}:signal=KILL:when={call.nth}",
            "one error": f"inject={call.name}:error={error}:when={call.nth}",
        }
        if call.name != "openat" and place % 5 == 0:
            ways["errors that last"] = f"inject={LASTING}:error=ENOSPC:when={call.nth}+"
        for kind, inject in ways.items():
            folder = judge.fresh()
            names = LASTING if "last" in kind else call.name
            options = ["-o", "/dev/null", "-e", f"trace={names}", "-e", inject]
            judge.judge(kind, what, folder, calls.run(folder, WORDS, strace=options))


def every_place(judge: Judge, share: int) -> None:
    """The same by the hook."""
    folder = judge.fresh()
    assert calls.run(folder, WORDS, hook=Hook()).code == 0
    count = int((folder / "places.txt").read_text())
    shutil.rmtree(folder)
    for place in range(1, count + 1, share):
        ways = {
            "killed at a place": Hook(at=place),
            "one error": Hook(at=place, error=errno.ENOSPC),
            "errors that last": Hook(at=place, error=errno.EIO, lasting=True),
        }
        for kind, hook in ways.items():
            folder = judge.fresh()
            judge.judge(kind, f"place {place}", folder, calls.run(folder, WORDS, hook=hook))


def power_loss(judge: Judge, share: int) -> None:
    """At each sync: what is on the disk if only what was synced before survives."""
    folder = judge.fresh()
    done, recorded = calls.record(folder, WORDS, data=True)
    assert done.code == 0, done.text
    disk = Disk(folder)
    for number, (place, said) in enumerate(disk.play(recorded)):
        if number % share and place < len(recorded):
            continue
        left = judge.fresh()
        disk.put(left)
        judge.judge("loss of power", f"sync {number}", left, Outcome(-9, said))
    shutil.rmtree(folder)


def killed_at_random(judge: Judge, count: int, rng: random.Random) -> None:
    """SIGKILL at a random moment: of a run in one process; of a driver or one of its workers."""
    for number in range(count):
        folder = judge.fresh()
        if number % 5:
            pid, gate = calls.start(folder, WORDS)
            os.write(gate, b"x")
            os.close(gate)
            time.sleep(rng.uniform(0.0, judge.seconds))
            os.kill(pid, signal.SIGKILL)
            code = calls.wait(pid)
            kind = "SIGKILL, one process"
        else:
            code, kind = _among_workers(judge, folder, rng)
        out = folder / "out.txt"  # not there where the kill came before it was opened
        text = out.read_text(errors="replace") if out.exists() else ""
        judge.judge(kind, f"random {number}", folder, Outcome(code, text))


def _among_workers(judge: Judge, folder: Path, rng: random.Random) -> tuple[int, str]:
    words = [sys.executable, "-m", "normlab", *WORDS[:-1], "2"]
    with (folder / "out.txt").open("wb") as out:
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=out)
    store = folder / "runs" / "s" / "store.sqlite"
    calls.until(lambda: store.exists() or process.poll() is not None, 60)
    time.sleep(rng.uniform(0.0, 6 * judge.seconds))
    workers = _workers(process.pid)
    victim, kind = process.pid, "SIGKILL, driver of two"
    if workers and rng.random() < 0.5:
        victim, kind = rng.choice(workers), "SIGKILL, worker of two"
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    code = process.wait(calls.PATIENCE)
    calls.until(lambda: not any(Path(f"/proc/{one}").exists() for one in workers), 20)
    return code, kind


def _workers(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            is_worker = b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
            found += [int(child)] if is_worker else []
    return found


def full_disk(judge: Judge, sizes: list[int]) -> None:
    """A file system of a few KiB, which grows before the same command goes on."""
    for size in sizes:
        folder = judge.fresh()
        runs = folder / "runs"
        runs.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(runs)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            shutil.rmtree(folder)
            print("no small disk: file systems may not be mounted here")
            return
        try:
            first = calls.run(folder, WORDS)
        finally:
            kept = folder / "kept"
            shutil.copytree(runs, kept)
            subprocess.run(["umount", str(runs)], check=True)
            shutil.rmtree(runs)
            kept.rename(runs)
        judge.judge("a full disk", f"{size} KiB", folder, first)


def printed(tallies: list[Tally]) -> str:
    """The table of counts."""
    width = max((len(tally.kind) for tally in tallies), default=0)
    lines = [" ".join([" " * width, " cases", *(f"{name:>10}" for name in COLUMNS)])]
    for tally in tallies:
        cells = [f"{tally.found[name]:>10}" for name in COLUMNS]
        lines.append(" ".join([f"{tally.kind:<{width}}", f"{tally.cases:>6}", *cells]))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every-call", action="store_true", help="calls, errors, power, full disk")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="SIGKILLs at random")
    parser.add_argument("--two-runs", type=int, default=0, metavar="N", help="share N trials")
    parser.add_argument("--share", type=int, default=1, metavar="K", help="every K-th case alone")
    parser.add_argument("--hook", action="store_true", help="the hook, also where strace is")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="normlab-crash-") as work:
        judge = Judge(Path(work).resolve())
        steps: list[Callable[[], None]] = []
        if options.every_call and not options.hook and calls.can_trace():
            folder = judge.fresh()
            _, recorded = calls.record(folder, WORDS)
            print(f"{len(recorded)} calls change files", flush=True)
            steps.append(lambda: every_call(judge, recorded, options.share))
            steps.append(lambda: power_loss(judge, options.share))
        elif options.every_call:
            print("without strace: a hook, and no model of a loss of power", flush=True)
            steps.append(lambda: every_place(judge, options.share))
        if options.every_call:
            sizes = [8, 24, 40, 60, 80, 100, 130, 160, 200, 260, 320, 400, 500, 700]
            steps.append(lambda: full_disk(judge, sizes[:: options.share]))
        if options.random:
            rng = random.Random(options.seed)
            steps.append(lambda: killed_at_random(judge, options.random, rng))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for step in steps:
                step()
        finally:  # also of what was stopped: how far it came
            print(printed(list(judge.tallies.values())), flush=True)
        notes = [note for tally in judge.tallies.values() for note in tally.notes]
        if options.two_runs:
            shared = two_runs(Path(work).resolve(), options.two_runs, random.Random(options.seed))
            print("two runs, one killed:", ", ".join(f"{n} {what}" for what, n in shared.items()))
            if shared["twice"] or shared["unequal"] or shared["trials"] != options.two_runs:
                notes.append("two runs: trials lost, trained twice or unequal")
        print("\n".join(notes[:20]))
        sys.exit(1 if notes else 0)


if __name__ == "__main__":
    main()

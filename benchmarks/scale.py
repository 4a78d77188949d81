"""What the commands that read a store take on a large one: seconds on the wall and peak memory.

    python benchmarks/scale.py
    python benchmarks/scale.py --shapes 1000x100x20 5000x20x20 20x5000x20 --json results/scale.json
    python benchmarks/scale.py --shapes 300x3x5 --keep /some/folder

A shape is arms x seeds x epochs. Nothing is trained: a study file with that many arms (five norms, many
learning rates, several L2) is planned as any other, its plan is recorded by the store, and every trial gets
the records, the result, the place and the two files that a training leaves: scores drawn at random around a
curve of its arm, predictions of the 599 test images that agree with the last of them, weights of a few bytes
in place of 30 KB (no command but `verify` reads them). One trial in a thousand diverged, one failed; the last
arm's last seed is still to be trained. Then each command runs in a process of its own.

`load` is the system's average load of the last minute before a command: whatever else runs slows it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import yaml
from timing import machine

import normlab
from normlab.records import Check, EpochRecord, Evaluation, TrialResult
from normlab.records.plan import ArmRecord
from normlab.store import Store
from normlab.store.paths import DATABASE, artifact_path
from normlab.study.engines.provenance import provenance
from normlab.study.plan import Plan

SHAPES = ("1000x100x20", "5000x20x20", "20x5000x20")
NAME = "scale"
COMMANDS = {
    "status": ["status", NAME],
    "plan": ["plan", "{file}", "--no-probe"],
    "claims": ["claims", NAME],
    "report": ["report", NAME],
}
_NORMS = ("none", "batch", "layer", "instance", {"kind": "group", "channels_per_group": 4})
_EPOCH_COLUMNS = tuple(field.name for field in fields(EpochRecord))
_WEIGHTS = b"weights of no trial"
_IMAGES = {"train": 1078, "validation": 120, "test": 599}
_WATCH = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
try:
    code = subprocess.run(sys.argv[2:], stdout=sys.stderr, timeout=float(sys.argv[1])).returncode
except subprocess.TimeoutExpired:
    code = 124
took = time.perf_counter() - begun
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"seconds": took, "cpu": cpu, "peak": used.ru_maxrss, "exit": code}))
"""
_AT = "2026-01-01T00:00:00+00:00"


def study(arms: int, seeds: int, epochs: int) -> dict[str, object]:
    """A study file's content with so many arms: a multiple of 20."""
    l2 = 4 if arms < 1000 else 20
    rates, rest = divmod(arms, len(_NORMS) * l2)
    if rest or not rates:
        raise SystemExit(f"{arms} arms: a multiple of {len(_NORMS) * l2} is needed")
    factors = {
        "norm": list(_NORMS),
        "lr": [round(0.002 * (at + 1), 6) for at in range(rates)],
        "l2": [round(1e-5 * at, 8) for at in range(l2)],
    }
    factors = {key: levels for key, levels in factors.items() if len(levels) > 1}
    one = {"lr": factors["lr"][0]} if "lr" in factors else {}
    claims = [
        {"kind": kind, "name": f"{norm} beside {other} at l2 {value:g} ({kind})"}
        | {"arm": {"norm": norm, "l2": value, **one}}
        | {side: {"norm": other, "l2": value, **one}}
        for kind, side in (("better", "over"), ("equal", "to"))
        for norm, other in (("batch", "none"), ("group", "batch"), ("layer", "instance"))
        for value in factors["l2"][:4]
    ]
    claims.append(
        {"kind": "better", "name": "BatchNorm helps over all", "arm": {"norm": "batch"}}
        | {"over": {"norm": "none"}}
    )
    return {
        "question": "Which norm, learning rate and L2 do best on 8x8 digits?",
        "base": {
            "data": "digits",
            "model": "digits-small",
            "batch_size": 32,
            "epochs": epochs,
            "optimizer": "sgd",
            "momentum": 0.9,
            "validation": 0.1,
        },
        "factors": factors,
        "seeds": seeds,
        "analysis": {"margin": 1},
        "claims": claims,
        "figures": [{"kind": "curves"}, {"kind": "dots", "metrics": ["test_accuracy"]}],
    }


class Maker:
    """Makes what trainings leave, arm by arm."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.place = json.dumps([dict(provenance("cpu"))])
        self.rng = np.random.default_rng(0)
        self.labels = np.arange(_IMAGES["test"], dtype=np.int32) % 10
        # Files as a training writes them, of every number of right answers: few differ.
        self.packed: dict[int, bytes] = {}

    def write(self) -> None:
        """Record the plan, then store every trial; in one transaction, as nothing can be lost."""
        with Store.write(self.folder) as store:
            store.record_plan(self.plan.record, self.plan.rows())
        connection = sqlite3.connect(self.folder / DATABASE)
        marks = ", ".join("?" * (len(_EPOCH_COLUMNS) + 1))
        columns = ", ".join(_EPOCH_COLUMNS)
        with connection:
            for arm in self.plan.record.arms:
                trials, epochs, files = self._arm(arm)
                connection.executemany(
                    "UPDATE trials SET state = ?, reason = ?, result = ?, provenance = ?, "
                    "started_at = ?, finished_at = ? WHERE id = ?",
                    trials,
                )
                connection.executemany(
                    f"INSERT INTO epochs (trial_id, {columns}) VALUES ({marks})",  # noqa: S608
                    epochs,
                )
                connection.executemany("INSERT INTO artifacts VALUES (?, ?, ?, ?, ?)", files)
        connection.close()

    def _arm(self, arm: ArmRecord) -> tuple[list[tuple], list[tuple], list[tuple]]:
        trials, epochs, files = [], [], []
        last = self.plan.record.arms[-1].trials[-1].id
        top, slope = self.rng.uniform(0.7, 0.97), self.rng.uniform(0.2, 0.6)
        for trial in arm.trials:
            if trial.id == last:
                continue
            drawn = self.rng.random()
            state = "diverged" if drawn < 1e-3 else "failed" if drawn < 2e-3 else "complete"
            records = list(self._records(top, slope, arm.epochs or 1, state))
            epochs += [
                (trial.id, *(_column(getattr(record, name)) for name in _EPOCH_COLUMNS))
                for record in records
            ]
            if state == "failed":
                reason = "Traceback (most recent call last):\nRuntimeError: made up"
                trials.append((state, reason, None, self.place, _AT, _AT, trial.id))
                continue
            result = json.dumps(asdict(self._result(arm, records, state)))
            trials.append((state, None, result, self.place, _AT, _AT, trial.id))
            files += self._files(trial.id, records[-1].test_accuracy)
        return trials, epochs, files

    def _records(self, top: float, slope: float, epochs: int, state: str) -> Iterator[EpochRecord]:
        top = float(np.clip(top + 0.01 * self.rng.standard_normal(), 0.1, 0.999))
        noise = 0.01 * self.rng.standard_normal((epochs, 3))
        for at in range(epochs):
            share = 1 - np.exp(-slope * (at + 1))
            train, held, test = np.clip(top * share + noise[at], 0.05, 1.0).tolist()
            right = round(test * _IMAGES["test"]) / _IMAGES["test"]
            lost = None if state == "diverged" and at == epochs - 1 else 2.3 * (1 - train) + 0.01
            yield EpochRecord(
                epoch=at + 1,
                lr=0.05,
                train_loss=lost,
                train_accuracy=train,
                train_macro_f1=train - 0.001,
                train_micro_f1=train,
                validation_loss=2.3 * (1 - held) + 0.01,
                validation_accuracy=round(held * 120) / 120,
                validation_macro_f1=held - 0.001,
                validation_micro_f1=held,
                test_loss=2.3 * (1 - test) + 0.01,
                test_accuracy=right,
                test_macro_f1=right - 0.001,
                test_micro_f1=right,
                seconds=0.2 + abs(noise[at, 0]),
                examples_per_second=5000 + 1000 * noise[at, 1],
                validation_ece=0.03,
                test_ece=0.02 + abs(noise[at, 2]),
                details={"weight_norm": 5 + noise[at, 0]},
            )

    def _result(self, arm: ArmRecord, records: list[EpochRecord], state: str) -> TrialResult:
        last = records[-1]
        train = last.train_accuracy or 0.0
        norm = Check(name="norm", declared="3 of a kind", found="3 of this kind", live=True)
        every = "3 of 3 convolutions and 1 of 1 linear layers in float32; weights, loss and optimizer state float32"
        precision = Check(name="precision", declared="float32 throughout", found=every, live=True)
        return TrialResult(
            state=state,  # type: ignore[arg-type]
            checks=(norm, precision),
            epochs=len(records),
            parameters=arm.parameters or 0,
            weights_sha256=hashlib.sha256(self.rng.bytes(8)).hexdigest(),
            train_images=_IMAGES["train"],
            validation_images=_IMAGES["validation"],
            test_images=_IMAGES["test"],
            final_train=Evaluation(
                loss=0.1, accuracy=train, macro_f1=train, micro_f1=train, ece=0.02
            ),
            flops=461_440,
            peak_memory=250_000_000 + int(self.rng.integers(1 << 20)),
        )

    def _files(self, trial: str, accuracy: float) -> list[tuple]:
        right = round(accuracy * _IMAGES["test"])
        rows = []
        for kind, content in (("weights", _WEIGHTS), ("predictions", self._predictions(right))):
            path = artifact_path(trial, kind)
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            rows.append((trial, kind, path, sha256, len(content)))
        return rows

    def _predictions(self, right: int) -> bytes:
        if right not in self.packed:
            wrong = self.rng.permutation(len(self.labels))[right:]
            said = self.labels.copy()
            said[wrong] = (said[wrong] + 1) % 10
            stream = io.BytesIO()
            np.savez_compressed(
                stream,
                labels=self.labels,
                predictions=said,
                confidences=self.rng.uniform(0.3, 1, len(said)).astype(np.float32),
            )
            self.packed[right] = stream.getvalue()
        return self.packed[right]


def _column(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


def make(shape: str, root: Path) -> Path:
    """A store of that shape below `root`; returns the study file."""
    file = root / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(study(*map(int, shape.split("x"))), sort_keys=False))
    plan = normlab.plan(normlab.load_study(file))
    Maker(plan, root / "runs" / NAME).write()
    return file


def measured(words: list[str], patience: float) -> dict[str, object]:
    """A command in a process of its own: seconds, MiB at most, the exit code, bytes it printed.

    The exit code is 124 where it was ended after `patience` seconds.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryFile() as out:
        # A small process between this one and the command: a child's peak begins at its parent's size.
        ran = subprocess.run(
            [
                sys.executable,
                "-S",
                "-c",
                _WATCH,
                str(patience),
                sys.executable,
                "-m",
                "normlab",
                *words,
            ],
            stdout=subprocess.PIPE,
            stderr=out,
            check=True,
        )
        printed = out.tell()
        found = json.loads(ran.stdout)
        if found["exit"]:
            out.seek(0)
            print(out.read()[-2000:].decode(errors="replace"))
    scale = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes
    return {
        "seconds": round(found["seconds"], 2),
        "cpu_seconds": round(found["cpu"], 2),
        "peak_mib": round(found["peak"] * scale / 2**20),
        "exit": found["exit"],
        "printed_bytes": printed,
        "load": round(load, 1),
    }


def rows_of(
    shape: str, root: Path, commands: list[str], patience: float
) -> Iterator[dict[str, object]]:
    """Each command on a store of that shape, made below `root` unless it is there."""
    file = root / f"{NAME}.yaml"
    if not file.exists():
        begun = time.perf_counter()
        make(shape, root)
        print(f"{shape}: made in {time.perf_counter() - begun:.0f} s")
    folder = root / "runs" / NAME
    for name in commands:
        words = [word.format(file=file) for word in COMMANDS[name]]
        row = {"shape": shape, "command": name}
        row |= measured([*words, "--runs", str(root / "runs")], patience)
        if name == "report" and not row["exit"]:
            row["report_mib"] = round((folder / "report.html").stat().st_size / 2**20, 2)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        yield row


def main() -> None:
    """Measure every command on every shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="arms x seeds x epochs")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--keep", type=Path, help="make stores here, or use those that are here")
    parser.add_argument("--patience", type=float, default=600, help="seconds for a command")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--note", default="", help="what else to say of the machine")
    given = parser.parse_args()
    here = " ".join(filter(None, machine().values()))
    print(f"{here}, {os.cpu_count()} cores")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for shape in given.shapes:
            root = (given.keep or Path(temporary)) / shape
            root.mkdir(parents=True, exist_ok=True)
            rows += rows_of(shape, root, given.commands, given.patience)
    if given.json:
        about = {"cores": os.cpu_count(), **machine(), "note": given.note}
        given.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

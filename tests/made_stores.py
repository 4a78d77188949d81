"""Run folders made by hand, as machines leave them that each trained some trials of one study."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from normlab.records import Artifact, EpochRecord, TrialResult
from normlab.records.plan import PlanRecord
from normlab.store import Store, TrialRow, artifact_path
from tests.plans import plan_of

ARMS = ("batch", "none")


def trial_id(arm: str, seed: int) -> str:
    return hashlib.sha256(f"{arm} {seed}".encode()).hexdigest()[:20]


def plan(seeds: Iterable[int], **values: object) -> PlanRecord:
    seeds = list(seeds)
    arms = [
        {
            "label": arm,
            "recipe": {"norm": arm},
            "epochs": 2,
            "parameters": 10,
            "trials": [{"seed": seed, "id": trial_id(arm, seed)} for seed in seeds],
        }
        for arm in ARMS
    ]
    return plan_of(values.pop("arms", arms), seeds=seeds, **values)  # type: ignore[arg-type]


def rows(made: PlanRecord) -> list[TrialRow]:
    return [
        TrialRow(id=trial.id, recipe=arm.recipe, seed=trial.seed, data_digest="d" * 64, semantics=1)
        for arm, trial in made.by_seed()
    ]


def numbers(arm: str, seed: int, change: float = 0.0) -> tuple[list[EpochRecord], TrialResult]:
    """A trial's epochs and result; another change gives other numbers."""
    score = 0.5 + 0.1 * ARMS.index(arm) + 0.01 * seed + change
    records = [
        EpochRecord(
            epoch=epoch,
            lr=0.1,
            train_loss=None if change else 1 / 3,
            train_accuracy=score,
            train_macro_f1=score,
            train_micro_f1=score,
            validation_loss=None,
            validation_accuracy=None,
            validation_macro_f1=None,
            validation_micro_f1=None,
            test_loss=0.1 + 0.2,
            test_accuracy=score + epoch / 7,
            test_macro_f1=score,
            test_micro_f1=score,
            seconds=1.5,
            examples_per_second=100.0,
            details={"weight_norm": 2 / 3},
        )
        for epoch in (1, 2)
    ]
    result = TrialResult(
        state="complete",
        epochs=2,
        parameters=10,
        weights_sha256=hashlib.sha256(f"{arm} {seed} {change}".encode()).hexdigest(),
        train_images=100,
        validation_images=0,
        test_images=50,
        peak_memory=1000 + seed,
    )
    return records, result


def fill(
    folder: Path,
    made: PlanRecord,
    finished: Iterable[tuple[str, int]],
    *,
    chip: str = "abacus",
    change: Mapping[tuple[str, int], float] | None = None,
    files: bool = True,
) -> Path:
    """A run folder with that plan, of which these trials, by arm and seed, are finished."""
    with Store.write(folder) as store:
        store.record_plan(made, rows(made))
        for arm, seed in finished:
            one = trial_id(arm, seed)
            records, result = numbers(arm, seed, (change or {}).get((arm, seed), 0.0))
            artifacts = []
            for kind in ("weights", "predictions") if files else ():
                content = f"{kind} {asdict(result)['weights_sha256']}".encode() * 50
                path = folder / artifact_path(one, kind)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                artifacts.append(
                    Artifact(
                        kind=kind,
                        path=artifact_path(one, kind),
                        sha256=hashlib.sha256(content).hexdigest(),
                        bytes=len(content),
                    )
                )
            store.start(one, {"device": "cpu", "chip": chip, "threads": 1}, 0)
            for record in records:
                store.add_epoch(one, record)
            store.finish(one, result, artifacts)
        states = store.states(list(made.trials))
        store.add_look(made.declaration, [i for i in states if states[i] == "complete"])
    return folder


def contents(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Everything of a folder's finished trials, but from where it was taken."""
    with Store.read(folder) as store:
        ids = store.finished()
        found = {
            table: [dict(row) for row in store.rows(table, ids)]
            for table in ("trials", "epochs", "artifacts")
        }
    for row in found["trials"]:
        places = json.loads(str(row["provenance"]))
        row["provenance"] = [{k: v for k, v in p.items() if k != "taken_from"} for p in places]
    for table in found.values():
        table.sort(key=str)
    return found


def begin(store: Store, arm: str, seed: int, epochs: int, **place: object) -> None:
    """Start a trial of a store, as if it trained now, and store so many of its epochs."""
    records, _ = numbers(arm, seed)
    store.start(trial_id(arm, seed), {"device": "cpu", **place}, 0)
    for record in records[:epochs]:
        store.add_epoch(trial_id(arm, seed), record)

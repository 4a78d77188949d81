"""What a study's store holds, as data frames: one row per trial, one per epoch of a trial."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import TypeVar, cast

from normlab.frames.derived import add_f1_gaps, loss_rises, sparsity
from normlab.lazy import pandas as pd
from normlab.places import trained_together
from normlab.records import EpochRecord, Evaluation, TrialResult
from normlab.records.plan import PlanRecord
from normlab.store import Look, Store
from normlab.store.plans import as_written, parse_places
from normlab.text import clean, shown

EPOCH_COLUMNS = [field.name for field in fields(EpochRecord)]
RESULT_COLUMNS = [
    field.name
    for field in fields(TrialResult)
    if field.name not in {"state", "reason", "epochs", "final_train"}
]
FINAL_COLUMNS = [f"final_train_{field.name}" for field in fields(Evaluation)]

_STATE_COLUMNS = ["state", "reason", "provenance"]


@dataclass(frozen=True)
class Frames:
    """A study as it stands in its store.

    Attributes:
        plan: The plan of its last run.
        trials: A row per planned trial, in the order of arms and seeds: `arm`, `seed`, `id`,
            `state`, `reason`, the fields of `TrialResult` (`final_train` as columns of its own),
            `seconds` of training, `together`, how many trials trained side by side with it (1:
            alone; beyond that `seconds` and `peak_memory` are its share), the last epoch's record,
            `gap`, the overfitting gap: eval mode train minus test accuracy, and what else of
            `normlab.metrics` these tell. Unfinished trials have missing values.
        epochs: A row per epoch: `arm`, `seed`, `id`, the fields of `EpochRecord`, and the metrics
            that they tell.
        looks: Every time results were seen.
        times: Times to accuracy of trials run elsewhere, as `normlab.frames.time_table` has them;
            None where the epochs tell them.
        made: What `once` remembers of it.
    """

    plan: PlanRecord
    trials: pd.DataFrame
    epochs: pd.DataFrame
    looks: tuple[Look, ...] = ()
    times: pd.DataFrame | None = None
    made: dict[object, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of_seeds(self, seeds: Collection[int]) -> Frames:
        """The study with the trials of these seeds alone."""
        plan = self.plan.model_copy(update={"seeds": tuple(seeds)})
        trials = self.trials[self.trials["seed"].isin(seeds)].reset_index(drop=True)
        epochs = self.epochs[self.epochs["seed"].isin(seeds)].reset_index(drop=True)
        times = None if self.times is None else self.times[self.times["seed"].isin(seeds)]
        return replace(self, plan=plan, trials=trials, epochs=epochs, times=times)

    @property
    def arms(self) -> list[str]:
        """Labels, in the plan's order."""
        return list(self.plan.labels)


Made = TypeVar("Made")


def once(make: Callable[[Frames], Made]) -> Callable[[Frames], Made]:
    """A function of a study's frames that is computed once for them: a report asks for it often."""

    @wraps(make)
    def made(frames: Frames) -> Made:
        if make not in frames.made:
            frames.made[make] = make(frames)
        return cast("Made", frames.made[make])

    return made


def load_frames(store: Store, plan: PlanRecord | None = None) -> Frames:
    """Read the planned trials of a study: of its last run, or of another plan for it.

    Raises:
        UserError: The store holds no plan, or something that normlab does not write.
    """
    plan = store.plan() if plan is None else plan
    with as_written(store.folder):
        return _load(store, plan)


def _load(store: Store, plan: PlanRecord) -> Frames:
    planned = pd.DataFrame(
        [
            {"arm": arm.label, "seed": trial.seed, "id": trial.id}
            for arm in plan.arms
            for trial in arm.trials
            if trial.phase == "final"
        ]
    )
    ids = planned["id"].tolist()
    rows = [_trial(row) for row in store.rows("trials", ids)]
    states = pd.DataFrame(rows, columns=["id", *_STATE_COLUMNS, *RESULT_COLUMNS, *FINAL_COLUMNS])
    records = [tuple(row) for row in store.rows("epochs", ids)]
    epochs = pd.DataFrame(records, columns=["id", *EPOCH_COLUMNS])
    epochs["details"] = epochs["details"].map(_details)
    numbers = [column for column in EPOCH_COLUMNS if column not in {"epoch", "details"}]
    epochs[numbers] = epochs[numbers].astype(float)
    add_f1_gaps(epochs)
    epochs["sparsity"] = epochs["details"].map(sparsity).astype(float)
    epochs = planned.merge(epochs, on="id", how="inner")
    last = epochs.sort_values("epoch").groupby("id", as_index=False).tail(1)
    seconds = epochs.groupby("id", as_index=False)["seconds"].sum()
    trials = (
        planned.merge(states, on="id", how="left")
        .merge(last.drop(columns=["arm", "seed", "seconds"]), on="id", how="left")
        .merge(seconds, on="id", how="left")
    )
    trials["state"] = trials["state"].fillna("pending")  # planned, and never in a run
    trials[FINAL_COLUMNS] = trials[FINAL_COLUMNS].astype(float)
    trials["gap"] = trials["final_train_accuracy"] - trials["test_accuracy"]
    trials["together"] = trials["provenance"].map(_together)
    trials["test_loss_rises"] = trials["id"].map(loss_rises(epochs))
    return Frames(plan, trials, epochs, tuple(store.looks()))


def _details(text: str) -> object:
    # Nothing but an escape can hold a control character in JSON.
    found: object = json.loads(text)
    return clean(found) if "\\" in text else found


def _together(places: object) -> int:
    return trained_together(places) if isinstance(places, list) else 1


def _trial(row: sqlite3.Row) -> dict[str, object]:
    result = clean(json.loads(row["result"])) if row["result"] else {}
    return {
        "id": row["id"],
        "state": row["state"],
        "reason": shown(row["reason"], lines=True) if row["reason"] else row["reason"],
        "provenance": parse_places(row["provenance"]),
        **{name: result.get(name) for name in RESULT_COLUMNS},
        **{
            f"final_train_{name}": value
            for name, value in (result.get("final_train") or {}).items()
        },
    }

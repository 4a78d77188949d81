"""What a study's store holds, as data frames: one row per trial, one per epoch of a trial."""

from __future__ import annotations

import json
import marshal
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from normlab.frames.derived import add_f1_gaps, loss_rises, sparsity
from normlab.lazy import pandas as pd
from normlab.places import trained_together
from normlab.records import EpochRecord, Evaluation, TrialResult
from normlab.records.plan import PlanRecord
from normlab.store import Look, Store
from normlab.store.plans import as_written, parse_places
from normlab.text import clean, may_hide_controls, shown

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
        watched: Whether someone looks on while it runs, which is no look at the results: `judge`
            then gives verdicts at declared looks and at the end alone, and estimates in between.
        made: What `once` remembers of it.
    """

    plan: PlanRecord
    trials: pd.DataFrame
    epochs: pd.DataFrame
    looks: tuple[Look, ...] = ()
    times: pd.DataFrame | None = None
    watched: bool = False
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
    """A function of a study's frames that is computed once for them: a report asks for it often.

    A table is given as a copy: what a caller does to it, the next one does not see.
    """

    @wraps(make)
    def made(frames: Frames) -> Made:
        if make not in frames.made:
            frames.made[make] = make(frames)
        found = frames.made[make]
        return cast("Made", found.copy() if isinstance(found, pd.DataFrame) else found)

    return made


def load_frames(store: Store, plan: PlanRecord | None = None, *, details: bool = True) -> Frames:
    """Read the planned trials of a study: of its last run, or of another plan for it.

    Args:
        store: The study's.
        plan: Another plan than that of its last run.
        details: Read the epochs' diagnostics. Without them frames have no column `details`, and
            those of a large store take half of the memory.

    Raises:
        UserError: The store holds no plan, or something that normlab does not write.
    """
    plan = store.plan() if plan is None else plan
    with as_written(store.folder):
        return _load(store, plan, details)


def _load(store: Store, plan: PlanRecord, details: bool) -> Frames:
    planned = pd.DataFrame(
        [
            (arm.label, trial.seed, trial.id)
            for arm in plan.arms
            for trial in arm.trials
            if trial.phase == "final"
        ],
        columns=["arm", "seed", "id"],
    )
    ids = planned["id"].tolist()
    known: dict[object, Any] = {}
    rows = [_trial(row, known) for row in store.rows("trials", ids)]
    states = pd.DataFrame(rows, columns=["id", *_STATE_COLUMNS, *RESULT_COLUMNS, *FINAL_COLUMNS])
    epochs, place = _epochs(store, planned, details)
    # By trial, the last of its epochs.
    order = np.lexsort((epochs["epoch"].to_numpy(), place))
    ends = np.flatnonzero(np.diff(place[order], append=-1))
    last = epochs.iloc[order[ends]]
    seconds = epochs[["id", "seconds"]].groupby("id", as_index=False)["seconds"].sum()
    trials = (
        planned.merge(states, on="id", how="left")
        .merge(last.drop(columns=["arm", "seed", "seconds"]), on="id", how="left")
        .merge(seconds, on="id", how="left")
    )
    trials["state"] = trials["state"].fillna("pending")  # planned, and never in a run
    trials[FINAL_COLUMNS] = trials[FINAL_COLUMNS].astype(float)
    trials["gap"] = trials["final_train_accuracy"] - trials["test_accuracy"]
    trials["together"] = trials["provenance"].map(_together)
    losses = epochs[["epoch", "test_loss", "train_loss"]].assign(id=place)
    trials["test_loss_rises"] = loss_rises(losses).reindex(range(len(trials))).to_numpy()
    return Frames(plan, trials, epochs, tuple(store.looks()))


def _epochs(
    store: Store, planned: pd.DataFrame, details: bool
) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """A row per epoch in the order of the planned trials, and the place of each row's trial.

    Numbers are put into arrays block by block: as objects they would take ten times the memory.
    """
    ids = planned["id"].tolist()
    place_of = {trial_id: place for place, trial_id in enumerate(ids)}
    told = "details" if details else "details_of_sparsity"
    columns = [name for name in EPOCH_COLUMNS if name != "details"]
    blocks: dict[str, list[npt.NDArray[Any]]] = {}
    found: dict[str, npt.NDArray[Any]]
    for rows in store.epoch_blocks(ids, ["trial_id", *columns, told]):
        if not rows:
            continue
        trial_ids, *values, texts = zip(*rows, strict=True)
        at = np.fromiter(map(place_of.__getitem__, trial_ids), np.int64, len(rows))
        order = np.argsort(at, kind="stable")
        found = {"place": at}
        for name, column in zip(columns, values, strict=True):
            found[name] = np.array(column, dtype=None if name == "epoch" else float)
        there, parsed = _details(texts)
        if details:
            found["details"] = np.empty(len(rows), dtype=object)
            found["details"][there] = parsed
        found["sparsity"] = np.full(len(rows), np.nan)
        found["sparsity"][there] = list(map(sparsity, parsed))
        for name, array in found.items():
            blocks.setdefault(name, []).append(array[order])
    wanted = ["place", *EPOCH_COLUMNS, "sparsity"]
    made = {
        name: np.concatenate(blocks.pop(name)) if blocks else np.empty(0, _empty_type(name))
        for name in wanted
        if details or name != "details"
    }
    place = made.pop("place")
    near_zero = made.pop("sparsity")
    columns_of: dict[str, Any] = {str(name): planned[name].array.take(place) for name in planned}
    epochs = pd.DataFrame(columns_of | made, copy=False)
    add_f1_gaps(epochs)
    epochs["sparsity"] = near_zero
    return epochs, place


def _empty_type(name: str) -> str:
    return {"place": "int64", "details": "object", "epoch": "object"}.get(name, "float64")


def _details(texts: Sequence[str | None]) -> tuple[list[int], list[object]]:
    """Diagnostics of many epochs, parsed at once: their keys are then the same strings.

    Returns:
        Places of the epochs that have some, and these.
    """
    there = [place for place, text in enumerate(texts) if text is not None]
    known = [text for text in texts if text is not None]
    found: Sequence[object] = json.loads(f"[{','.join(known)}]")
    if len(found) != len(known):  # one of them holds several values, which is no JSON
        found = list(map(json.loads, known))
    both = zip(found, known, strict=True)
    return there, [clean(one) if may_hide_controls(text) else one for one, text in both]


def _together(places: object) -> int:
    return trained_together(places) if isinstance(places, list) else 1


def _trial(row: sqlite3.Row, known: dict[object, Any]) -> tuple[object, ...]:
    """A trial's row of the frame; places and checks that are alike are kept once in `known`."""
    result = _cleaned(row["result"]) if row["result"] else {}
    final = result.get("final_train") or {}
    checks = result.get("checks")
    if checks is not None:
        result["checks"] = known.setdefault(marshal.dumps(checks), checks)
    places = known.get(row["provenance"])
    if places is None:
        places = known[row["provenance"]] = parse_places(row["provenance"])
    return (
        row["id"],
        row["state"],
        shown(row["reason"], lines=True) if row["reason"] else row["reason"],
        places,
        *(result.get(name) for name in RESULT_COLUMNS),
        *(final.get(name.removeprefix("final_train_")) for name in FINAL_COLUMNS),
    )


def _cleaned(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return clean(found) if may_hide_controls(text) else found

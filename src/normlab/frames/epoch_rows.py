"""A study's trials as one CSV file, a row per epoch: to keep, to share, to judge elsewhere.

Columns: `arm`, `seed`, `epoch`, every metric of `normlab.metrics` that has values and that no other
ones tell, and `seconds` of that epoch's training. What is known of a trial at its end stands in
the row of its last epoch: `state`, `gap`, the `FACTS`, and where and with what it ran. Failed
trials are not in it.
"""

from __future__ import annotations

from normlab.frames.csv_text import csv_text
from normlab.frames.load import Frames
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.places import TOGETHER
from normlab.records import FINISHED

OF_ARMS = ("parameters", "classes")
"""Whole numbers that the trials of an arm share."""
SCORED = tuple(name for name, of in METRICS.items() if of.per_epoch and not of.derived)
"""What is measured at every epoch and no other metrics tell."""
COUNTS = ("flops", "train_images", "validation_images", "test_images")
"""Whole numbers of a trial that are no results."""
FACTS = (*COUNTS, "examples_per_second")
"""Numbers of a trial that are no results."""

_RAN = ("device", "chip", "threads", "torch", "code", TOGETHER)
"""What of a trial's provenance is kept."""
_ALWAYS = ("arm", "seed", "epoch", "state")
_DIGITS = "%.7g"


def epoch_rows(frames: Frames) -> str:
    """The CSV file of a study's finished trials; `frames_from_csv` reads it back.

    Numbers keep 7 digits. Verdicts on the file are those on the store, with two things a file does
    not know: when results were seen, and at which looks seeds were added.
    """
    finished = frames.trials[frames.trials["state"].isin(FINISHED)]
    epochs = frames.epochs[frames.epochs["id"].isin(finished["id"])]
    epochs = epochs[["arm", "seed", "id", "epoch", *SCORED, "seconds"]]
    ends = finished[["id", "epoch", "state", "gap", *FACTS]]
    runs = finished["provenance"].map(lambda runs: runs[-1] if runs else {})
    ends = ends.assign(**{name: [run.get(name) for run in runs] for name in _RAN})
    table = epochs.merge(ends, on=["id", "epoch"], how="left").drop(columns="id")
    is_end = table["state"].notna()
    for name in OF_ARMS:
        known = {arm.label: getattr(arm, name) for arm in frames.plan.arms}
        table[name] = table["arm"].map(known).where(is_end)
    for name in (*OF_ARMS, *COUNTS, "threads"):  # whole numbers keep all their digits
        table[name] = table[name].astype("Int64")
    empty = [name for name in table if table[name].isna().all() and name not in _ALWAYS]
    table = table.drop(columns=empty)
    return csv_text(table, float_format=_DIGITS)


def last_rows(epochs: pd.DataFrame) -> pd.DataFrame:
    """A row per trial from a row per epoch: the last one, and the seconds of all of them."""
    ordered = epochs.sort_values("epoch", kind="stable")
    last: pd.DataFrame = ordered.groupby("id", sort=False).tail(1).copy()
    return last.assign(seconds=last["id"].map(ordered.groupby("id")["seconds"].sum(min_count=1)))

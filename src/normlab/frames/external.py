"""Trials run elsewhere: from a table, a CSV file's or another tool's, to a study's frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from normlab.arms import is_number
from normlab.frames.derived import add_f1_gaps, loss_rises
from normlab.frames.epoch_rows import FACTS, OF_ARMS, last_rows
from normlab.frames.external_checks import check_pairs, check_scored, least_steps
from normlab.frames.external_rows import arms_of, check_unique, seed_column, seeds_of, whole_numbers
from normlab.frames.external_scores import metrics_of, states_of
from normlab.frames.external_table import PERCENT, Table, read_table
from normlab.frames.external_times import check_claims_of_time, target_column, timed, times_of
from normlab.frames.load import Frames
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.records.plan import ArmRecord, PlanRecord
from normlab.text import from_cell


def frames_from_csv(
    path: Path,
    plan: PlanRecord,
    *,
    test_images: int | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Frames:
    """A study's frames from a table of finished trials.

    Columns: one for each factor (or `arm`, a label); `seed` (or rows are numbered within their
    arm); any metric of `normlab.metrics` by that name, accuracies as fractions of 1 or, in a
    column `<metric>_percent`, in percent; `state` where not all are complete; for claims of time
    `seconds_to_<target>` or `examples_to_<target>`, empty where the target was never reached, and
    `seconds` or `examples` of the whole training. Other columns are left alone. Separators,
    decimal marks and the case of names may be any usual ones; see `external_table`.

    With the columns `seed` and `epoch` a row is an epoch of a trial, as `normlab report --csv`
    writes it; see `normlab.frames.epoch_rows`. Then claims may be about any epoch, and times are
    those at which the accuracies reached their targets: claims of time need `train_accuracy` or
    `validation_accuracy`, and `seconds` or `train_images`.

    Args:
        path: The file.
        plan: The study's. Where an arm has `classes` or `test_images`, they hold if the file
            does not tell them.
        test_images: How many images an accuracy is a mean over; sets its least spread.
        renamed: What the file calls columns, by our names, where they are not recognised.

    Raises:
        UserError: The file cannot be read or can be read in two ways, a factor has no column, a
            row fits no arm, or what the verdicts depend on is not said: how a trial without a score
            ended, the number of classes or of test images.
    """
    arms, times = _levels(plan), _time_columns(plan)
    return frames_from_table(_read(path, arms, times, renamed or {}), plan, test_images=test_images)


def frames_from_table(read: Table, plan: PlanRecord, *, test_images: int | None = None) -> Frames:
    """A study's frames from the cells of a table; columns and mistakes as in `frames_from_csv`.

    Args:
        read: The table.
        plan: The study's.
        test_images: How many images an accuracy is a mean over.

    Raises:
        UserError: As `frames_from_csv`; a message names the row's run where the table has runs.
    """
    arms, times, path = _levels(plan), _time_columns(plan), read.path
    cells = read.cells
    table = pd.DataFrame({"arm": arms_of(read, arms), "row": range(len(cells))}, index=cells.index)
    seed = seed_column(read, table["arm"])
    by_epoch = seed is not None and "epoch" in cells and not set(times) & set(cells)
    table["seed"] = seeds_of(read, seed, table["arm"], plan)
    if by_epoch:
        table["epoch"] = whole_numbers(read, "epoch", 1)
    keys = ["seed", "epoch"] if by_epoch else ["seed"]
    check_claims_of_time(read, plan, by_epoch=by_epoch)
    for column in {*times, "seconds", "examples", *FACTS, *OF_ARMS} & set(cells):
        table[column] = read.numbers(column)
    for metric, values in metrics_of(read).items():
        table[metric] = values
    add_f1_gaps(table)
    check_unique(table, ["arm", *keys], path)
    table["state"] = states_of(read)
    others = [str(name) for name in cells if name not in table]
    for column in others:  # where it ran, and whatever else a reader may want
        table[column] = read.plain(column)
    table["id"] = table["arm"].astype(str) + "/" + table["seed"].astype(str)
    ended = last_rows(table) if by_epoch else table.assign(epoch=1)
    ended["state"] = ended["state"].fillna("complete")
    if by_epoch:
        ended["test_loss_rises"] = ended["test_loss_rises"].fillna(
            ended["id"].map(loss_rises(table))
        )
    for column in (*FACTS, *OF_ARMS):
        if column not in ended:
            ended[column] = float("nan")
    plan = plan.model_copy(update={"arms": tuple(_with_facts(arm, ended) for arm in plan.arms)})
    check_scored(ended, plan, read)
    check_pairs(ended, plan, path)
    if test_images is not None:
        ended["test_images"] = test_images
    ended["test_images"] = least_steps(read, ended, plan)
    seeds = sorted(set(ended["seed"].tolist()))
    every = pd.DataFrame([{"arm": label, "seed": seed} for label in arms for seed in seeds])
    trials = every.merge(ended, on=["arm", "seed"], how="left")
    trials["state"] = trials["state"].fillna("pending")
    trials["id"] = trials["arm"] + "/" + trials["seed"].astype(str)
    plan = plan.model_copy(update={"seeds": tuple(seeds)})
    if by_epoch:
        return Frames(plan, trials, table)
    # Only the end is known: it stands for the last epoch, and for the first.
    epochs = trials[trials["state"] != "pending"]
    return Frames(plan, trials, epochs, times=times_of(trials, plan))


def _levels(plan: PlanRecord) -> dict[str, Mapping[str, object]]:
    return {arm.label: arm.levels for arm in plan.arms}


def _time_columns(plan: PlanRecord) -> list[str]:
    return [target_column(time) for _, time in timed(plan)]


def _read(
    path: Path,
    arms: Mapping[str, Mapping[str, object]],
    times: Iterable[str],
    renamed: Mapping[str, str],
) -> Table:
    """The file's cells, its columns by the names that are known."""
    factors: dict[str, list[object]] = {key: [] for levels in arms.values() for key in levels}
    for levels in arms.values():
        for key, level in levels.items():
            factors[key].append(level)
    metrics = [*METRICS, *(metric + PERCENT for metric in METRICS)]
    counted = [*metrics, *times, "seed", "epoch", "seconds", "examples", *FACTS, *OF_ARMS]
    numeric = [key for key, found in factors.items() if all(map(is_number, found))]
    known = [*factors, *counted, "arm", "state"]
    read = read_table(path, dict.fromkeys(known), [*counted, *numeric], renamed)
    for word in {"arm", *factors} & set(read.cells):  # as `normlab report --csv` writes them
        read.cells[word] = read.cells[word].map(from_cell)
    return read


def _with_facts(arm: ArmRecord, ended: pd.DataFrame) -> ArmRecord:
    """An arm of the plan with what the file tells of its model and data."""
    rows = ended[ended["arm"] == arm.label]
    found = {name: rows[name].dropna() for name in OF_ARMS}
    told = {name: int(values.iloc[0]) for name, values in found.items() if len(values)}
    return arm.model_copy(update=told)

"""Trials run elsewhere, from a CSV file: a column per factor, a row per trial or per epoch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from normlab.arms import is_number
from normlab.errors import UserError, listing, nearest, unknown
from normlab.frames.derived import add_f1_gaps, loss_rises
from normlab.frames.epoch_rows import FACTS, OF_ARMS, last_rows
from normlab.frames.external_table import MISSING, PERCENT, Table, number, plain_name, read_table
from normlab.frames.load import Frames
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.recipe import value_text
from normlab.records import TrialState
from normlab.records.plan import ArmRecord, PlanRecord, TimeRecord
from normlab.text import from_cell, one_form

_STATES: tuple[TrialState, ...] = ("complete", "diverged", "invalid", "failed")
_SEEDS = ("random_state", "rng")
"""What a column of seeds may be called beside names with "seed" in them."""
_REPEATS = re.compile(
    r"(run|trial|repeat|repetition|rep|replicate|replication|fold|attempt|try)s?"
    r"(_(id|no|nr|num|number|idx|index|n))?"
)
"""What may number the repeats of an arm, or anything: taken where it does number them."""
_STATE_NAMES = ("status", "outcome", "result")

_LEAST_DIGITS = 0.6  # of the last digit: a smaller standard deviation is made by rounding
_NO_CHANCE = 2.0  # percent: more classes than 50 can have an accuracy below 1 %


def frames_from_csv(path: Path, plan: PlanRecord, *, test_images: int | None = None) -> Frames:
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

    Raises:
        UserError: The file cannot be read or can be read in two ways, a factor has no column, a
            row fits no arm, or what the verdicts depend on is not said: how a trial without a score
            ended, the number of classes or of test images.
    """
    arms = {arm.label: arm.levels for arm in plan.arms}
    times = [_target_column(time) for _, time in _timed(plan)]
    read = _read(path, arms, times)
    cells = read.cells
    table = pd.DataFrame({"arm": _arms(read, arms), "line": list(read.lines)}, index=cells.index)
    seed = _seed_column(read, table["arm"])
    by_epoch = seed is not None and "epoch" in cells and not set(times) & set(cells)
    table["seed"] = _seeds(read, seed, table["arm"], plan)
    if by_epoch:
        table["epoch"] = _whole_numbers(read, "epoch", 1)
    keys = ["seed", "epoch"] if by_epoch else ["seed"]
    _check_claims_of_time(read, plan, by_epoch=by_epoch)
    for column in {*times, "seconds", "examples", *FACTS, *OF_ARMS} & set(cells):
        table[column] = read.numbers(column)
    for metric, values in _metrics(read).items():
        table[metric] = values
    add_f1_gaps(table)
    _check_unique(table, ["arm", *keys], path)
    table["state"] = _states(read)
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
    _check_scored(ended, plan, read)
    _check_pairs(ended, plan, path)
    if test_images is not None:
        ended["test_images"] = test_images
    ended["test_images"] = _least_steps(read, ended, plan)
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
    return Frames(plan, trials, epochs, times=_times(trials, plan))


def _read(path: Path, arms: Mapping[str, Mapping[str, object]], times: Iterable[str]) -> Table:
    """The file's cells, its columns by the names that are known."""
    factors: dict[str, list[object]] = {key: [] for levels in arms.values() for key in levels}
    for levels in arms.values():
        for key, level in levels.items():
            factors[key].append(level)
    metrics = [*METRICS, *(metric + PERCENT for metric in METRICS)]
    counted = [*metrics, *times, "seed", "epoch", "seconds", "examples", *FACTS, *OF_ARMS]
    numeric = [key for key, found in factors.items() if all(map(is_number, found))]
    known = [*factors, *counted, "arm", "state"]
    read = read_table(path, dict.fromkeys(known), [*counted, *numeric])
    for word in {"arm", *factors} & set(read.cells):  # as `normlab report --csv` writes them
        read.cells[word] = read.cells[word].map(from_cell)
    return read


# -- whose row it is -----------------------------------------------------------------------


def _arms(read: Table, arms: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The label of the arm that each row is of."""
    rows = read.cells.to_dict("records")
    return [
        _arm({str(key): str(cell) for key, cell in row.items()}, arms, read, line)
        for row, line in zip(rows, read.lines, strict=True)
    ]


def _arm(
    row: Mapping[str, str], arms: Mapping[str, Mapping[str, object]], read: Table, line: int
) -> str:
    where = f"{read.path}, line {line}"
    if "arm" in row:
        labels = {one_form(label): label for label in arms}
        if row["arm"] not in labels:
            raise UserError(f"{where}: {unknown('arm', row['arm'], arms)}")
        label = labels[row["arm"]]
        for key, level in arms[label].items():
            if key in row and row[key] and not _same(level, row[key], comma=read.comma):
                raise UserError(
                    f"{where}: the arm '{label}' has {key} {value_text(level)}, and the column "
                    f"{read.said(key)} says '{row[key]}'"
                )
        return label
    for label, levels in arms.items():
        absent = [key for key in levels if key not in row]
        if absent:
            hint = nearest(absent[0], row)
            meant = f" Is '{hint}' meant?" if hint else ""
            raise UserError(
                f"{read.path} has no column '{absent[0]}' and no column 'arm'; it has "
                f"{listing(read.written.values())}.{meant}"
            )
        if all(_same(level, row[key], comma=read.comma) for key, level in levels.items()):
            return label
    factors = {key: row[key] for levels in arms.values() for key in levels}
    raise UserError(f"{where}: {factors} fits no arm; the arms are: {listing(arms)}")


def _same(level: object, cell: str, *, comma: bool) -> bool:
    """Whether a cell of the file says a level: its text, its kind, or the same number."""
    if isinstance(level, Mapping):
        texts = {json.dumps(level), json.dumps(level, sort_keys=True), value_text(level)}
        return cell in texts or cell == str(level.get("kind"))
    if level is None:
        return cell.lower() in MISSING
    if isinstance(level, int | float) and is_number(level):
        return number(cell, comma=comma) == float(level)
    if isinstance(level, bool):
        return cell.lower() == str(level).lower()
    return cell in {one_form(str(level)), value_text(level)}


def _seeds(
    read: Table, name: str | None, labels: pd.Series[str], plan: PlanRecord
) -> pd.Series[int]:
    """Every row's seed: as that column says, or numbered within its arm."""
    if name is not None:
        return _whole_numbers(read, name, 0)
    in_pairs = [claim.name for claim in plan.judged if plan.in_pairs(claim)]
    if in_pairs:
        raise UserError(
            f"{read.path} has no column 'seed': claim {in_pairs[0]} compares arms seed by seed "
            "(paired), and which rows belong together must be said"
        )
    if "epoch" in read.cells:
        epochs = read.numbers("epoch").groupby(labels)
        if any(
            len(found) > 1 and set(found) == set(range(1, len(found) + 1)) for _, found in epochs
        ):
            raise UserError(
                f"{read.path} has a row for each epoch and no column 'seed': which epochs are of "
                "one trial must be said"
            )
    return labels.groupby(labels).cumcount()


def _seed_column(read: Table, labels: pd.Series[str]) -> str | None:
    """The column of seeds, if there is one by any usual name.

    Raises:
        UserError: Two that say different things.
    """
    if "seed" in read.cells:
        return "seed"
    names = {str(name): plain_name(str(name)) for name in read.cells}
    sure = [name for name, plain in names.items() if re.search(r"seed", plain)]
    sure += [name for name in names if names[name] in _SEEDS]
    for name in sure[1:]:
        if read.cells[name].tolist() != read.cells[sure[0]].tolist():
            raise UserError(
                f"{read.path}: the columns '{sure[0]}' and '{name}' may both be the seeds, and "
                "they differ: call one of them 'seed'"
            )
    if sure:
        return sure[0]
    numbered = [
        name
        for name, plain in names.items()
        if _REPEATS.fullmatch(plain) and _numbers_repeats(read, name, labels)
    ]
    return numbered[0] if numbered else None


def _numbers_repeats(read: Table, name: str, labels: pd.Series[str]) -> bool:
    """Whether a column has whole numbers, no one twice in an arm, or in an epoch of it."""
    whole = bool(read.cells[name].str.fullmatch(r"\d+").all())
    once = {"arm": labels, "number": read.cells[name]}
    if "epoch" in read.cells:
        once["epoch"] = read.cells["epoch"]
    return whole and not pd.DataFrame(once).duplicated().any()


def _whole_numbers(read: Table, name: str, least: int) -> pd.Series[int]:
    numbers = read.numbers(name)
    if numbers.isna().any():
        raise UserError(f"{read.path}: a row has no {read.said(name)}")
    wrong = numbers[(numbers % 1 != 0) | (numbers < least)]
    if len(wrong):
        line, value = read.lines[wrong.index[0]], wrong.iloc[0]
        allowed = f"a whole number from {least} on is needed"
        raise UserError(f"{read.path}, line {line}: {read.said(name)} is {value:g}: {allowed}")
    return numbers.astype(int)


def _check_unique(table: pd.DataFrame, keys: list[str], path: Path) -> None:
    if doubled := table[table.duplicated(keys)].to_dict("records"):
        arm, *rest = (doubled[0][key] for key in keys)
        which = ", ".join(f"{key} {value}" for key, value in zip(keys[1:], rest, strict=True))
        raise UserError(f"{path}: {arm}, {which} is there twice")


# -- scores --------------------------------------------------------------------------------


def _metrics(read: Table) -> dict[str, pd.Series[float]]:
    """Every metric as numbers, fractions of 1 where it is one; one at least has values."""
    found = {}
    for metric, spec in METRICS.items():
        columns = []
        for column, most in ((metric, 1.0), (metric + PERCENT, 100.0)):
            if column in read.cells:
                values = read.numbers(column)
                _check_range(read, column, values, most if spec.points else None)
                columns.append(values / most)
        if len(columns) == 2:
            _check_agree(read, metric, *columns)
        whole = columns[0] if columns else pd.Series(float("nan"), read.cells.index)
        found[metric] = whole.fillna(columns[-1]) if columns else whole
    if all(values.isna().all() for values in found.values()):
        columns_ = [n for n in read.cells if n not in {"arm", "seed", "epoch", "state"}]
        near = {str(name): nearest(str(name), METRICS) for name in columns_}
        hints = "".join(
            f" Is '{name}' meant as '{metric}'?"
            for name, metric in near.items()
            if metric and name not in (metric, metric + PERCENT)
        )
        raise UserError(
            f"{read.path} has no metric.{hints} Allowed: {', '.join(METRICS)}, or with {PERCENT}"
        )
    return found


def _check_range(read: Table, column: str, values: pd.Series[float], most: float | None) -> None:
    """A metric's numbers are finite, of its range, and no fractions where they are percents."""
    said = read.said(column)
    if len(wrong := values[np.isinf(values)]):
        raise UserError(
            f"{read.path}, line {read.lines[wrong.index[0]]}: {said} is {wrong.iloc[0]:g}: leave "
            "it empty, with 'diverged' in a column 'state'"
        )
    spec = METRICS[column.removesuffix(PERCENT)]
    if not spec.signed and len(wrong := values[values < 0]):
        where = f"{read.path}, line {read.lines[wrong.index[0]]}"
        raise UserError(f"{where}: {said} is {wrong.iloc[0]:g}: at least 0 is needed")
    if most is None:
        return
    metric = column.removesuffix(PERCENT)
    if len(wrong := values[values.abs() > most]):
        hint = "" if most > 1 else f": fractions of 1 are needed, or the column {metric}{PERCENT}"
        where = f"{read.path}, line {read.lines[wrong.index[0]]}"
        raise UserError(f"{where}: {said} is {wrong.iloc[0]:g}, above {most:g}{hint}")
    small = values[(values > 0) & (values <= 1)]
    if most > 1 and metric.endswith(("accuracy", "f1")) and len(small) and _too_small(read):
        where = f"{read.path}, line {read.lines[small.index[0]]}"
        raise UserError(
            f"{where}: {said} is {small.iloc[0]:g}, less than 1 %. A fraction of 1 belongs in the "
            f"column {metric}, and so does a true {small.iloc[0]:g} %: {small.iloc[0] / 100:g}"
        )


def _too_small(read: Table) -> bool:
    """Whether 1 % is less than guessing gives; as far as the file tells, it is."""
    if "classes" not in read.cells:
        return True
    classes = read.numbers("classes").max()
    return not classes * _NO_CHANCE > 100


def _check_agree(
    read: Table, metric: str, fractions: pd.Series[float], percents: pd.Series[float]
) -> None:
    """Two columns of one metric say the same, as far as their digits go."""
    digits = min(read.decimals(metric) or 0, (read.decimals(metric + PERCENT) or 0) + 2)
    apart = (fractions - percents).abs() > 1.01 * 10.0**-digits
    if apart.any():
        row = apart[apart].index[0]
        raise UserError(
            f"{read.path}, line {read.lines[row]}: {read.said(metric)} is {fractions[row]:g} and "
            f"{read.said(metric + PERCENT)} is {100 * percents[row]:g}: they contradict each "
            "other. Leave one of them out"
        )


def _states(read: Table) -> pd.Series[Any]:
    """How every trial ended, NaN where nothing is said."""
    name = next((n for n in ("state", *_others_of_states(read)) if n in read.cells), None)
    states: list[Any] = []
    for line, text in zip(read.lines, read.cells[name] if name else read.lines, strict=True):
        state = str(text).lower() if name else ""
        if state not in _STATES and state not in MISSING:
            raise UserError(f"{read.path}, line {line}: {unknown('state', str(text), _STATES)}")
        states.append(state if state in _STATES else float("nan"))
    return pd.Series(states, read.cells.index, dtype=object)


def _others_of_states(read: Table) -> list[str]:
    """Columns of another name whose cells are states and nothing else, one at least."""
    return [
        str(name)
        for name in read.cells
        if plain_name(str(name)) in _STATE_NAMES
        and (said := set(read.cells[name].str.lower()) - MISSING)
        and said <= set(_STATES)
    ]


def _check_scored(ended: pd.DataFrame, plan: PlanRecord, read: Table) -> None:
    """No trial is dropped for want of a word: how it ended, and what guessing would score.

    A diverged trial counts with chance (see docs/statistics.md); left out, it makes its arm better
    than it is.
    """
    chance_is_known = any(arm.classes for arm in plan.arms)
    for claim in plan.judged:
        metric = claim.metric
        if metric is None or metric == "seconds":
            continue
        if ended[metric].isna().all():
            continue
        scored = set(ended.loc[ended[metric].notna(), "arm"])  # others have nothing to be judged by
        for row in ended[ended["arm"].isin(claim.arms)].itertuples():
            bare, at_end = pd.isna(getattr(row, metric)), claim.at == "last"
            where = f"{read.path}, line {row.line}: {row.arm}, seed {row.seed} has no {metric}"
            if row.state == "complete" and bare and at_end and row.arm in scored:
                raise UserError(
                    f"{where}, and nothing says why. In a column 'state' say whether it 'diverged' "
                    "(then it counts with chance) or 'failed' (then it does not count)"
                )
            unknown_chance = metric.endswith("accuracy") and not chance_is_known
            if row.state == "diverged" and unknown_chance and (bare or not at_end):
                raise UserError(
                    f"{where}: a diverged trial counts with chance, 1 of the number of classes, "
                    "which is not known: a column 'classes' says it"
                )


def _check_pairs(ended: pd.DataFrame, plan: PlanRecord, path: Path) -> None:
    """Claims that compare seed by seed have seeds in common."""
    seeds = {str(label): set(found) for label, found in ended.groupby("arm")["seed"]}
    for claim in filter(plan.in_pairs, plan.judged):
        arms = [label for label in claim.arms if label in seeds]
        if len(arms) > 1 and not set.intersection(*(seeds[a] for a in arms)):
            texts = "; ".join(f"{a} {', '.join(map(str, sorted(seeds[a])))}" for a in arms)
            raise UserError(
                f"{path}: claim {claim.name} compares arms seed by seed (paired), and "
                f"its arms have no seed in common: {texts}"
            )


def _least_steps(read: Table, ended: pd.DataFrame, plan: PlanRecord) -> pd.Series[float]:
    """How many test images scores are means over, or less where their digits tell no more apart.

    Raises:
        UserError: Scores are rounded so far that an arm's spread is lost, and the number of images
            is not known.
    """
    counts: pd.Series[float] = ended["test_images"].astype(float)
    for claim in plan.judged:
        metric = claim.metric or ""
        if not metric or (step := _step(read, metric)) is None:
            continue
        split = metric.partition("_")[0]
        counted = metric.endswith(("accuracy", "micro_f1"))
        images = f"{split}_images"
        # A file that tells the number itself has all its digits, trailing zeros left out.
        if counted and split == "test" and "test_images" not in read.cells:
            counts = counts.clip(upper=max(1, round(1 / step)))
        # Who says how many images there were knows what the digits are worth, as our own files do.
        if counts.notna().any() or (images in ended and ended[images].notna().any()):
            continue
        for label in claim.arms:
            scores = ended.loc[ended["arm"] == label, metric].dropna()
            if len(scores) > 1 and scores.std() < _LEAST_DIGITS * step:
                points = METRICS[metric].points
                unit = f"{100 * step:g} points" if points else f"{step:g}"
                raise UserError(
                    f"{read.path}: the values of {metric} of '{label}' are rounded to {unit}, and "
                    f"vary less than that. {_way_out(read, plan, images if counted else None)}"
                )
    return counts


def _way_out(read: Table, plan: PlanRecord, images: str | None) -> str:
    """What to do about rounded scores; `images` is the column that would tell their number."""
    if images is None:
        return "To judge them, give more digits"
    if images != "test_images":
        return f"To judge them, give more digits, or a column '{images}'"
    known = next((arm.test_images for arm in plan.arms if arm.test_images), None)
    here = f"; {read.path.name} may be of the study's own {known}" if known else ""
    return (
        "To judge them, say how many test images they are means over: --test-images N "
        f"(test_images=N){here}"
    )


def _step(read: Table, metric: str) -> float | None:
    """The least difference that a metric's digits can show, as a fraction of 1."""
    digits = [
        found + more
        for column, more in ((metric, 0), (metric + PERCENT, 2))  # digits of a fraction of 1
        if column in read.cells and (found := read.decimals(column)) is not None
    ]
    return 10.0 ** -max(digits) if digits else None


def _with_facts(arm: ArmRecord, ended: pd.DataFrame) -> ArmRecord:
    """An arm of the plan with what the file tells of its model and data."""
    rows = ended[ended["arm"] == arm.label]
    found = {name: rows[name].dropna() for name in OF_ARMS}
    told = {name: int(values.iloc[0]) for name, values in found.items() if len(values)}
    return arm.model_copy(update=told)


# -- times ---------------------------------------------------------------------------------


def _timed(plan: PlanRecord) -> list[tuple[str, TimeRecord]]:
    """The claims that are about a time, by name."""
    return [(claim.name, claim.time) for claim in plan.judged if claim.time]


def _check_claims_of_time(read: Table, plan: PlanRecord, *, by_epoch: bool) -> None:
    """The columns that claims of time need are there."""
    clocks = {"seconds": "seconds", "examples": "train_images" if by_epoch else "examples"}
    for name, time in _timed(plan):
        first = f"{time.split}_accuracy" if by_epoch else _target_column(time)
        for column in (first, clocks[time.clock]):
            if column not in read.cells and column + PERCENT not in read.cells:
                raise UserError(f"{read.path}: claim {name} needs the column '{column}'")


def _target_column(time: TimeRecord) -> str:
    return f"{time.clock}_to_{time.target:g}"


def _times(trials: pd.DataFrame, plan: PlanRecord) -> pd.DataFrame:
    """Times to the targets that the claims name."""
    parts = {}
    for _, time in _timed(plan):
        whole, times = trials[time.clock], trials[_target_column(time)]
        part = trials[["arm", "seed", "id"]].assign(
            split=time.split,
            target=time.target,
            reached=times.notna(),
            epochs=1,
            **{time.clock: times.where(times.notna(), whole)},
        )
        parts[time.clock, time.target, time.split] = part[trials["state"] != "pending"]
    columns = ["arm", "seed", "id", "split", "target", "reached", "epochs", "examples", "seconds"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts.values(), ignore_index=True)

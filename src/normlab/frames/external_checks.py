"""What a table of trials run elsewhere must say before it is judged."""

from __future__ import annotations

from pathlib import Path

from normlab.errors import UserError
from normlab.frames.external_table import PERCENT, Table
from normlab.lazy import pandas as pd
from normlab.metrics import METRICS
from normlab.records.plan import PlanRecord

_LEAST_DIGITS = 0.6  # of the last digit: a smaller standard deviation is made by rounding


def check_scored(ended: pd.DataFrame, plan: PlanRecord, read: Table) -> None:
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
            where = f"{read.where(int(str(row.row)))}: {row.arm}, seed {row.seed} has no {metric}"
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


def check_pairs(ended: pd.DataFrame, plan: PlanRecord, path: Path) -> None:
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


def least_steps(read: Table, ended: pd.DataFrame, plan: PlanRecord) -> pd.Series[float]:
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

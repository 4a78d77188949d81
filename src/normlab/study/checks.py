"""Mistakes that only a claim or a figure and the recipes of its arms together show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.errors import UserError
from normlab.metrics import METRICS, last_epochs
from normlab.recipe import Recipe
from normlab.records.plan import ClaimRecord, FigureRecord, PlanRecord


def check_record(record: PlanRecord, recipes: Mapping[str, Recipe]) -> None:
    """Refuse claims and figures whose numbers their arms cannot give.

    Args:
        record: The plan's.
        recipes: Of every arm by label.

    Raises:
        UserError: The message names the claim or the figure.
    """
    for claim in record.judged:
        check_claim(claim, recipes)
    for figure in record.figures:
        check_figure(figure, recipes, f"figure {figure.name}")
    # What is shown of every arm where the study lists no figures.
    shown = {"metric": record.analysis.metric, "at": record.analysis.at}
    check_figure(FigureRecord(name="", kind="dots", options=shown), recipes, "analysis")


def check_claim(claim: ClaimRecord, recipes: Mapping[str, Recipe]) -> None:
    """Refuse a claim whose numbers its arms cannot give.

    Args:
        claim: As recorded.
        recipes: Of every arm by label.

    Raises:
        UserError: An epoch beyond the training, validation scores without validation images, or
            running training scores of mixed images.
    """
    splits, needed = _needs(claim.metric, claim.at)
    if claim.time:
        splits.add(claim.time.split)
    for label in claim.arms:
        recipe, where = recipes[label], f"claim {claim.name}, arm '{label}'"
        if needed > recipe.epochs:
            raise UserError(f"{where}: epoch {needed} is beyond its {recipe.epochs} epochs")
        if "validation" in splits and not recipe.validation:
            raise UserError(f"{where}: it has no validation images (validation is 0)")
        mixes = [spec.kind for spec in recipe.augment if spec.kind in {"mixup", "cutmix"}]
        if "train" in splits and claim.metric != "train_loss" and mixes:
            raise UserError(f"{where}: running training scores mean nothing under {mixes[0]}")


def check_figure(record: FigureRecord, recipes: Mapping[str, Recipe], where: str) -> None:
    """Refuse a figure for which none of its arms can give a number.

    Args:
        record: The figure.
        recipes: Of every arm by label.
        where: What the message calls it.

    Raises:
        UserError: An epoch beyond every arm's training, or validation scores where no arm has
            validation images.
    """
    if record.unresolved:
        return
    figure: Mapping[str, Any] = record.options
    arms = [recipes[label] for label in figure.get("arms", recipes)]
    epochs, needed, splits = max(r.epochs for r in arms), 1, set(figure.get("splits", ()))
    metrics = figure.get("metrics", [figure.get("metric")])
    for metric in [*metrics, figure] if "target" in figure else metrics:
        if isinstance(metric, Mapping):
            splits.add(metric["split"])
            needed = max(needed, metric["hold"])
        elif metric in METRICS:
            of_metric, epoch = _needs(metric, figure.get("at", "last"))
            splits |= of_metric
            needed = max(needed, epoch)
    if needed > epochs:
        raise UserError(f"{where}: {needed} epochs are needed, and its arms train {epochs}")
    # Curves show the splits that are there.
    needs = splits == {"validation"} if record.kind == "curves" else "validation" in splits
    if needs and not any(recipe.validation for recipe in arms):
        raise UserError(f"{where}: no arm has validation images (validation is 0)")


def _needs(metric: str | None, at: str | int) -> tuple[set[str], int]:
    """The splits that a score at an epoch rests on, and how many epochs it needs.

    Args:
        metric: None for a time, which has a split of its own.
        at: As in `normlab.study.analysis.Analysis`.
    """
    if metric is not None and not METRICS[metric].per_epoch:
        at = "last"
    splits: set[str] = {metric.partition("_")[0]} if metric is not None else set()
    if at == "best_validation":
        splits.add("validation")
    return splits, at if isinstance(at, int) else last_epochs(at) or 1

"""Mistakes that only a claim, a figure or a published row and its arms' recipes together show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from normlab.errors import UserError
from normlab.figures import FIGURES
from normlab.figures.dots import Dots
from normlab.figures.figure import Figure, OfArms
from normlab.metrics import METRICS, split_and_epochs
from normlab.recipe import Recipe
from normlab.records.plan import ClaimRecord, PlanRecord, PublishedRecord


def check_record(record: PlanRecord, recipes: Mapping[str, Recipe]) -> None:
    """Refuse claims, figures and published measures whose numbers their arms cannot give.

    Args:
        record: The plan's.
        recipes: Of every arm by label.

    Raises:
        UserError: The message names the claim, the figure or the published row's arm.
    """
    for claim in record.judged:
        check_claim(claim, recipes)
        for other in record.analysis.alternatives:
            if (changed := claim.under(other)) is not None:
                name = f"{claim.name} ({other.name})"
                check_claim(changed.model_copy(update={"name": name}), recipes)
    for one in record.figures:
        if not one.unresolved:
            figure = FIGURES[one.kind].of(one)
            arms = figure.arms if isinstance(figure, OfArms) and figure.arms else recipes
            check_figure(figure, [recipes[str(label)] for label in arms], f"figure {one.name}")
    for row in record.published:
        check_published(row, recipes)
    # What is shown of every arm where the study lists no figures.
    analysis = record.analysis
    shown = Dots(kind="dots", metrics=(analysis.metric,), at=analysis.at)
    check_figure(shown, list(recipes.values()), "analysis")


def check_claim(claim: ClaimRecord, recipes: Mapping[str, Recipe]) -> None:
    """Refuse a claim whose numbers its arms cannot give.

    Args:
        claim: As recorded.
        recipes: Of every arm by label.

    Raises:
        UserError: An epoch beyond the training, validation scores without validation images, no
            sparsity recorded, or running training scores of mixed images.
    """
    if claim.time:
        splits, needed = {str(claim.time.split)}, 1
    else:
        splits, needed = split_and_epochs(str(claim.metric), claim.at)
    for label in claim.arms:
        recipe, where = recipes[label], f"claim {claim.name}, arm '{label}'"
        if needed > recipe.epochs:
            raise UserError(
                f"{where}: at is {claim.at}: epoch {needed} is beyond its {recipe.epochs} epochs: "
                f"give one up to {recipe.epochs}, or last"
            )
        if "validation" in splits and not recipe.validation:
            raise UserError(f"{where}: it has no validation images (validation is 0)")
        if claim.metric == "sparsity" and not records_sparsity(recipe):
            raise UserError(
                f"{where}: it records no sparsity: give every arm 'diagnostics: [sparsity]'"
            )
        mixes = [spec.kind for spec in recipe.augment if spec.kind in {"mixup", "cutmix"}]
        if "train" in splits and claim.metric != "train_loss" and mixes:
            raise UserError(f"{where}: running training scores mean nothing under {mixes[0]}")


def records_sparsity(recipe: Recipe) -> bool:
    """Whether its trials tell the share of weights near zero."""
    return bool(recipe.l1.strength) or "sparsity" in recipe.diagnostics


def check_published(row: PublishedRecord, recipes: Mapping[str, Recipe]) -> None:
    """Refuse a source's measure that its arms cannot give.

    Args:
        row: As recorded.
        recipes: Of every arm by label.

    Raises:
        UserError: An epoch beyond the training, or the best validation epoch without validation
            images.
    """
    if row.at is None or not any(name in METRICS for name in row.values):
        return
    _, needed = split_and_epochs("test_accuracy", row.at)
    for label in row.arms:
        recipe, where = recipes[label], f"published, arm '{label}': at is {row.at}"
        if needed > recipe.epochs:
            raise UserError(f"{where}: epoch {needed} is beyond its {recipe.epochs} epochs")
        if row.at == "best_validation" and not recipe.validation:
            raise UserError(f"{where}: it has no validation images (validation is 0)")


def check_figure(figure: Figure, recipes: Sequence[Recipe], where: str) -> None:
    """Refuse a figure for which none of its arms can give a number.

    Args:
        figure: What will be drawn.
        recipes: Of its arms.
        where: What the message calls it.

    Raises:
        UserError: An epoch beyond every arm's training, or validation scores where no arm has
            validation images.
    """
    splits, needed = figure.needs()
    epochs = max(recipe.epochs for recipe in recipes)
    if needed > epochs:
        raise UserError(f"{where}: {needed} epochs are needed, and its arms train {epochs}")
    if "validation" in splits and not any(recipe.validation for recipe in recipes):
        raise UserError(f"{where}: no arm has validation images (validation is 0)")

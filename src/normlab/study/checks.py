"""Mistakes that only a claim and the recipes of its arms together show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normlab.errors import UserError
from normlab.metrics import METRICS, last_epochs
from normlab.recipe import Recipe


def check_claim(claim: Mapping[str, Any], recipes: Mapping[str, Recipe]) -> None:
    """Refuse a claim whose numbers its arms cannot give.

    Args:
        claim: As recorded; see `normlab.study.resolve`.
        recipes: Of every arm by label.

    Raises:
        UserError: An epoch beyond the training, validation scores without validation images, or
            running training scores of mixed images.
    """
    if "unresolved" in claim:
        return
    at = claim["at"] if claim["metric"] is None or METRICS[claim["metric"]].per_epoch else "last"
    split = claim.get("split") or str(claim["metric"]).partition("_")[0]
    for label in dict.fromkeys(label for side in claim["sides"] for label in side):
        recipe, where = recipes[label], f"claim {claim['name']}, arm '{label}'"
        needed = at if isinstance(at, int) else last_epochs(at) or 1
        if needed > recipe.epochs:
            raise UserError(f"{where}: epoch {needed} is beyond its {recipe.epochs} epochs")
        if "validation" in (split, str(at).removeprefix("best_")) and not recipe.validation:
            raise UserError(f"{where}: it has no validation images (validation is 0)")
        mixes = [spec.kind for spec in recipe.augment if spec.kind in {"mixup", "cutmix"}]
        if split == "train" and claim["metric"] != "train_loss" and mixes:
            raise UserError(f"{where}: running training scores mean nothing under {mixes[0]}")

"""What a study does that its author may not mean: one sentence each, none of them an error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from normlab.recipe import Recipe
from normlab.recipe.norms import GhostBatchNorm
from normlab.study.outline import outline
from normlab.study.plan import Arm, Plan

_BY_BATCH = {"batch", "torch_batch", "batch_instance", "batch_renorm", "switchable", "evonorm_b0"}
"""Norms whose statistics are those of the batch."""

_SMALL = 8  # images whose statistics are mostly noise


def lint(plan: Plan) -> list[str]:
    """Everything that looks like a confound or a slip in a plan."""
    findings = (
        *_seeds(plan),
        *_updates(plan.arms),
        *_selection(plan.arms),
        *_batches(plan.arms),
        *_ghosts(plan.arms),
        *_penalties(plan.arms),
        *_contrasts(plan),
    )
    return list(dict.fromkeys(findings))


def ghost_size(recipe: Recipe) -> int | None:
    """Images in a split of ghost batch norm; None for other norms."""
    norm = recipe.norm
    if not isinstance(norm, GhostBatchNorm):
        return None
    return norm.ghost_size or math.ceil(recipe.batch_size / (norm.splits or 1))


def _seeds(plan: Plan) -> Iterator[str]:
    if len(plan.study.seeds) < 2:
        yield "one seed: no interval, and no claim can be settled"


def _updates(arms: Sequence[Arm]) -> Iterator[str]:
    alike: dict[tuple[float, int], set[int]] = {}
    for arm in arms:
        recipe = arm.recipe
        alike.setdefault((recipe.lr, recipe.epochs), set()).add(recipe.batch_size)
    for sizes in alike.values():
        if len(sizes) > 1:
            yield (
                f"batch sizes {_listed(sorted(sizes))} share one learning rate and number of "
                "epochs: their arms also differ in the number of updates and in the noise of each"
            )


def _selection(arms: Sequence[Arm]) -> Iterator[str]:
    without = [arm.label for arm in arms if not arm.recipe.validation]
    if without:
        yield f"no validation images ({_listed(without)}): nothing can be selected honestly"
    rules = {arm.label: arm.recipe.early_stopping for arm in arms}
    on_train = [label for label, rule in rules.items() if rule.patience and rule.split == "train"]
    if on_train:
        yield f"training stops by its own scores ({_listed(on_train)}), which overfitting improves"


def _batches(arms: Sequence[Arm]) -> Iterator[str]:
    for arm in arms:
        if arm.recipe.norm.kind in _BY_BATCH and arm.recipe.batch_size < _SMALL:
            kind, size = arm.recipe.norm.kind, arm.recipe.batch_size
            yield f"{arm.label}: {kind} norm takes its statistics from {size} images"


def _ghosts(arms: Sequence[Arm]) -> Iterator[str]:
    batches = {arm.recipe.batch_size for arm in arms if arm.recipe.norm.kind == "batch"}
    for arm in arms:
        size, batch = ghost_size(arm.recipe), arm.recipe.batch_size
        if size is None:
            continue
        if batch not in batches and size in batches:
            yield (
                f"{arm.label}: ghosts of {size} images in batches of {batch} beside batch norm at "
                f"{size}: the same noise of statistics, fewer updates"
            )
        if batch % size:
            yield f"{arm.label}: the last ghost of a batch has {batch % size} images, not {size}"


def _penalties(arms: Sequence[Arm]) -> Iterator[str]:
    for key in ("l1", "l2", "weight_decay"):
        penalties = {arm.label: getattr(arm.recipe, key) for arm in arms}
        found = [label for label, p in penalties.items() if p.strength and "norm_gain" in p.roles]
        if found:
            yield f"{key} acts on the norms' gains too ({_listed(found)})"


def _contrasts(plan: Plan) -> Iterator[str]:
    """Two sides of a claim that differ in more than one factor, and no confound is stated."""
    levels = {arm.label: arm.levels for arm in plan.arms}
    for claim in outline(plan.study)["claims"]:
        if claim["kind"] not in {"better", "equal", "faster"} or "unresolved" in claim:
            continue
        first, second = claim["sides"]
        keys = dict.fromkeys(key for label in (*first, *second) for key in levels[label])
        different = [k for k in keys if _values(levels, first, k) != _values(levels, second, k)]
        if len(different) > 1 and not claim["confound"]:
            yield f"claim {claim['name']}: its sides differ in {_listed(different)} at once"


def _values(levels: Mapping[str, Mapping[str, Any]], arms: Sequence[str], key: str) -> list[str]:
    return sorted({str(levels[label].get(key)) for label in arms})


def _listed(values: Iterable[Any], most: int = 4) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")

"""How seeds are planned for a claim: from the spreads of its contrasts to numbers of seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from normlab.stats.claims.verdict import Rules
from normlab.stats.contrasts import paired_values
from normlab.stats.intervals import Values, moments
from normlab.stats.power import Design, better_power, seeds_for_better, smallest_effect


class Planner(NamedTuple):
    """How seeds are planned for a row of the table; see `normlab.stats.power`.

    Attributes:
        seeds: Seeds per arm that show an effect of the margin (design, margin, alpha, power).
        smallest: Smallest effect, or margin, that seeds show (design, seeds, alpha, power).
        power: Chance to show it (design, margin, seeds, alpha).
        more: Seeds for a claim that is open: (design, margin, seen, now, alpha, power).
        truth: At what difference the claim is planned to be supported, in margins.
    """

    seeds: Callable[..., int | None]
    smallest: Callable[..., float]
    power: Callable[..., float]
    more: Callable[..., int | None]
    truth: float = 1.0


def more_for_better(
    design: Design, margin: float, seen: float, now: int, *, alpha: float, power: float
) -> int | None:
    """Seeds that the margin needs; if there are that many, what the difference seen needs."""
    seeds = seeds_for_better(design, margin, alpha=alpha, power=power)
    if seeds is None or seeds > now:
        return seeds
    return seeds_for_better(design, max(seen, margin - seen), alpha=alpha, power=power)


BETTER = Planner(seeds_for_better, smallest_effect, better_power, more_for_better)


def observed_designs(scores: Values, weights: Values, rules: Rules) -> list[Design]:
    """A claim's contrasts with the spreads that its trials show."""
    floor = rules.variance_floor
    if rules.relative:
        return [_relative_design(scores, row, rules) for row in weights]
    if rules.paired:
        values = moments(paired_values(scores, weights)).variance
        floors = floor * np.square(weights).sum(axis=1)
        return [
            Design((float(np.sqrt(variance)),), (1.0,), float(least))
            for variance, least in zip(values, floors, strict=True)
        ]
    spreads = np.sqrt(moments(scores).variance)
    return [Design(tuple(spreads[row != 0]), tuple(row[row != 0]), floor) for row in weights]


def _relative_design(scores: Values, row: Values, rules: Rules) -> Design:
    """A contrast's spreads as fractions of the mean that is compared with."""
    base = abs(float(np.nansum(np.maximum(-row, 0.0) * moments(scores).mean)))
    (plain,) = observed_designs(scores, row[None], replace(rules, relative=False))
    return Design(tuple(spread / base for spread in plain.spreads), plain.weights)


def planned_design(row: Values, spreads: Values, rules: Rules, correlation: float) -> Design:
    """A contrast (arms,) with the spreads (arms,) that are planned with.

    Args:
        row: Its weights.
        spreads: Standard deviation over seeds of each arm.
        rules: Say whether arms are paired.
        correlation: Of paired arms, between the scores of one seed.
    """
    used = row != 0
    if not rules.paired:
        return Design(tuple(spreads[used]), tuple(row[used]), rules.variance_floor)
    parts = row * spreads
    variance = (1 - correlation) * np.square(parts).sum() + correlation * parts.sum() ** 2
    floor = rules.variance_floor * float(np.square(row).sum())
    return Design((float(np.sqrt(variance)),), (1.0,), floor)

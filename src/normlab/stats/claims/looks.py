"""Verdicts on claims whose seeds are added at declared looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from normlab.stats.claims.claim import Claim
from normlab.stats.claims.judge import verdict
from normlab.stats.claims.verdict import Rules, Verdict
from normlab.stats.sequential import look_alphas
from normlab.stats.survival import Times

NOT_YET = "the first look at the results comes with more seeds"


def verdict_at_looks(
    claim: Claim,
    trials: npt.ArrayLike | Times,
    rules: Rules,
    looks: Sequence[int],
    rng: np.random.Generator | None = None,
) -> Verdict:
    """Judge a claim at each look taken so far, up to the first that settles it.

    Args:
        claim: What is said.
        trials: As for `verdict`, seeds in the order in which they were added; a look with more
            seeds than there are columns has not been taken.
        rules: `alpha` is the family's over all looks.
        looks: Seeds an arm of every look there will be.
        rng: As for `verdict`.

    Returns:
        The verdict of the look that settled the claim, on the seeds of that look; else that of the
        last look taken, with the seeds that would settle it at the last look of all.
    """
    shares = look_alphas(rules.alpha, looks)
    table = trials if isinstance(trials, Times) else np.asarray(trials, dtype=float)
    available = (table.times if isinstance(table, Times) else table).shape[1]
    taken = [seeds for seeds in looks if seeds <= available]
    for seeds, share in zip(taken or [available], shares, strict=False):
        part = table.first(seeds) if isinstance(table, Times) else table[:, :seeds]
        at_look = replace(rules, alpha=share)
        found = verdict(claim, part, at_look, rng, settle_alpha=shares[-1] / rules.family)
        if taken and found.verdict != "inconclusive":
            return found
    if not taken:
        reason = found.reason if min(found.seeds) < claim.fewest else NOT_YET
        return replace(
            found,
            verdict="inconclusive",
            size=None,
            reason=reason,
            pairs=(),
            candidates=claim.candidates,
        )
    return found

"""No claim is both supported and refuted: over random intervals, margins, levels and trials."""

import numpy as np
import pytest

from normlab.stats.claims import Best, Better, Equal, Interaction, MeanClaim, Ranking, Trend, decide
from normlab.stats.claims.rows import better_row, equal_row, every_row
from normlab.stats.contrasts import TEstimates

DRAWS = 20_000
CLAIMS: list[MeanClaim] = [
    Better(0, 1, 1.0),
    Equal(0, 1, 1.0),
    Best(0, (1, 2, 3), 1.0),
    Ranking((0, 1, 2, 3), 1.0),
    Trend((0, 1, 2, 3), 1.0),
    Interaction(0, 1, 2, 3, 1.0),
]


def intervals(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """On a coarse grid, so that limits fall on 0 and on the margin too."""
    center, half = rng.normal(0, 2, shape), rng.exponential(1, shape)
    return np.round(center - half, 1), np.round(center + half, 1)


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.0, 3.0])
def test_no_row_says_both(margin: float) -> None:
    rng = np.random.default_rng(0)
    low, high = intervals(rng, DRAWS)
    wider = np.round(rng.exponential(0.5, DRAWS), 1)
    outer = low - wider, high + wider
    for row in (better_row(low, high, margin), equal_row((low, high), outer, margin)):
        assert row.supported.any()
        assert row.refuted.any()
        assert not (row.supported & row.refuted).any()


def test_no_row_of_several_contrasts_says_both() -> None:
    rng = np.random.default_rng(1)
    low, high = intervals(rng, DRAWS, 3)
    row = every_row(low, high + np.round(rng.exponential(0.5, high.shape), 1))
    assert row.supported.any()
    assert row.refuted.any()
    assert not (row.supported & row.refuted).any()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.kind)
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.05 / 21])
def test_no_claim_is_both_at_any_level(claim: MeanClaim, alpha: float) -> None:
    rng = np.random.default_rng(2)
    shape = (DRAWS, len(claim.contrasts(4)))
    found = TEstimates(
        rng.normal(0, 3, shape), rng.exponential(1, shape), rng.uniform(1, 30, shape)
    )
    for margin in rng.exponential(2, size=5):
        row = claim.row(found, alpha, margin)
        assert not (row.supported & row.refuted).any()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.kind)
def test_a_claim_and_its_opposite_agree(claim: MeanClaim) -> None:
    rng = np.random.default_rng(3)
    shape = (DRAWS, len(claim.contrasts(4)))
    found = TEstimates(
        rng.normal(0, 3, shape), rng.exponential(1, shape), rng.uniform(1, 30, shape)
    )
    opposite = TEstimates(-found.estimate, found.se, found.df)
    ours, theirs = decide(claim, found, 0.05), decide(claim, opposite, 0.05)
    if claim.kind == "equal":
        assert (ours == theirs).all()
    else:
        assert not ((ours == 1) & (theirs == 1)).any()
    if claim.kind in {"better", "trend", "interaction"}:
        assert (theirs[ours == 1] == -1).all()

"""The sources' own figures are one run a cell: whatever they claim, one seed settles nothing."""

import numpy as np
import pytest

from normlab.stats import Times
from normlab.stats.claims import (
    Best,
    Better,
    Claim,
    Equal,
    Faster,
    Interaction,
    Ranking,
    Rules,
    Trend,
    verdict,
)
from normlab.stats.claims.claim import TOO_FEW

# ResNet-50, batch 64, two BN slots: no dropout, p = 0.2, 0.5, 0.8 in one slot, then in two.
RESNET = np.array([[0.7479], [0.7727], [0.777], [0.7433], [0.7839], [0.6376], [0.6433]])
SECONDS = np.array([[183.1], [271.2], [363.5], [645.6], [353.9], [842.1], [np.nan]])
# MNIST without regularization: batch, group, layer norm; with L2: layer norm.
MNIST = np.array([[0.9958], [0.9951], [0.9948], [0.9956]])
# 25 classes, validation: BIN, IN, LN, BN, GN, none.
CLASSES = np.array([[0.8274], [0.79614], [0.73719], [0.72292], [0.60133], [0.49732]])

CLAIMS: dict[str, tuple[Claim, np.ndarray]] = {
    "0.2 is the best probability": (Best(1, (2, 3), 0.003), RESNET),
    "dropout helps": (Better((1, 2), 0, 0.003), RESNET),
    "the more dropout the worse": (Trend((1, 2, 3), 0.003, (-0.2, -0.5, -0.8)), RESNET),
    "the fewer layers the better, at larger p": (Interaction(2, 5, 1, 4, 0.003), RESNET),
    "batch norm is the best": (Best(0, (1, 2), 0.001), MNIST),
    "layer norm is helped by L2": (Better(3, 2, 0.001), MNIST),
    "batch and group norm are equal": (Equal(0, 1, 0.001), MNIST),
    "BIN, IN, LN, BN, GN, none": (Ranking((0, 1, 2, 3, 4, 5), 0.003), CLASSES),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_published_claim_is_inconclusive_with_the_reason(name: str) -> None:
    claim, scores = CLAIMS[name]
    found = verdict(claim, scores, Rules(family=len(CLAIMS)))
    assert (found.verdict, found.reason) == ("inconclusive", TOO_FEW.format(3))


def test_so_is_a_published_time() -> None:
    times = Times(SECONDS, ~np.isnan(SECONDS), budget=4000.0)
    found = verdict(Faster(0, 1), times, Rules())
    assert (found.verdict, found.reason) == ("inconclusive", TOO_FEW.format(3))
    assert found.estimate == pytest.approx(271.2 - 183.1)
    assert verdict(Faster(0, 6), times, Rules()).verdict == "inconclusive"  # no time at all

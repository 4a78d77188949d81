"""What every kind of claim must do: one suite over the catalog.

A new kind is held to it by its planted truth in `benchmarks/planted.py` and its line in
`docs/claims.md`; nothing here names a kind.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.stats.test_planted import MOST, PLANTED

from normlab.records.plan import ClaimRecord, PlanRecord
from normlab.stats.claims import (
    CLAIMS,
    MeanClaim,
    Rules,
    Verdict,
    claim_from,
    plan_claim,
    predict,
    verdict,
)
from normlab.study.resolve import outline
from normlab.study.spec import Study

GUIDE = (Path(__file__).parents[3] / "docs" / "claims.md").read_text(encoding="utf-8")
FACTORS = {"norm": ["none", "batch", {"kind": "group", "groups": 4}], "batch_size": [4, 16, 64]}
KINDS = sorted(CLAIMS)


def example(kind: str) -> dict[str, object]:
    """The line of the guide."""
    (text,) = re.findall(rf"^\| `{kind}` \| .* \| `(.*)` \|$", GUIDE, re.M)
    found: dict[str, object] = yaml.safe_load(text)
    return found


def planned(kind: str, **changes: object) -> PlanRecord:
    base = {"data": "digits", "model": "digits-small"}
    content = {"name": "s", "question": "?", "base": base, "factors": FACTORS, "seeds": 5}
    return outline(Study.parse({**content, "claims": [{**example(kind), **changes}]}))


def record(kind: str, **changes: object) -> ClaimRecord:
    (found,) = planned(kind, **changes).judged
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_its_name_is_the_same_everywhere_and_it_says_what_it_is(kind: str) -> None:
    claim = CLAIMS[kind]
    assert claim.kind == kind == example(kind)["kind"]
    assert claim.Keys.title == f"claim '{kind}'"
    assert claim.__doc__
    assert claim.Keys.describe()


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_from_a_stored_plan_as_it_was(kind: str) -> None:
    made = planned(kind)
    back = PlanRecord.from_json(made.to_json())
    assert back == made
    assert claim_from(back.judged[0], back.labels) == claim_from(made.judged[0], made.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_words_leave_its_hash_alone_and_what_decides_changes_it(kind: str) -> None:
    hashed = record(kind).hash
    assert record(kind, name="other", says="Other words.", confound="x").hash == hashed
    assert record(kind, margin=0.9).hash != hashed


@pytest.mark.parametrize("kind", KINDS)
def test_every_contrast_compares_and_every_side_is_in_one(kind: str) -> None:
    found = record(kind)
    labels = planned(kind).labels
    claim = claim_from(found, labels)
    weights = claim.contrasts(len(labels))
    assert weights.shape == (max(1, len(claim.pairs)), len(labels))
    assert weights.sum(axis=1) == pytest.approx(0 if len(claim.sides) > 1 else 1)
    assert {labels[arm] for arm in claim.arms} == set(found.arms)
    assert set(np.flatnonzero(np.abs(weights).sum(axis=0))) <= set(claim.arms)


@pytest.mark.parametrize("kind", KINDS)
def test_its_numbers_have_units_and_an_axis(kind: str) -> None:
    found, claim = record(kind), CLAIMS[kind]
    assert claim.unit(found).name
    assert claim.planned_unit(found).text(found.margin)[0].isdigit()
    assert re.match(r"[A-Z]", claim.axis(found))


def verdicts(kind: str) -> list[Verdict]:
    """Verdicts on data that point the claim's way, against it, and nowhere."""
    labels = planned(kind).labels
    claim = claim_from(record(kind), labels)
    rules = Rules()
    if not isinstance(claim, MeanClaim):
        return []
    weights = claim.contrasts(len(labels))
    found = []
    for size in (20, -20, 0):
        means = np.linalg.lstsq(weights, np.full(len(weights), size * claim.margin))[0]
        noise = np.random.default_rng(0).normal(size=(len(labels), 5)) * 2 * claim.margin
        scores = claim.null + means[:, None] + noise
        found.append(claim.judge(scores, rules, np.random.default_rng(0)).verdict)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_verdict_has_a_reason_of_its_own(kind: str) -> None:
    for found in verdicts(kind):
        assert found.kind == kind
        assert len(found.reason) > 20
        assert found.p <= found.alpha or found.verdict == "inconclusive"
    reasons = {found.verdict: found.reason for found in verdicts(kind)}
    assert len(set(reasons.values())) == len(reasons)


def test_every_kind_has_a_planted_truth() -> None:
    assert {*PLANTED.PLANTED, *PLANTED.PLANTED_TIMES} == {*CLAIMS}


@pytest.mark.parametrize("kind", sorted(PLANTED.PLANTED))
@pytest.mark.parametrize("seeds", [3, 5])
def test_it_errs_no_more_often_than_it_says(kind: str, seeds: int) -> None:
    cell = PLANTED.Cell("normal", 4, seeds, 1000)
    truth = PLANTED.PLANTED[kind](4, 0.01)
    if seeds < truth.true[0].fewest:
        scores = cell.scores(truth.true[1])[0]
        assert verdict(truth.true[0], scores, Rules()).verdict == "inconclusive"
        return
    for claim, shift in truth.false:
        assert cell.share(claim, shift, 1) <= MOST
    assert cell.share(*truth.true, -1) <= MOST


@pytest.mark.parametrize("kind", sorted(PLANTED.PLANTED_TIMES))
def test_it_errs_no_more_often_on_times(kind: str) -> None:
    studies = 100
    most = 0.05 + 3 * (0.05 * 0.95 / studies) ** 0.5
    assert max(PLANTED.PLANTED_TIMES[kind](4, studies)) <= most


@pytest.mark.parametrize("kind", sorted(PLANTED.PLANTED))
def test_the_power_that_is_planned_is_the_power_there_is(kind: str) -> None:
    """The claim at the difference that it is planned for, simulated."""
    margin, seeds, rules = 0.01, 6, Rules()
    claim = PLANTED.PLANTED[kind](4, margin).true[0]
    spreads = np.full(4, 0.006)
    found = plan_claim(claim, spreads, seeds, rules)
    weights = claim.contrasts(4)
    effect = margin * claim.planner.truth
    means = claim.null + np.linalg.lstsq(weights, np.full(len(weights), effect))[0]
    rng = np.random.default_rng(7)
    chances = predict(claim, means, spreads, seeds, rules=rules, rng=rng, draws=4000)
    # Of several pairs the plan promises at least that.
    assert found.power <= chances.supported + 0.03
    if len(weights) == 1:
        assert found.power == pytest.approx(chances.supported, abs=0.03)

"""What a reader must know beside the numbers: arms that are one, rules at rest, mixed machines."""

from typing import Any

import pandas as pd
import pytest

from normlab.frames import Frames
from normlab.reports import notices
from tests.plans import plan_of

PLACE = {"device": "cpu", "chip": "A", "threads": 1, "backend": "cpu (AVX2)", "bits": "x"}


def check(name: str, acted: bool | None) -> dict[str, Any]:
    return {"name": name, "declared": "d", "found": "f", "live": True, "acted": acted}


def frames(*trials: dict[str, Any]) -> Frames:
    """Trials given as arm, seed and whatever else; each with weights of its own if none are."""
    rows = [
        {
            "state": "complete",
            "weights_sha256": f"w{number}",
            "checks": [],
            "provenance": [PLACE],
            **trial,
        }
        for number, trial in enumerate(trials)
    ]
    arms = dict.fromkeys(trial["arm"] for trial in trials)
    return Frames(plan_of(arms), pd.DataFrame(rows), pd.DataFrame())


def test_a_study_with_nothing_of_it_has_none() -> None:
    assert notices(frames({"arm": "a", "seed": 0}, {"arm": "b", "seed": 0})) == []


def test_arms_with_the_very_same_weights_are_named() -> None:
    arms = [{"arm": arm, "seed": s, "weights_sha256": f"s{s}"} for arm in "ab" for s in (0, 1)]
    other = [{"arm": "c", "seed": s} for s in (0, 1)]
    assert notices(frames(*arms, *other)) == [
        "a and b ended with the very same weights with every seed: what these arms declare "
        "differently changed nothing in training"
    ]


def test_of_arms_that_are_alike_with_some_seeds_the_seeds_are_named() -> None:
    one = [{"arm": arm, "seed": 1, "weights_sha256": "same"} for arm in "ab"]
    (says,) = notices(frames(*one, {"arm": "a", "seed": 0}, {"arm": "b", "seed": 0}))
    assert "a and b ended with the very same weights with seeds 1:" in says


def test_equal_weights_of_two_seeds_are_no_matter_of_arms() -> None:
    same = [{"arm": "a", "seed": s, "weights_sha256": "same"} for s in (0, 1)]
    assert notices(frames(*same)) == []


def test_trials_that_count_for_nothing_are_left_out() -> None:
    same = {"seed": 0, "weights_sha256": "same"}
    assert notices(frames({"arm": "a", **same}, {"arm": "b", **same, "state": "invalid"})) == []


@pytest.mark.parametrize(
    ("acted", "says"),
    [
        ((False, False), ["a: schedule never acted in its 2 trials: f"]),
        ((False, True), []),
        ((None, None), []),
    ],
)
def test_a_rule_that_acted_in_no_trial_of_an_arm(acted: tuple[Any, ...], says: list[str]) -> None:
    trials = [
        {"arm": "a", "seed": seed, "checks": [check("schedule", each)]}
        for seed, each in enumerate(acted)
    ]
    assert notices(frames(*trials)) == says


def test_checks_of_an_older_normlab_say_nothing_of_it() -> None:
    old = {k: v for k, v in check("schedule", None).items() if k != "acted"}
    assert notices(frames({"arm": "a", "seed": 0, "checks": [old]})) == []


def test_an_arm_that_mixes_machines_is_named() -> None:
    trials = [
        {"arm": arm, "seed": seed, "provenance": [{**PLACE, "threads": seed + 1, "bits": seed}]}
        for arm in "ab"
        for seed in (0, 1)
    ]
    assert notices(frames(*trials)) == [
        "trials were trained with different threads: 1 (2) and 2 (2); mixed within a and b"
    ]


def test_arms_from_different_machines_may_differ_by_them() -> None:
    other = {**PLACE, "backend": "cpu (AVX512)"}
    (says,) = notices(
        frames({"arm": "a", "seed": 0}, {"arm": "b", "seed": 0, "provenance": [other]})
    )
    assert says == (
        "trials were trained with different kernels: cpu (AVX2) (1) and cpu (AVX512) (1); arms are "
        "not alike in it, so a difference between them may come from it"
    )


def test_bits_alone_tell_what_no_other_field_does() -> None:
    trials = [{"arm": "a", "seed": s, "provenance": [{**PLACE, "bits": s}]} for s in (0, 1)]
    (says,) = notices(frames(*trials))
    assert "different bits of a sample computation: 0 (1) and 1 (1); mixed within a" in says


def test_what_an_older_record_does_not_tell_is_no_difference() -> None:
    old = {"device": "cpu", "chip": "A", "threads": 1}
    trials = [{"arm": "a", "seed": 0}, {"arm": "a", "seed": 1, "provenance": [old]}]
    assert notices(frames(*trials)) == []


def test_a_table_from_elsewhere_has_neither_weights_nor_places() -> None:
    bare = pd.DataFrame([{"arm": "a", "seed": 0, "state": "complete"}])
    assert notices(Frames(plan_of("a"), bare, pd.DataFrame())) == []

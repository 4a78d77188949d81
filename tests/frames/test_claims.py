"""Claims judged on stored trials: the arrays, the verdicts' table, and what is exploratory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from normlab.errors import UserError
from normlab.frames import Frames, claim_plans, claim_table, frames_from_csv, load_frames
from normlab.frames.claim_words import published_text
from normlab.frames.collapses import collapse_table, without_collapsed
from normlab.frames.scores import score_array, trials_of
from normlab.records import EpochRecord, TrialResult
from normlab.records.plan import ArmRecord, Declaration, TrialRecord, UnresolvedClaim
from normlab.stats import Times
from normlab.store import Store, TrialRow
from normlab.study.resolve import outline
from normlab.study.spec import Study

BETTER = {"kind": "better", "arm": "b", "over": "a", "name": "c"}
SCORES = {"a": [0.90, 0.91, 0.92], "b": [0.94, 0.95, 0.97]}


def study(*claims: dict[str, object], seeds: int = 3, **values: object) -> Study:
    content = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small"},
        "arms": [{"label": "a"}, {"label": "b", "set": {"lr": 0.5}}],
        "seeds": seeds,
        "claims": list(claims or [BETTER]),
        **values,
    }
    return Study.parse(content)


def frames(
    made: Study,
    scores: dict[str, list[float | None]] = SCORES,  # type: ignore[assignment]
    states: dict[tuple[str, int], str] | None = None,
) -> Frames:
    rows, epochs = [], []
    for arm, values in scores.items():
        for seed, value in enumerate(values):
            state = (states or {}).get((arm, seed), "complete" if value is not None else "failed")
            ids = {"arm": arm, "seed": seed, "id": f"{arm}{seed}"}
            rows.append(
                {**ids, "state": state, "test_accuracy": value, "test_images": 1000,
                 "train_images": 500, "seconds": 20.0, "epoch": 2, "gap": 0.01}
            )  # fmt: skip
            for epoch, train in ((1, 0.5), (2, 0.9 if arm == "b" else 0.6)):
                epochs.append(
                    {**ids, "epoch": epoch, "seconds": 10.0, "train_accuracy": train,
                     "validation_accuracy": 1 - epoch / 10, "test_accuracy": (value or 0) - epoch}
                )  # fmt: skip
    plan = outline(made)
    arms = tuple(arm.model_copy(update={"classes": 10}) for arm in plan.arms)
    return Frames(plan.model_copy(update={"arms": arms}), pd.DataFrame(rows), pd.DataFrame(epochs))


def test_scores_are_arms_by_seeds_with_nan_for_what_does_not_count() -> None:
    made = frames(study(), {"a": [0.9, None, 0.8], "b": [0.7, 0.6, 0.5]}, {("b", 1): "invalid"})
    expected = [[0.9, np.nan, 0.8], [0.7, np.nan, 0.5]]
    np.testing.assert_array_equal(score_array(made, "test_accuracy", "last"), expected)


def test_a_diverged_trial_without_a_score_has_chance() -> None:
    made = frames(study(), {"a": [0.9, None], "b": [0.7, 0.6]}, {("a", 1): "diverged"})
    assert score_array(made, "test_accuracy", "last")[0].tolist() == [0.9, 0.1]


def test_scores_may_be_of_another_epoch_and_less_may_be_better() -> None:
    made = frames(study())
    assert score_array(made, "test_accuracy", 1)[1, 0] == pytest.approx(0.94 - 1)
    best = score_array(made, "test_accuracy", "best_validation")  # the first epoch has 0.9
    assert best[1, 0] == pytest.approx(0.94 - 1)
    assert score_array(made, "gap", "last")[0, 0] == -0.01


def test_the_worst_of_the_last_epochs_is_the_lowest_score_or_the_highest_loss() -> None:
    made = frames(study())
    curve = [0.5, 0.8, 0.7, 0.9]
    epochs = pd.DataFrame(
        {"arm": "b", "seed": 0, "id": "b0", "epoch": range(1, 5), "test_accuracy": curve,
         "test_loss": [9.0, 2.0, 3.0, 1.0]}
    )  # fmt: skip
    made = replace(made, epochs=epochs.iloc[::-1])
    assert score_array(made, "test_accuracy", "worst_of_last_3")[1, 0] == 0.7
    assert score_array(made, "test_accuracy", "worst_of_last_1")[1, 0] == 0.9
    assert score_array(made, "test_loss", "worst_of_last_2")[1, 0] == -3.0


def test_times_are_censored_at_the_longest_training() -> None:
    claim = {"kind": "faster", "arm": "b", "than": "a", "target": 0.8, "split": "train"}
    made = frames(study(claim))
    found = trials_of(made, made.plan.judged[0])
    assert isinstance(found, Times)
    assert found.reached.tolist() == [[False] * 3, [True] * 3]
    assert found.times.tolist() == [[20.0] * 3, [20.0] * 3]
    assert (found.budget, found.resolution) == (20.0, 10.0)


def test_a_verdict_is_welch_s_interval_at_the_family_s_share() -> None:
    made = frames(study(BETTER, {**BETTER, "name": "d", "margin": 3}))
    first, second = claim_table(made).to_dict("records")
    reference = stats.ttest_ind(SCORES["b"], SCORES["a"], equal_var=False)
    low, high = reference.confidence_interval(0.975)
    assert (first["low"], first["high"]) == pytest.approx((low, high), rel=1e-6)
    assert first["p"] == pytest.approx(reference.pvalue)
    assert first["alpha"] == 0.025
    assert (first["verdict"], second["margin"]) == ("supported", 0.03)
    assert first["measured"].startswith("+4.33 points (97.5 %:")


def of_four(*claims: dict[str, object], seeds: int = 3) -> list[dict[str, Any]]:
    """Verdicts on claims about four arms: d above b, c and a, which is as good as c but noisier."""
    rates = {"a": 0.1, "b": 0.2, "c": 0.1, "d": 0.3}
    arms = [{"label": arm, "set": {"lr": lr}} for arm, lr in rates.items()]
    made = study(*claims, seeds=seeds, arms=arms)
    scores = {
        "a": [0.807, 0.813, 0.810], "b": [0.850, 0.851, 0.852], "c": [0.811, 0.810, 0.812],
        "d": [0.900, 0.901, 0.902],
    }  # fmt: skip
    table = claim_table(frames(made, {arm: values[:seeds] for arm, values in scores.items()}))
    return table.to_dict("records")


def test_a_ranking_says_which_pairs_hold_and_which_one_the_numbers_are_of() -> None:
    reverse, still_open, holds = of_four(
        {"kind": "ranking", "order": ["d", "c", "b", "a"]},
        {"kind": "ranking", "order": ["d", "b", "a", "c"]},
        {"kind": "ranking", "order": ["d", "b", "c"]},
    )
    assert reverse["verdict"] == "refuted"
    assert reverse["measured"].endswith("), c over b")
    assert reverse["detail"] == "In order: d over c, b over a. In reverse: c over b."
    assert still_open["verdict"] == "inconclusive"
    assert still_open["measured"].endswith("), a over c")
    assert still_open["detail"] == "In order: d over b, b over a. Open: a over c."
    assert holds["verdict"] == "supported"
    assert holds["measured"].endswith("), b over c")
    assert holds["detail"] == ""


def test_the_best_one_says_what_is_better_and_what_could_be_it() -> None:
    beaten, still_open, holds = of_four(
        {"kind": "best", "arm": "b"},
        {"kind": "best", "arm": "c", "over": ["a"]},
        {"kind": "best", "arm": "d"},
    )
    assert beaten["measured"].endswith("), b over d")
    assert beaten["detail"] == "Better: d. Could be the best: d."
    assert still_open["verdict"] == "inconclusive"
    assert still_open["detail"] == "Could be the best: c, a."
    assert (holds["verdict"], holds["detail"]) == ("supported", "")
    assert holds["measured"].endswith("), d over b")


def test_one_run_has_no_detail_but_says_which_pair_it_shows() -> None:
    ranking, best = of_four(
        {"kind": "ranking", "order": ["d", "c", "b", "a"]}, {"kind": "best", "arm": "b"}, seeds=1
    )
    assert ranking["measured"] == "-3.9 points, c over b"
    assert best["measured"] == "-5 points, b over d"
    assert (ranking["detail"], best["detail"]) == ("", "")


def test_a_side_of_several_arms_is_named_as_their_mean() -> None:
    (row,) = of_four({"kind": "ranking", "order": [{"lr": 0.1}, "b", "d"]})
    assert row["detail"] == "In reverse: the mean over a and 1 more over b, b over d."


def test_a_race_says_how_many_arrived() -> None:
    claim = {"kind": "faster", "arm": "b", "than": "a", "target": 0.8, "split": "train"}
    (row,) = claim_table(frames(study(claim))).to_dict("records")
    assert row["detail"] == "Reached the target: a 0 of 3, b 3 of 3."


def test_invalid_and_failed_trials_are_said() -> None:
    made = frames(study(), {"a": [0.9, None, 0.8], "b": [0.7, 0.6, 0.5]}, {("b", 1): "invalid"})
    (row,) = claim_table(made).to_dict("records")
    assert row["left_out"] == "1 failed, 1 invalid"
    assert row["seeds"] == 2


def test_a_claim_a_variant_lacks_is_named_and_not_judged() -> None:
    made = study().vary(seeds=2)
    lacking = UnresolvedClaim(name="c", kind="best", unresolved="no arm")
    plan = outline(made).model_copy(update={"claims": (lacking,)})
    (row,) = claim_table(replace(frames(study()), plan=plan)).to_dict("records")
    assert (row["verdict"], row["reason"]) == ("not in this variant", "no arm")


def test_the_published_numbers_are_the_claim_s_own_or_those_of_its_arms() -> None:
    published = [
        {"arm": "a", "values": {"test_accuracy": 99.1, "test_loss": 0.1}},
        {"arm": "b", "values": {"test_accuracy": 99.5}},
    ]
    plan = outline(study(published=published))
    (record,) = plan.judged
    assert published_text(plan, record) == "a 99.1, b 99.5"
    assert (
        published_text(plan, record.model_copy(update={"published": {"both": "better"}}))
        == "both better"
    )
    assert published_text(outline(study()), record) == ""


def test_numbers_of_the_last_epoch_are_none_of_a_claim_s_first_one() -> None:
    rows = [{"arm": arm, "at": "last", "values": {"test_accuracy": 99}} for arm in "ab"]
    plan = outline(study(published=rows))
    (record,) = plan.judged
    assert published_text(plan, record.model_copy(update={"at": "best_validation"})) == (
        "a 99.0, b 99.0"
    )
    assert published_text(plan, record.model_copy(update={"at": 1})) == ""


# -- exploratory: what was declared when results were first seen ------------------------------


def record_plan(store: Store, made: Study) -> None:
    plan = outline(made)
    arms = tuple(
        ArmRecord(
            label=arm.label,
            parameters=1,
            epochs=1,
            classes=10,
            trials=tuple(TrialRecord(seed=s, id=f"{arm.label}{s}") for s in made.seeds),
        )
        for arm in plan.arms
    )
    rows = [
        TrialRow(id=f"{label}{s}", recipe={}, seed=s, data_digest="d", semantics=1)
        for label in "ab"
        for s in made.seeds
    ]
    store.record_plan(plan.model_copy(update={"arms": arms}), rows)


def finish(store: Store, made: Study) -> None:
    """Finish every trial that is not, then look."""
    record_plan(store, made)
    ids = [f"{label}{seed}" for label in "ab" for seed in made.seeds]
    for number, trial in enumerate(ids):
        if store.states([trial])[trial] != "pending":
            continue
        store.start(trial, {}, 0)
        numbers = dict.fromkeys(
            [
                f"{s}_{m}"
                for s in ("train", "validation", "test")
                for m in ("loss", "accuracy", "macro_f1", "micro_f1")
            ],
            0.5 + number / 100,
        )
        store.add_epoch(
            trial, EpochRecord(epoch=1, lr=0.1, seconds=1, examples_per_second=1, **numbers)
        )  # type: ignore[arg-type]
        result = TrialResult(
            state="complete", epochs=1, parameters=1, weights_sha256="", train_images=5,
            validation_images=5, test_images=5,
        )  # fmt: skip
        store.finish(trial, result, [])
    store.add_look(outline(made).declaration, ids)


def exploratory(store: Store) -> list[str | None]:
    return claim_table(load_frames(store))["exploratory"].tolist()


def test_what_was_planned_before_the_look_is_not_exploratory(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study())
        finish(store, study())  # looked at twice, nothing changed
        assert exploratory(store) == [None]


def test_a_claim_stated_after_a_look_is_exploratory(tmp_path: Path) -> None:
    later = {"kind": "equal", "arm": "a", "to": "b", "name": "later"}
    with Store.write(tmp_path) as store:
        finish(store, study())
        finish(store, study(BETTER, later))
        first, second = exploratory(store)
    assert pd.isna(first)
    assert "before it was stated" in str(second)


def test_another_margin_after_a_look_is_another_claim(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study())
        finish(store, study({**BETTER, "margin": 5}))
        assert "before it was stated" in str(exploratory(store)[0])


def test_seeds_added_after_a_look_are_exploratory(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study(seeds=2))
        finish(store, study(seeds=4))
        assert "when 2 seeds were planned; now there are 4" in str(exploratory(store)[0])


def test_seeds_added_at_the_declared_looks_are_not(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study().at_look(3, (3, 4)))
        finish(store, study().at_look(4, (3, 4)))
        assert exploratory(store) == [None]


def test_looks_declared_after_a_look_are_exploratory(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study(seeds=3))
        finish(store, study().at_look(4, (3, 4)))
        assert "other looks" in str(exploratory(store)[0])


@pytest.mark.parametrize("changed", [{"alpha": 0.2}, {"paired": True}])
def test_another_test_after_a_look_is_exploratory(
    changed: dict[str, object], tmp_path: Path
) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study())
        finish(store, study(analysis=changed))
        assert "another alpha or other pairs" in str(exploratory(store)[0])


def test_a_claim_dropped_after_a_look_makes_the_others_exploratory(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study(BETTER, {"kind": "equal", "arm": "a", "to": "b"}))
        finish(store, study())
        assert "when 2 claims were declared; 1 are left" in str(exploratory(store)[0])


def test_another_study_s_look_makes_no_bundled_claim_exploratory(tmp_path: Path) -> None:
    """Trials that came from another bundled study were seen there: that changed no release."""
    bundled = study().model_copy(update={"bundled": True})
    with Store.write(tmp_path) as store:
        finish(store, bundled)
        store.add_look(Declaration(), ["a0", "b1"])
        assert exploratory(store) == [None]


def test_a_study_of_one_s_own_is_exploratory_after_another_s_look(tmp_path: Path) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study())
        store.add_look(Declaration(), ["a0", "b1"])
        assert "before it was stated" in str(exploratory(store)[0])


@pytest.mark.parametrize(
    ("declared", "first", "why"),
    [("0.2", 100, "seeds below 100"), (None, 100, None), (None, 0, None)],
)
def test_a_claim_declared_later_is_one_on_fresh_seeds_alone(
    declared: str | None, first: int, why: str | None
) -> None:
    claim = BETTER if declared is None else {**BETTER, "declared": declared}
    made = study(claim, seeds=3, first_seed=first).model_copy(update={"bundled": True})
    (row,) = claim_table(frames(made)).to_dict("records")
    assert (why is None) == (row["exploratory"] is None)
    assert (why or "") in str(row["exploratory"])


# -- collapses --------------------------------------------------------------------------------


def test_trials_below_twice_chance_are_counted_and_left_out_of_the_second_table() -> None:
    made = frames(study(), {"a": [0.15, 0.9, 0.19], "b": [0.7, 0.6, 0.21]})
    table = collapse_table(made)
    assert table["collapsed"].tolist() == [2, 0]
    left = without_collapsed(made).trials
    assert left[left["state"] == "complete"]["id"].tolist() == ["a1", "b0", "b1", "b2"]


# -- planning ---------------------------------------------------------------------------------


def test_a_plan_without_a_spread_says_nothing_of_effects() -> None:
    (row,) = claim_plans(outline(study())).to_dict("records")
    assert row["spread"] is None or np.isnan(row["spread"])
    assert row["settles"]


def test_a_stated_spread_plans_the_protocol_s_37_seeds() -> None:
    made = study(seeds=5, analysis={"spread": 0.45, "margin": 0.3})
    (row,) = claim_plans(outline(made)).to_dict("records")
    assert (row["source"], row["seeds_needed"]) == ("stated", 37)


def test_a_pilot_s_spread_goes_before_the_stated_one() -> None:
    made = study(analysis={"spread": 0.45})
    (row,) = claim_plans(outline(made), frames(made)).to_dict("records")
    pooled = ((np.var(SCORES["a"], ddof=1) + np.var(SCORES["b"], ddof=1)) / 2) ** 0.5
    assert row["source"] == "pilot"
    assert row["spread"] == pytest.approx(pooled)


# -- trials run elsewhere ---------------------------------------------------------------------


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trials.csv"
    path.write_text(text)
    return path


def by_norm(*claims: dict[str, object]) -> Study:
    factors = {"norm": ["batch", {"kind": "group", "groups": 4}]}
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "group"}, "name": "c"}
    return study(*(claims or (claim,)), arms=[], factors=factors)


def test_a_file_of_trials_is_judged_like_a_store(tmp_path: Path) -> None:
    text = "norm,seed,test_accuracy_percent\n" + "".join(
        f"{norm},{seed},{100 * score}\n"
        for norm, arm in (("batch", "b"), ("group", "a"))
        for seed, score in enumerate(SCORES[arm])
    )
    made = frames_from_csv(csv(tmp_path, text), outline(by_norm()), test_images=1000)
    (row,) = claim_table(made).to_dict("records")
    low, high = stats.ttest_ind(SCORES["b"], SCORES["a"], equal_var=False).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-6)


def test_one_row_an_arm_is_inconclusive_with_the_reason(tmp_path: Path) -> None:
    text = "norm,test_accuracy\nbatch,0.9958\ngroup,0.9951\n"
    (row,) = claim_table(frames_from_csv(csv(tmp_path, text), outline(by_norm()))).to_dict(
        "records"
    )
    assert row["verdict"] == "inconclusive"
    assert "fewer than 3 seeds" in row["reason"]


def test_times_to_a_target_come_from_their_own_column(tmp_path: Path) -> None:
    claim = {"kind": "faster", "arm": {"norm": "batch"}, "than": {"norm": "group"}, "target": 0.87}
    text = "norm,test_accuracy,seconds,seconds_to_0.87\nbatch,0.9,100,20\ngroup,0.8,90,\n"
    made = frames_from_csv(csv(tmp_path, text), outline(by_norm(claim)))
    found = trials_of(made, made.plan.judged[0])
    assert isinstance(found, Times)
    assert found.times.tolist() == [[20.0], [100.0]]
    assert found.reached.tolist() == [[True], [False]]


def test_two_claims_may_share_a_target_and_the_whole_time_is_needed(tmp_path: Path) -> None:
    claim = {"kind": "faster", "arm": {"norm": "batch"}, "than": {"norm": "group"}, "target": 0.87}
    back = {**claim, "arm": {"norm": "group"}, "than": {"norm": "batch"}}
    plan = outline(by_norm(claim, back))
    text = "norm,test_accuracy,seconds,seconds_to_0.87\nbatch,0.9,100,20\ngroup,0.8,90,\n"
    assert len(claim_table(frames_from_csv(csv(tmp_path, text), plan))) == 2
    with pytest.raises(UserError, match="needs the column 'seconds'"):
        frames_from_csv(csv(tmp_path, text.replace(",seconds,", ",total,")), plan)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("test_accuracy\n0.9\n", "no column 'norm'"),
        ("norm,test_accuracy\nlayer,0.9\n", "line 2.*fits no arm.*batch"),
        ("norm,test_accuracy\nbatch,99.5\n", "fractions of 1 are needed"),
        ("norm,test_accuracy\nbatch,-0.5\n", "line 2: test_accuracy is -0.5: at least 0 is needed"),
        (
            "norm,test_accuracy_percent\nbatch,99\nbatch,-5\n",
            "line 3: test_accuracy_percent is -5: at least 0 is needed",
        ),
        (
            "norm,test_accuracy_percent\nbatch,9900\n",
            "line 2: test_accuracy_percent is 9900, above 100",
        ),
        ("norm,test_acc\nbatch,0.5\n", "Is 'test_acc' meant as 'test_accuracy'?"),
        ("norm,accuracy\nbatch,0.9\n", "has no metric"),
        ("norm,seed,test_accuracy\nbatch,0,0.9\nbatch,0,0.8\n", "seed 0 is there twice"),
        ("norm,state,test_accuracy\nbatch,done,0.9\n", "unknown state 'done'"),
        ("arm,test_accuracy\nbatsh,0.9\n", "unknown arm 'batsh'"),
        ("", "cannot be read"),
        ("norm,test_accuracy\nbatch,90.1%\n", "line 2: test_accuracy is '90.1%'"),
        ("norm,seed,test_accuracy\nbatch,,0.9\n", "a row has no seed"),
        ("norm,seed,test_accuracy\nbatch,one,0.9\n", "line 2: seed is 'one'"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        frames_from_csv(csv(tmp_path, text), outline(by_norm()))

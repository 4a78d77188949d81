"""What a claim of a study file may say: sides, places, cells, pairs, epochs, releases."""

import json
from typing import Any

import pandas as pd
import pytest
from tests.frames.test_claims import BETTER, finish, frames, study

from normlab.errors import UserError
from normlab.frames import Frames, claim_plans, claim_table, frames_from_csv, load_frames
from normlab.frames.answer import answer
from normlab.frames.robustness import robustness
from normlab.records.plan import Declaration, PlanRecord
from normlab.store import Store
from normlab.study.resolve import outline
from normlab.study.spec import Study

GRID = {"norm": ["batch", "none"], "batch_size": [4, 64]}
MEANS = {("batch", 4): 0.90, ("batch", 64): 0.95, ("none", 4): 0.92, ("none", 64): 0.85}


def gridded(*claims: dict[str, object], **values: object) -> Study:
    content = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small", "epochs": 2},
        "factors": GRID,
        "seeds": 5,
        "claims": list(claims),
        **values,
    }
    return Study.parse(content)


def table(made: Study, tmp_path: Any, means: dict[tuple[str, int], float] = MEANS) -> Frames:
    lines = ["norm,batch_size,seed,test_accuracy,test_loss,seconds,test_images"]
    for (norm, size), mean in means.items():
        for seed in range(5):
            off = (seed - 2) / 1000
            lines.append(
                f"{norm},{size},{seed},{mean + off},{1 - mean - off / 2},{100 * mean + seed},1000"
            )
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return frames_from_csv(tmp_path / "t.csv", outline(made))


def rows(frames: Frames) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in claim_table(frames).to_dict("records")]


def test_a_list_of_arms_is_a_side_and_within_narrows_both(tmp_path: Any) -> None:
    many = {
        "kind": "better",
        "arm": [{"norm": "batch", "batch_size": 64}, {"norm": "none", "batch_size": 4}],
        "over": {"norm": "none", "batch_size": 64},
    }
    within = {"kind": "best", "arm": {"norm": "batch"}, "within": {"batch_size": 64}}
    first, second = rows(table(gridded(many, within), tmp_path))
    assert first["estimate"] == pytest.approx((0.95 + 0.92) / 2 - 0.85)
    assert first["sentence"].startswith(
        "The mean of BatchNorm, batch size 64 and no norm, batch size 4 beats no norm, batch size 64"
    )
    assert second["estimate"] == pytest.approx(0.95 - 0.85)
    assert second["claim"] == "best: norm=batch, every other within batch_size=64"


def test_cells_in_which_the_means_agree_are_told(tmp_path: Any) -> None:
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    (row,) = rows(table(gridded({**claim, "cells": "batch_size"}), tmp_path))
    assert row["detail"] == "The means agree in 1 of 2 cells; not at batch_size=4."
    plain = outline(gridded(claim)).judged[0]
    assert outline(gridded({**claim, "cells": "batch_size"})).judged[0].hash == plain.hash


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"kind": "not_better", "arm": {"norm": "btach"}, "over": {"norm": "none"}}, "no arm has"),
        ({**BETTER, "arm": []}, "names at least one"),
        ({**BETTER, "arm": [5]}, "an arm's label or levels"),
        ({"kind": "at_least", "arm": {"norm": "batch"}, "value": 0.99}, "is in percent, 0 to 100"),
        ({"kind": "at_least", "arm": {"norm": "batch"}, "value": 101}, "is in percent, 0 to 100"),
        ({**BETTER, "at": "best_test"}, "never judged"),
        (
            {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"},
             "declared": "0.2"},
            "give the study a first_seed",
        ),
        ({**BETTER, "at": "mean_of_last_0"}, "mean_of_last_5, or an epoch's number"),
        ({**BETTER, "at": "mean_of_lats_5"}, "nearest: 'mean_of_last_5'"),
        (
            {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}, "margin": "5 %"},
            "for times alone",
        ),
        ({**BETTER, "margin": "5 kg"}, "0.3 points, 5 %, 30 s, 0.05 nats"),
        (
            {"kind": "faster", "arm": "a", "than": "b", "target": 0.9, "paired": True},
            "leave 'paired' out",
        ),
        (
            {"kind": "better", "arm": {"norm": "batch", "batch_size": 4},
             "over": {"norm": "none", "batch_size": 4}, "cells": "batch_size"},
            "one cell of batch_size in common",
        ),
        (
            {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}, "cells": "bs"},
            "factor 'bs'",
        ),
        (
            {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"},
             "within": {"batch_size": 5}},
            r"no arm has \{batch_size: 5\}",
        ),
    ],
)  # fmt: skip
def test_a_mistake_names_claim_key_and_way_out(claim: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        outline(gridded(claim))


def test_pairs_are_declared_per_claim_and_the_plan_says_what_they_gain(tmp_path: Any) -> None:
    claim = {"kind": "equal", "arm": {"norm": "batch", "batch_size": 4},
             "to": {"norm": "none", "batch_size": 4}, "margin": 2.5}  # fmt: skip
    made = table(gridded(claim, {**claim, "paired": True}), tmp_path)
    apart, together = rows(made)
    assert (apart["low"], apart["high"]) != (together["low"], together["high"])
    assert together["high"] - together["low"] < 0.0011  # the seeds move both arms alike
    plan = claim_plans(made.plan, made).to_dict("records")[1]
    assert plan["correlation"] == pytest.approx(0.999)
    assert plan["seeds_paired"] <= plan["seeds_unpaired"]
    first, second = made.plan.judged
    assert first.hash != second.hash
    assert PlanRecord.from_json(made.plan.to_json()).judged == (first, second)


def test_a_claim_in_pairs_from_a_file_needs_seeds_in_common(tmp_path: Any) -> None:
    claim = {"kind": "better", "name": "x", "arm": "a", "over": "b", "paired": True}
    path = tmp_path / "t.csv"
    path.write_text("arm,test_accuracy\na,0.9\nb,0.8\n")
    with pytest.raises(UserError, match="claim x compares arms seed by seed"):
        frames_from_csv(path, outline(study(claim)))
    path.write_text("arm,seed,test_accuracy\na,0,0.9\nb,1,0.8\n")
    with pytest.raises(UserError, match=r"claim x .* no seed in common"):
        frames_from_csv(path, outline(study(claim)))


def test_a_value_is_reached_by_the_mean_and_by_so_many_trials(tmp_path: Any) -> None:
    arm = {"norm": "batch", "batch_size": 4}
    claims = [{"kind": "at_least", "arm": arm, "value": value} for value in (80, 89.95, 99)]
    low, near, high = rows(table(gridded(*claims), tmp_path))
    assert [row["verdict"] for row in (low, near, high)] == ["supported", "inconclusive", "refuted"]
    assert "Trials at 89.95 % or better: norm=batch, batch_size=4 3 of 5." in near["detail"]
    assert "about normal" in low["detail"]
    assert low["sentence"] == (
        "BatchNorm, batch size 4 reaches a test accuracy of 80 %: its mean is 90 %, 5 of 5 trials "
        "got there."
    )
    loss = {"kind": "at_least", "arm": arm, "value": 0.2, "metric": "test_loss", "margin": 0.01}
    (row,) = rows(table(gridded(loss), tmp_path))
    assert (row["verdict"], row["estimate"]) == ("supported", pytest.approx(-0.1))


def test_times_have_relative_margins_unless_they_say_otherwise(tmp_path: Any) -> None:
    claim = {"kind": "better", "metric": "seconds", "arm": {"norm": "none", "batch_size": 64},
             "over": {"norm": "batch", "batch_size": 64}}  # fmt: skip
    usual, absolute = rows(table(gridded(claim, {**claim, "margin": "2 s"}), tmp_path))
    assert usual["margin"] == 0.05
    assert usual["estimate"] == pytest.approx((87 - 97) / 97)
    assert usual["measured"].startswith("-10.3 %")
    assert absolute["measured"].startswith("-10 s")
    assert usual["sentence"].startswith("No norm trains faster than BatchNorm at batch size 64 by")


def test_lost_trials_of_an_arm_are_said() -> None:
    scores: dict[str, list[float | None]] = {
        "a": [0.90, None, 0.92, 0.91, None], "b": [0.94, 0.95, 0.97, 0.96, 0.95]
    }  # fmt: skip
    (row,) = rows(frames(study(seeds=5), scores))
    assert "Its arms have 3 to 5 trials" in row["detail"]
    (row,) = rows(frames(study(seeds=3), {"a": [0.90, None, 0.92], "b": [0.94, 0.95, 0.97]}))
    assert row["verdict"] == "inconclusive"
    assert "fewer than 3 seeds" in row["reason"]


# -- alternatives --------------------------------------------------------------------------

ALTERNATIVES = [{"at": 1}, {"metric": "test_loss", "margin": 0.01}, {"paired": True}]


def test_a_verdict_says_in_how_many_alternatives_it_holds(tmp_path: Any) -> None:
    claim = {"kind": "better", "name": "c", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    made = table(gridded(claim, analysis={"alternatives": ALTERNATIVES}), tmp_path)
    found = robustness(made)
    assert found["analysis"].tolist() == ["as declared", "epoch 1", "test loss", "in pairs"]
    assert found["holds"].all()
    declared = found.iloc[0]
    assert declared["estimate"] == pytest.approx((0.925 - 0.885) / 0.001)  # in margins
    (row,) = rows(made)
    assert "Supported in 3 of 3 alternative analyses" in row["detail"]
    assert PlanRecord.from_json(made.plan.to_json()).analysis == made.plan.analysis


def test_a_claim_has_only_alternatives_that_fit_it(tmp_path: Any) -> None:
    arm = {"norm": "batch", "batch_size": 4}
    claims = [
        {"kind": "at_least", "name": "value", "arm": arm, "value": 80},
        {"kind": "better", "name": "sides", "arm": {"norm": "batch"}, "over": {"norm": "none"}},
    ]
    others = [*ALTERNATIVES, {"test": "permutation"}, {"collapsed": False}]
    found = robustness(table(gridded(*claims, analysis={"alternatives": others}), tmp_path))
    of = found.groupby("claim")["analysis"].agg(list)
    assert of["value"] == ["as declared", "epoch 1", "without collapsed trials"]
    assert "test permutation" not in of["sides"]  # two arms a side


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([{}], "changes metric, at, test, paired or collapsed"),
        ([{"metric": "test_loss"}], "'test_loss' has no usual margin"),
        ([{"margin": 1}], "changes metric"),
        ([{"at": 1, "margin": 1}], "a margin belongs to a metric"),
        ([{"at": 1}, {"at": 1}], "two alternatives are the same: epoch 1"),
        ([{"at": n} for n in range(1, 14)], "at most 12"),
        ([{"metirc": "test_loss"}], "Did you mean 'metric'"),
    ],
)
def test_a_wrong_alternative_is_refused(others: list[dict[str, object]], message: str) -> None:
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    with pytest.raises(UserError, match=message):
        outline(gridded(claim, analysis={"alternatives": others}))


# -- declared and exploratory --------------------------------------------------------------


def test_a_claim_declared_after_looking_is_one_on_fresh_seeds_only() -> None:
    late = {**BETTER, "name": "late", "declared": "0.2"}
    made = frames(study(BETTER, late, first_seed=100))
    before, after = claim_table(made)["exploratory"]
    assert pd.isna(before)
    assert "declared for release 0.2" in after
    assert "from 100 on" in after
    trials = made.trials.assign(seed=made.trials["seed"] + 100)
    fresh = Frames(made.plan, trials, made.epochs)
    assert claim_table(fresh)["exploratory"].isna().all()


def test_seeds_count_from_the_first_one() -> None:
    made = study(seeds=3, first_seed=100)
    assert made.seeds == (100, 101, 102)
    assert made.vary(seeds=2).seeds == (100, 101)
    assert study(seeds=3).seeds == (0, 1, 2)
    record = outline(made)
    assert record.first_seed == 100
    assert "first_seed" in json.loads(record.to_json())


def test_another_study_s_look_makes_no_bundled_claim_exploratory(tmp_path: Any) -> None:
    with Store.write(tmp_path) as store:
        finish(store, study())
        store.add_look(Declaration(), ["a0", "b0"])
        plan = store.plan()
        own = load_frames(store, plan)
        bundled = load_frames(store, plan.model_copy(update={"bundled": True}))
    foreign = [
        Frames(made.plan, made.trials, made.epochs, made.looks[-1:]) for made in (own, bundled)
    ]
    first, second = (claim_table(made)["exploratory"].iloc[0] for made in foreign)
    assert "before it was stated" in first
    assert pd.isna(second)


# -- answers -------------------------------------------------------------------------------


def test_the_answer_has_at_most_five_sentences_settled_ones_first(tmp_path: Any) -> None:
    pair = {"arm": {"norm": "batch", "batch_size": 64}, "over": {"norm": "none", "batch_size": 64}}
    claims = [{"kind": "better", "name": f"c{n}", **pair, "margin": 0.1 * n} for n in range(1, 8)]
    found = answer(table(gridded(*claims), tmp_path))
    assert len(found.sentences) == 5
    assert found.sentences[0].startswith("BatchNorm beats no norm at batch size 64 by 10 points (")
    assert found.sentences[-1] == "3 more claims: 3 settled; see below."
    assert "5 seeds" in found.basis
    assert found.basis.endswith("the full study")


def test_a_rehearsal_answers_nothing_and_names_who_never_learned(tmp_path: Any) -> None:
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    made = table(gridded(claim), tmp_path, {**MEANS, ("none", 4): 0.11})
    arms = tuple(arm.model_copy(update={"classes": 10}) for arm in made.plan.arms)
    plan = made.plan.model_copy(update={"rehearsal": True, "arms": arms})
    found = answer(Frames(plan, made.trials, made.epochs))
    assert found.sentences == ()
    assert found.basis.endswith("a rehearsal, which answers nothing")
    assert found.collapsed == (
        "Trials hardly above chance: no norm, batch size 4 (5 of 5). "
        "1 of 4 arms never learned at all."
    )


# -- words and signs -----------------------------------------------------------------------


@pytest.mark.parametrize("levels", [[4, 64], [64, 4]])
@pytest.mark.parametrize("direction", ["rises", "falls"])
@pytest.mark.parametrize(("metric", "does"), [("test_loss", "falls"), ("test_accuracy", "rises")])
def test_a_trend_is_one_of_the_metric_whatever_the_order_of_its_levels(
    metric: str, does: str, direction: str, levels: list[int], tmp_path: Any
) -> None:
    claim = {"kind": "trend", "factor": "batch_size", "within": {"norm": "batch"}, "margin": 0.01,
             "metric": metric, "direction": direction}  # fmt: skip
    made = gridded(claim, factors={"norm": ["batch", "none"], "batch_size": levels})
    (row,) = rows(table(made, tmp_path))
    assert row["verdict"] == ("supported" if does == direction else "refuted")
    assert row["estimate"] == pytest.approx(0.05 if does == "rises" else -0.05)
    assert row["low"] < row["estimate"] < row["high"]
    words = metric.replace("_", " ")
    assert row["sentence"].startswith(f"The {words} {does} from batch size 4 to batch size 64")


def test_sentences_without_a_direction_have_the_sign_that_was_measured(tmp_path: Any) -> None:
    claim = {"kind": "equal", "arm": {"norm": "batch", "batch_size": 64},
             "to": {"norm": "none", "batch_size": 64}, "metric": "test_loss", "margin": 0.2}  # fmt: skip
    (row,) = rows(table(gridded(claim), tmp_path))
    assert row["verdict"] == "supported"
    assert f"{row['low']:.3g} to {row['high']:.3g}" in row["sentence"]
    assert row["high"] < 0


def test_a_time_reaches_a_value_in_seconds(tmp_path: Any) -> None:
    arm = {"norm": "none", "batch_size": 64}
    claims = [{"kind": "at_least", "arm": arm, "value": v, "metric": "seconds"} for v in (95, 87)]
    first, second = rows(table(gridded(*claims), tmp_path))
    assert first["verdict"] == "supported"
    assert first["measured"].startswith("-8 s")
    assert second["verdict"] == "inconclusive"
    for name in ("trend", "interaction"):
        keys = {"trend": {"factor": "batch_size"}, "interaction": {
            "arm": {"norm": "batch"}, "over": {"norm": "none"},
            "at_levels": {"batch_size": 4}, "than_at": {"batch_size": 64}}}[name]  # fmt: skip
        with pytest.raises(
            UserError, match=f"'{name}' compares no two sides: give its margin in s"
        ):
            outline(gridded({"kind": name, "metric": "seconds", **keys}))


def test_a_mean_over_some_arms_of_a_place_names_them(tmp_path: Any) -> None:
    made = gridded(
        {"kind": "better", "arm": {"norm": "batch"},
         "over": [{"norm": "none", "batch_size": 4}, {"norm": "layer", "batch_size": 4}]},
        factors={"norm": ["batch", "none", "layer"], "batch_size": [4, 64]},
    )  # fmt: skip
    means = {**MEANS, ("layer", 4): 0.9, ("layer", 64): 0.9}
    (row,) = rows(table(made, tmp_path, means))
    assert row["verdict"] == "supported"
    assert row["sentence"].startswith(
        "BatchNorm on average beats the mean of no norm and LayerNorm at batch size 4 by"
    )


def test_a_look_that_was_cut_short_is_not_taken() -> None:
    scores: dict[str, list[float | None]] = {
        "a": [0.90, 0.91, 0.92, 0.91], "b": [0.92, 0.89, 0.93, 0.95]
    }  # fmt: skip
    made = study(analysis={"looks": [3, 4], "margin": 0.1}).at_look(4, (3, 4))
    whole = frames(made, scores)
    cut = frames(made, scores, {("b", 3): "pending"})
    assert rows(whole)[0]["seeds"] == 4
    (row,) = rows(cut)
    assert (row["seeds"], row["left_out"]) == (3, "1 pending")


def test_saying_the_default_is_saying_nothing() -> None:
    plain = outline(study()).judged[0].hash
    assert outline(study({**BETTER, "paired": False})).judged[0].hash == plain
    assert outline(study({**BETTER, "paired": True})).judged[0].hash != plain

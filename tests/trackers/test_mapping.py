"""Runs of other tools become a study's trials, or are left out for a reason that is said."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.trackers.made_runs import SCORES, curve, of, run, runs, study

from normlab.errors import UserError
from normlab.frames import claim_table, frames_from_csv, frames_from_table
from normlab.frames.scores import score_array
from normlab.study.resolve import outline
from normlab.study.spec import Study
from normlab.trackers.asked import Asked, from_options
from normlab.trackers.mapping import Mapped, trials_table
from normlab.trackers.names import maybe_ours, ours
from normlab.trackers.runs import LeftOut, Run, Series


def mapped(found: list[Run], of_study: Study | None = None, **asked: Any) -> Mapped:
    return trials_table(of(found), outline(of_study or study()), Asked(**asked))


def scores(found: list[Run], of_study: Study | None = None, **asked: Any) -> Any:
    made = of_study or study()
    table = mapped(found, made, **asked).table
    return score_array(frames_from_table(table, outline(made)), "test_accuracy", "last")


WANTED = [SCORES["batch"], SCORES["none"]]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"factor": "Norm"},
        {"metric": "test/accuracy"},
        {"metric": "test_acc"},
        {"metric": "Test Acc"},
        {"metric": "acc/test"},
        {"metric": "top1_test"},
        {"metric": "testAcc"},
        {"metric": "test_acc_epoch"},
        {"metric": "test_acc_percent", "scale": 100},
        {"seed": "random_state"},
        {"seed": "train.seed"},
        {"start": 0},
        {"every": 391, "start": 391},
        {"epochs": 1},
    ],
)
def test_names_that_leave_no_doubt_are_taken(keys: dict[str, Any]) -> None:
    np.testing.assert_allclose(scores(runs(**keys)), WANTED, rtol=1e-9)


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        ({"metric": "val_acc"}, {"map": {"test_accuracy": "val_acc"}}),
        ({"metric": "accuracy", "scale": 100}, {"map": {"test_accuracy_percent": "accuracy"}}),
        ({"factor": "model.norm_layer"}, {"map": {"norm": "model.norm_layer"}}),
        ({"factor": "x", "seed": "y"}, {"names": "{norm}-s{seed}"}),
        ({"factor": "x", "seed": "y"}, {"names": "{arm}-*{seed}"}),
        ({"seed": "copy"}, {"map": {"seed": "copy"}}),
    ],
)
def test_names_that_are_told_are_taken(keys: dict[str, Any], asked: dict[str, Any]) -> None:
    np.testing.assert_allclose(scores(runs(**keys), **asked), WANTED, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "column", "measure"),
    [
        ("val_acc", "validation_accuracy", None),
        ("valid/loss", "validation_loss", None),
        ("train.loss", "train_loss", None),
        ("accuracy", None, "accuracy"),
        ("eval/accuracy", None, "accuracy"),
        ("best_test_acc", None, "test_accuracy"),
        ("loss", None, "loss"),
        ("train_val_loss", None, None),
        ("test_top5", None, None),
        ("latest_accuracy", None, None),
        ("train_ece", None, None),
    ],
)
def test_what_a_metric_s_name_says(name: str, column: str | None, measure: str | None) -> None:
    assert ours(name) == column
    assert maybe_ours(name) == measure


def test_a_dotted_component_is_a_level() -> None:
    factor = {"norm": ["batch", {"kind": "group", "groups": 4}, {"kind": "group", "groups": 8}]}
    found = [
        run(f"{kind}{groups}{seed}", {"norm.kind": kind, "norm.groups": groups, "seed": seed},
            {"test_acc": curve(0.9 + seed / 100)})
        for kind, groups in (("batch", ""), ("group", 4), ("group", 8), ("group", 16))
        for seed in (0, 1)
    ]  # fmt: skip
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "group"}}
    made = mapped(found, study(factors=factor, claims=[claim]))
    cells = made.table.cells
    assert cells.groupby("arm", sort=False)["seed"].nunique().tolist() == [2, 2, 2]
    assert [(one["reason"], one["runs"]) for one in made.left_out] == [
        ("its norm is no level of the study's", 2)
    ]


def test_a_level_that_other_runs_set_may_be_unset() -> None:
    factor = {"dropout": [None, 0.1]}
    claim = {"kind": "better", "arm": {"dropout": 0.1}, "over": {"dropout": None}}
    found = [
        run(f"{p}{seed}", {"seed": seed} | ({"dropout": p} if p else {}), {"test_acc": curve(0.9)})
        for p in (None, 0.1)
        for seed in (0, 1)
    ]
    made = mapped(found, study(factors=factor, claims=[claim]))
    assert made.table.cells["arm"].nunique() == 2
    assert made.notes == [
        "2 runs set no 'dropout': they count as null (--group takes one experiment or project)."
    ]


@pytest.mark.parametrize(
    ("metric", "asked", "words"),
    [
        (
            "accuracy",
            {},
            r"no metric is certain to be test_accuracy; there are: accuracy \(6 runs\)\. 'accuracy' "
            r"does not say which images it was measured on; if it is test_accuracy: "
            r"--map test_accuracy=accuracy, or --map test_accuracy_percent=accuracy if it is in perc",
        ),
        ("eval/acc", {}, r"eval/acc \(6 runs\).*--map test_accuracy=eval/acc,"),
        (
            "val acc",
            {},
            r"'val acc' was measured on other images.*--map 'test_accuracy=val acc', or",
        ),
        ("speed", {}, r"there are: speed \(6 runs\).*one of them is test_accuracy: --map test_acc"),
        ("speed", {"map": {"test_accuracy": "acc"}}, "no run of the study has a metric 'acc'"),
        (
            "test_acc",
            {"map": {"norm": "layer"}},
            "no run has a parameter 'layer'; their parameters: norm, s",
        ),
        ("test_acc", {"map": {"nrm": "norm"}}, r"--map: unknown name 'nrm'.*'norm'"),
        ("test_acc", {"names": "{nrm}"}, r"--names: unknown name 'nrm'"),
        ("test_acc", {"names": "{norm}{norm}"}, "is there twice"),
        ("test_acc", {"names": "batch"}, "has no field"),
        (
            "test_acc",
            {"names": "x-{norm}"},
            r"6 runs: the name does not fit --names \(such as 'batch-s0'\)",
        ),
        ("test_acc", {"group": "h"}, "no experiment or project 'h'; there are: g"),
        ("test_acc", {"selected_on": "train"}, "--selected-on: unknown choice 'train'"),
        ("test_acc", {"ends": "x"}, "--ends: unknown choice 'x'"),
    ],
)
def test_what_may_be_two_things_is_asked(metric: str, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        mapped(runs(metric), **asked)


def test_percents_are_not_guessed() -> None:
    with pytest.raises(UserError, match=r"'batch-s0': test_acc is 95.1.*--map test_accuracy_perc"):
        mapped(runs("test_acc", scale=100))


def test_two_metrics_or_seeds_that_differ_are_asked() -> None:
    found = runs("test_acc")
    both = [
        dataclasses.replace(one, metrics={**one.metrics, "test/accuracy": curve(0.5)})
        for one in found
    ]
    with pytest.raises(UserError, match="test_acc, test/accuracy may all be test_accuracy"):
        mapped(both)
    same = [
        dataclasses.replace(one, metrics={**one.metrics, "test/accuracy": one.metrics["test_acc"]})
        for one in found
    ]
    np.testing.assert_allclose(scores(same), WANTED)
    seeds = [
        run(one.name, {**one.params, "data_seed": 7}, one.metrics)
        for one in runs("test_acc", seed="init_seed")
    ]
    with pytest.raises(UserError, match="--map seed=init_seed or --map seed=data_seed"):
        mapped(seeds)
    np.testing.assert_allclose(scores(seeds, map={"seed": "init_seed"}), WANTED)


def test_every_run_that_does_not_count_is_counted_with_its_reason() -> None:
    good = runs("test_acc")
    bad = [
        run("other", {"lr": 1}, {"loss": curve(1)}),
        run("layer", {"norm": "layer", "seed": 0}, {"test_acc": curve(0.9)}),
        run("unseeded", {"norm": "batch"}, {"test_acc": curve(0.9)}),
        run("odd", {"norm": "batch", "seed": "a"}, {"test_acc": curve(0.9)}),
        run("bare", {"norm": "batch", "seed": 5}, {"time": curve(0.9)}),
        run("now", {"norm": "batch", "seed": 6}, {"test_acc": curve(0.9)}, state="running"),
        run("ended", {"norm": "batch", "seed": 7}, {"test_acc": curve(0.9)}, state="killed"),
        run("crashed", {"norm": "batch", "seed": 0}, {}, state="failed"),
        run("broken", {"norm": "batch", "seed": 9}, {}, state="failed"),
        dataclasses.replace(good[0], name="again"),
    ]
    source = of([*good, *bad], left_out=[LeftOut(run="gone", reason="deleted")])
    found = trials_table(source, outline(study()), Asked())
    assert {one["reason"]: one["examples"] for one in found.left_out} == {
        "no parameter 'norm'": ["other"],
        "its norm is no level of the study's": ["layer"],
        "no seed": ["unseeded"],
        "its seed is no whole number from 0 on": ["odd"],
        "no metric test_acc": ["bare"],
        "still running": ["now"],
        "killed": ["ended"],
        "failed, and run again": ["crashed"],
        "failed": ["broken"],
        "a copy of another run: same arm, seed and numbers": ["again"],
        "deleted": ["gone"],
    }
    frames = frames_from_table(found.table, outline(study()))
    (row,) = claim_table(frames).to_dict("records")
    assert row["left_out"].startswith("1 failed")


def test_many_values_of_other_studies_are_one_reason() -> None:
    others = [run(f"o{i}", {"norm": f"n{i}", "seed": 0}) for i in range(50)]
    named = [run(f"a{i}", {"model": f"m{i}", "seed": 0}) for i in range(50)]
    assert [one["runs"] for one in mapped([*runs("test_acc"), *others]).left_out] == [50]
    (left,) = mapped(
        [run(one.name, {**one.params, "model": one.params["norm"]}, one.metrics)
         for one in runs("test_acc")] + named,
        study(arms=[{"label": n, "set": {"norm": n}} for n in SCORES], factors={}),
        map={"arm": "model"},
    ).left_out  # fmt: skip
    assert left == {
        "reason": "its arm is none of the study's", "runs": 50, "examples": ["a0", "a1", "a2"],
    }  # fmt: skip


def test_runs_of_other_studies_do_not_tell_what_a_seed_is_called() -> None:
    bare = [run(f"r{i}", {"norm": one.params["norm"]}, one.metrics)
            for i, one in enumerate(runs("test_acc", epochs=1))]  # fmt: skip
    others = [run(f"o{i}", {"random_seed": i}, {"test_acc": curve(0.9)}) for i in range(3)]
    made = mapped([*bare, *others])
    assert [(one["reason"], one["runs"]) for one in made.left_out] == [("no parameter 'norm'", 3)]
    assert made.notes == ["No run says its seed: runs are numbered within their arm."]
    np.testing.assert_allclose(scores([*bare, *others]), WANTED)


def test_a_seed_that_some_runs_of_the_study_lack_is_not_made_up() -> None:
    found = runs("test_acc")
    found[0] = run("r", {"norm": "batch"}, found[0].metrics)
    (left,) = mapped(found).left_out
    assert (left["reason"], left["examples"]) == ("no seed", ["r"])


def test_seeds_keep_their_last_digit_and_end_at_64_bits() -> None:
    big = [2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64]
    found = [
        run(f"{norm}{i}", {"norm": norm, "seed": seed}, {"test_acc": curve(SCORES[norm][i % 3])})
        for norm in SCORES
        for i, seed in enumerate(big)
    ]
    made = mapped(found)
    (left,) = made.left_out
    assert left["reason"] == "its seed is above 9223372036854775807"
    assert left["examples"] == ["batch3", "batch4", "none3"]
    frames = frames_from_table(made.table, outline(study()))
    assert frames.plan.seeds == tuple(big[:3])
    np.testing.assert_allclose(score_array(frames, "test_accuracy", "last"), WANTED)


def test_a_step_of_many_digits_is_a_step() -> None:
    far = 10**400
    found = [
        dataclasses.replace(one, metrics={"test_acc": curve(one.metrics["test_acc"].values[-1],
                                                            start=far)})
        for one in runs("test_acc")
    ]  # fmt: skip
    np.testing.assert_allclose(scores(found), WANTED)


def test_a_run_that_begins_after_the_common_end_is_left_out() -> None:
    def late(one: Run, at: float, *more: float) -> Run:
        values = tuple(float(at + i) for i in range(3))
        ends = more or one.metrics["test_acc"].values
        return dataclasses.replace(one, metrics={
            "epoch": Series(steps=(1, 2, 3), values=values),
            "test_acc": Series(steps=(1, 2, 3), values=ends),
        })  # fmt: skip

    found = [late(one, 1) for one in runs("test_acc")]
    found[1] = late(found[1], 7)
    made = mapped(found, ends="common")
    assert made.left_out == [
        {"reason": "begins after epoch 3", "runs": 1, "examples": ["batch-s1"]}
    ]
    unseeded = [run(one.name, {"norm": one.params["norm"]}, one.metrics) for one in found]
    assert mapped(unseeded, ends="common").left_out == made.left_out
    found[1] = late(found[1], 7, 0.1, 0.2, math.nan)  # it counts with chance whenever it began
    made = mapped(found, ends="common")
    assert made.left_out == []
    ends = made.table.cells
    assert ends.loc[ends["state"] == "diverged", "seed"].tolist() == ["1"]


def test_a_word_that_tells_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="--map epoch=ep: no run of the study has a metric 'ep'"):
        mapped(runs("test_acc"), map={"epoch": "ep"})
    with pytest.raises(UserError, match="--map state=st: a tool tells itself how its runs ended"):
        mapped(runs("test_acc"), map={"state": "st"})


def test_what_ends_in_no_number_is_the_same_in_both_names() -> None:
    def lost(one: Run) -> Run:
        # Each NaN is an object of its own, as a reader makes them: tuples take one object as equal.
        of = {
            name: Series(steps=(1, 2), values=(0.5, float("nan")))
            for name in ("test_acc", "test/accuracy")
        }
        return dataclasses.replace(one, metrics=of)

    found = [lost(one) for one in runs("test_acc")]
    copy = dataclasses.replace(lost(found[0]), name="again")
    made = mapped([*found, copy])
    assert made.table.cells["state"].tolist().count("diverged") == 6
    assert [one["examples"] for one in made.left_out] == [["again"]]


def test_of_runs_of_one_seed_with_other_numbers_none_is_chosen() -> None:
    good = runs("test_acc")
    twin = dataclasses.replace(good[0], name="twin", metrics={"test_acc": curve(0.999)})
    for every in ([*good, twin], [twin, *good]):
        found = mapped(every)
        (left,) = found.left_out
        assert set(left["examples"]) == {"batch-s0", "twin"}
        assert "other numbers: none of them counts" in left["reason"]
        assert set(found.table.runs) == {one.name for one in good[1:]}


def test_a_run_whose_loss_is_no_number_diverged_and_counts() -> None:
    lost = Series(steps=(1, 2), values=(2.0, math.nan))
    for state in ("complete", "failed"):
        good = runs("test_acc")
        good[0] = run(good[0].name, good[0].params, {"train/loss": lost}, state=state)
        found = mapped(good)
        ends = found.table.cells
        assert ends.loc[ends["state"] == "diverged", "seed"].tolist() == ["0"]
        assert found.left_out == []
        with pytest.raises(UserError, match=r"run 'batch-s0'.*a diverged trial counts with chance"):
            claim_table(frames_from_table(found.table, outline(study())))


def test_curves_of_other_lengths_are_never_compared_unsaid() -> None:
    found = [
        dataclasses.replace(one, metrics={"test_acc": curve(0.9 if i < 3 else 0.8, 3 + (i < 3))})
        for i, one in enumerate(runs())
    ]
    with pytest.raises(UserError, match=r"test_acc has different steps per run.*epoch 3 \(3 runs"):
        mapped(found)
    common, own = mapped(found, ends="common"), mapped(found, ends="own")
    assert common.table.cells["epoch"].astype(int).max() == 3
    assert own.table.cells["epoch"].astype(int).max() == 4
    assert "compared at epoch 3" in common.notes[0]
    assert "at its own end" in own.notes[0]
    few = [
        run(f"{norm}{seed}", {"norm": norm, "seed": seed},
            {"test_acc": curve(0.9, 2 if (norm, seed) == ("none", 4) else 3)})
        for norm in SCORES for seed in range(5)
    ]  # fmt: skip
    (left,) = mapped(few).left_out
    assert left["reason"] == "ends at epoch 2, and most at 3"
    assert left["examples"] == ["none4"]


def test_iterations_are_counted_by_points_and_said_where_they_end_apart() -> None:
    found = [
        dataclasses.replace(
            one, metrics={"test_acc": curve(SCORES[one.params["norm"]][i % 3], 3, start=s, every=s)}
        )
        for i, one in enumerate(runs())
        for s in [100 if i < 3 else 200]
    ]
    made = mapped(found)
    assert "3 points in every run, the last at steps 300 to 600" in made.notes[0]
    assert made.table.cells["epoch"].tolist() == ["1", "2", "3"] * 6


def test_a_logged_epoch_tells_epochs_and_the_last_point_of_one_counts() -> None:
    points = Series(steps=(9, 10, 19, 20), values=(0.0, 0.0, 1.0, 1.0))
    found = [
        run(one.name, one.params, {"epoch": points, "test_acc": Series(
            steps=points.steps, values=(0.1, 0.2, 0.3, one.metrics["test_acc"].values[-1]))})
        for one in runs("test_acc")
    ]  # fmt: skip
    made = mapped(found)
    assert made.table.cells["epoch"].tolist() == ["1", "2"] * 6
    assert made.table.cells["test_accuracy"].tolist()[0] == 0.2
    np.testing.assert_allclose(scores(found), WANTED)


def test_metrics_of_other_steps_stand_beside_the_claim_s() -> None:
    found = [
        dataclasses.replace(
            one,
            metrics={
                **one.metrics,
                "train_loss": curve(2, 50),
                "val_acc": curve(0.7, 3, start=10, every=7),
                "train_acc": curve(0.9, 1, start=40),
            },
        )
        for one in runs("test_acc")
    ]
    made = mapped(found)
    row = made.table.cells.iloc[2]
    assert row["validation_accuracy"] == 0.7
    assert row["train_accuracy"] == 0.9
    assert math.isnan(made.table.cells["train_accuracy"].iloc[0])
    assert row["train_loss"] == curve(2, 50).values[2]
    shifted = [
        dataclasses.replace(one, metrics={**one.metrics, "train_loss": curve(2, 5, start=99)})
        for one in runs("test_acc")
    ]
    assert mapped(shifted).notes == [
        "Not read, because they were logged at other steps than test_acc: train_loss."
    ]


def test_runs_without_any_seed_are_numbered_but_not_paired() -> None:
    found = [
        run(
            one.name,
            {"norm": one.params["norm"]},
            {"test_acc": curve(one.metrics["a"].values[-1], 1)},
        )
        for one in runs("a")
    ]
    made = mapped(found)
    assert made.notes == ["No run says its seed: runs are numbered within their arm."]
    np.testing.assert_allclose(scores(found), WANTED)
    paired = study(analysis={"paired": True})
    with pytest.raises(UserError, match=r"no column 'seed'.*seed by seed"):
        frames_from_table(mapped(found, paired).table, outline(paired))


def test_nothing_of_the_study_says_what_there_is() -> None:
    found = [run(f"r{i}", {"lr": i, "Opt": "sgd"}, {"loss": curve(1)}) for i in range(4)]
    with pytest.raises(UserError) as raised:
        mapped(found)
    assert str(raised.value) == (
        "store: 4 runs of mlflow, and none belongs to this study: 4 runs: no parameter 'norm' (such "
        "as 'r0'). Their parameters: lr, Opt. Say which is which with --map FACTOR=PARAMETER, or "
        'describe the run names: --names "{norm}-s{seed}"'
    )
    with pytest.raises(
        UserError, match=r"1 run: no parameter 'norm'.*\. They have no parameters\."
    ):
        mapped([run("r")])
    with pytest.raises(UserError, match="store has no runs of mlflow"):
        mapped([])
    odd = [LeftOut(run=f"r{i}", reason=f"reason {i}") for i in range(6)]
    with pytest.raises(
        UserError, match=r"1 run: reason 3 \(such as 'r3'\); and 2 more reasons\. T"
    ):
        trials_table(of([], left_out=odd), outline(study()), Asked())


def test_several_projects_are_named() -> None:
    found = [
        dataclasses.replace(one, group="a" if at < 3 else "b")
        for at, one in enumerate(runs("test_acc"))
    ]
    assert "2 experiments or projects: a (3), b (3)" in mapped(found).notes[0]
    with pytest.raises(UserError, match="no experiment"):
        mapped(found, group="c")
    assert mapped(found, group="a").left_out[0]["runs"] == 3


def test_10_000_unrelated_runs_are_one_line() -> None:
    others = [
        run(f"o{i}", {f"p{i % 97}": i, "lr": i, "seed": i}, {f"m{i % 31}": curve(0.5)})
        for i in range(10_000)
    ]
    found = mapped([*others, *runs("test_acc")])
    assert found.left_out == [
        {"reason": "no parameter 'norm'", "runs": 10_000, "examples": ["o0", "o1", "o2"]}
    ]


def test_the_same_trials_as_a_table_get_the_same_verdict(tmp_path: Path) -> None:
    rows = [
        f"{one.params['norm']},{one.params['seed']},{step},{value!r}"
        for one in runs()
        for step, value in zip(
            one.metrics["test_accuracy"].steps, one.metrics["test_accuracy"].values, strict=True
        )
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["norm,seed,epoch,test_accuracy", *rows]))
    plan = outline(study())
    (theirs,) = claim_table(frames_from_table(mapped(runs()).table, plan)).to_dict("records")
    (ours_,) = claim_table(frames_from_csv(path, plan)).to_dict("records")
    assert theirs == ours_


def test_lines_of_a_mapping() -> None:
    assert from_options(["norm=a=b", " seed = s"]) == {"norm": "a=b", "seed": "s"}
    for wrong in ("norm", "=a", "norm="):
        with pytest.raises(UserError, match="is not OURS=THEIRS"):
            from_options([wrong])
    with pytest.raises(UserError, match="'a' is there twice"):
        from_options(["a=1", "a=2"])

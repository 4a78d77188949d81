"""A study's trials as one CSV file: written, and judged like the store it came from."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from normlab.errors import UserError
from normlab.frames import Frames, arm_table, claim_table, curve_table, frames_from_csv, load_frames
from normlab.frames.epoch_rows import epoch_rows
from normlab.frames.scores import score_array
from normlab.store import Store
from normlab.study.resolve import outline
from normlab.study.spec import Study

ARMS = {"arm": {"norm": "batch_instance"}, "over": {"norm": "layer"}}
CLAIMS: list[dict[str, Any]] = [
    {"kind": "better", "name": "last", **ARMS},
    {"kind": "better", "name": "chosen", "at": "best_validation", **ARMS},
    {"kind": "better", "name": "first", "metric": "train_loss", "margin": 0.1, "at": 1, **ARMS},
    {"kind": "better", "name": "gap", "metric": "gap", **ARMS},
    {"kind": "better", "name": "f1", "metric": "test_f1_gap", "margin": 1, **ARMS},
    {"kind": "better", "name": "rises", "metric": "test_loss_rises", "margin": 1, **ARMS},
    {"kind": "better", "name": "sparse", "metric": "sparsity", "margin": 1, **ARMS},
    {"kind": "better", "name": "cost", "metric": "seconds", "margin": 1, **ARMS},
    {
        "kind": "faster",
        "name": "time",
        "arm": {**ARMS["arm"], "dropout.p": 0},
        "than": {**ARMS["over"], "dropout.p": 0},
        "target": 0.3,
        "split": "validation",
        "clock": "examples",
    },
]


def plan_of(**values: Any) -> dict[str, Any]:
    """The plan of a small study: of batch and layer norm, if nothing else is said."""
    study = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small"},
        "factors": {"norm": ["batch", "layer"]},
        "seeds": 2,
    }
    return outline(Study.parse({**study, **values}))


def frames_of(folder: Path, **plan: object) -> Frames:
    with Store.read(folder) as store:
        return load_frames(store, store.plan().model_copy(update=plan))


@pytest.fixture
def both(illustrated: Path, tmp_path: Path) -> tuple[Frames, Frames]:
    """The study from its store and from its file, with claims about every kind of number."""
    factors = {"norm": ["batch_instance", "layer"], "dropout.p": [0, 0.1]}
    plan = plan_of(factors=factors, claims=CLAIMS)
    stored = frames_of(illustrated, claims=plan.claims, analysis=plan.analysis)
    path = tmp_path / "trials.csv"
    path.write_text(epoch_rows(stored), encoding="utf-8")
    return stored, frames_from_csv(path, plan)


def test_the_verdicts_on_the_file_are_those_on_the_store(both: tuple[Frames, Frames]) -> None:
    stored, read = (claim_table(frames).drop(columns="exploratory") for frames in both)
    assert stored["estimate"].notna().all()
    pd.testing.assert_frame_equal(stored, read, rtol=1e-4, atol=1e-6)


def test_a_diverged_trial_counts_as_it_does_in_the_store(finished: Path, tmp_path: Path) -> None:
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": "<b>exploding</b>", "at": 3}
    plan = plan_of(
        factors={"norm": ["batch", {"kind": "group", "groups": 32}]},
        arms=[{"label": "<b>exploding</b>", "set": {"norm": "none"}}],
        claims=[claim, {**claim, "at": "worst_of_last_3"}],
    )
    stored = frames_of(finished, claims=plan.claims)
    (tmp_path / "trials.csv").write_text(epoch_rows(stored), encoding="utf-8")
    read = frames_from_csv(tmp_path / "trials.csv", plan)
    third = score_array(read, "test_accuracy", 3)
    # Chance is what a training earns that diverged before the epoch that counts.
    assert third[2].tolist() == [0.1, 0.1]
    assert claim_table(read)["estimate"][0] == pytest.approx(third[0].mean() - 0.1)
    pd.testing.assert_frame_equal(
        claim_table(stored).drop(columns="exploratory"),
        claim_table(read).drop(columns="exploratory"),
        rtol=1e-4,
    )


def test_a_study_without_a_finished_trial_has_a_file_without_rows(finished: Path) -> None:
    frames = frames_of(finished)
    none = replace(frames, trials=frames.trials.assign(state="running"))
    assert epoch_rows(none).splitlines() == ["arm,seed,epoch,state"]


def test_arms_and_curves_are_those_of_the_store(both: tuple[Frames, Frames]) -> None:
    # The file does not keep the memory that trials took.
    stored, read = (arm_table(frames).drop(columns="peak_memory") for frames in both)
    pd.testing.assert_frame_equal(stored, read, rtol=1e-5, check_dtype=False)
    stored, read = (curve_table(frames, "loss") for frames in both)
    pd.testing.assert_frame_equal(stored, read, rtol=1e-5, check_dtype=False)


def test_what_ends_a_trial_is_in_the_row_of_its_last_epoch(finished: Path) -> None:
    with_end = pd.read_csv(StringIO(epoch_rows(frames_of(finished))))
    ends = with_end.dropna(subset=["state"])
    assert len(with_end) > len(ends) == 6
    diverged = ends[ends["arm"] == "<b>exploding</b>"]
    assert diverged["state"].tolist() == ["diverged", "diverged"]
    assert ends["parameters"].tolist()[0] == frames_of(finished).plan.arms[0].parameters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch,0,1,0.9,\nbatch,0,1,0.8,complete\n", "batch, seed 0, epoch 1 is there twice"),
        ("batch,0,,0.9,complete\n", "a row has no epoch"),
        ("batch,0,1,0.8,\nbatch,0,2,0.9,done\n", "line 3: unknown state 'done'"),
        ("batch,,1,0.9,complete\n", "a row has no seed"),
        ("batch,0,0,0.9,complete\n", "line 2: epoch is 0: a whole number from 1 on is needed"),
        ("batch,0,1.5,0.9,complete\n", "epoch is 1.5"),
        ("batch,-1,1,0.9,complete\n", "seed is -1"),
    ],
)
def test_a_mistake_in_a_file_of_epochs_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    path.write_text("norm,seed,epoch,test_accuracy,state\n" + text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        frames_from_csv(path, plan_of())


def test_a_level_that_is_called_null_is_no_missing_one(tmp_path: Path) -> None:
    plan = plan_of(factors={"clip_grad_norm": [None, 1.0]})
    path = tmp_path / "trials.csv"
    path.write_text("arm,test_accuracy\n" + "".join(f"{label},0.9\n" for label in plan.labels))
    assert set(frames_from_csv(path, plan).trials["state"]) == {"complete"}


def test_a_claim_of_time_names_the_column_it_lacks(tmp_path: Path) -> None:
    sides = {"arm": {"norm": "batch"}, "than": {"norm": "layer"}}
    plan = plan_of(claims=[{"kind": "faster", "target": 0.5, **sides}])
    path = tmp_path / "trials.csv"
    path.write_text("norm,seed,epoch,test_accuracy\nbatch,0,1,0.9\nbatch,0,2,0.9\n")
    with pytest.raises(UserError, match="needs the column 'validation_accuracy'"):
        frames_from_csv(path, plan)

"""Metrics that others tell, from numbers whose answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from normlab.frames import claim_table, frames_from_csv, load_frames
from normlab.frames.answer import sentence_of
from normlab.frames.derived import add_f1_gaps, loss_rises, sparsity
from normlab.frames.judging import judge
from normlab.frames.scores import score_array
from normlab.metrics import METRICS
from normlab.store import Store
from normlab.study.resolve import outline
from normlab.study.spec import Study


def losses(trial: str, test: list[float], train: list[float]) -> pd.DataFrame:
    epochs = range(1, len(test) + 1)
    return pd.DataFrame({"id": trial, "epoch": epochs, "test_loss": test, "train_loss": train})


def test_rises_beyond_those_of_training_are_counted_step_by_step() -> None:
    irregular = losses("a", [3, 2, 2.5, 2, 2.1], [3, 2, 1, 1.5, 1])  # two rises beside one
    smooth = losses("b", [3, 2, 1], [1, 2, 3])  # none beside two
    equal = losses("c", [1, 1, 1], [3, 2, 1])  # no change is no rise
    found = loss_rises(pd.concat([irregular.iloc[::-1], smooth, equal]))
    assert found.to_dict() == {"a": 1, "b": -2, "c": 0}


def test_a_trial_of_one_epoch_or_without_a_loss_has_no_rises() -> None:
    found = loss_rises(pd.concat([losses("a", [3], [3]), losses("b", [3, np.nan, 2], [3, 2, 1])]))
    assert found.isna().tolist() == [True, True]


def test_the_f1_gap_is_micro_minus_macro_where_the_table_has_none() -> None:
    table = pd.DataFrame(
        {f"{s}_{m}_f1": [v] * 2 for s, v in (("test", 0.5), ("train", 0.7), ("validation", np.nan))
         for m in ("micro", "macro")}
    )  # fmt: skip
    table["test_macro_f1"] = [0.4, 0.45]
    table["train_f1_gap"] = [0.2, np.nan]
    add_f1_gaps(table)
    assert table["test_f1_gap"].tolist() == pytest.approx([0.1, 0.05])
    assert table["train_f1_gap"].tolist() == pytest.approx([0.2, 0.0])
    assert table["validation_f1_gap"].isna().all()


def test_sparsity_is_the_mean_over_weights_of_what_lies_below_a_hundredth() -> None:
    found = sparsity({"sparsity": {"w": [0.1, 0.3], "v": [0.0, 0.5]}})
    assert found == pytest.approx(0.4)
    assert np.isnan(sparsity({"weight_norm": 3.0}))
    assert np.isnan(sparsity(None))


def test_a_stored_trial_has_them(illustrated: Path) -> None:
    with Store.read(illustrated) as store:
        found = load_frames(store)
    for name in (name for name, metric in METRICS.items() if metric.derived or name == "sparsity"):
        assert found.trials[name].notna().all(), name
        assert np.isfinite(score_array(found, name, "last")).all(), name
    last = found.trials.iloc[0]
    assert last["test_f1_gap"] == last["test_micro_f1"] - last["test_macro_f1"]
    assert 0 <= last["sparsity"] <= 1


def test_a_file_without_epochs_may_give_them_itself(tmp_path: Path) -> None:
    claim = {"kind": "at_least", "arm": "a", "value": 2, "metric": "test_loss_rises", "margin": 1}
    gap = {"kind": "at_least", "arm": "a", "value": 1, "metric": "test_f1_gap"}
    content = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small"},
        "arms": [{"label": "a"}, {"label": "b", "set": {"lr": 0.5}}],
        "seeds": 5,
        "claims": [claim, gap],
    }
    plan = outline(Study.parse(content))
    rows = "".join(f"a,{seed},{6 + seed % 2},{2 + seed / 10:g}\n" for seed in range(5))
    path = tmp_path / "trials.csv"
    path.write_text("arm,seed,test_loss_rises,test_f1_gap_percent\n" + rows)
    made = frames_from_csv(path, plan, test_images=1000)
    rises, apart = claim_table(made).to_dict("records")
    assert (rises["verdict"], rises["measured"].startswith("+4.4 steps")) == ("supported", True)
    assert (apart["verdict"], apart["measured"].startswith("+1.2 points")) == ("refuted", True)
    assert "Trials at 2 steps or better: a 5 of 5." in rises["detail"]
    assert [sentence_of(made, one.record, one.verdict) for one in judge(made)] == [
        "A reaches an excess of test-loss rises over training-loss rises of 2 steps: its mean is "
        "6.4 steps, 5 of 5 trials got there.",
        "A does not have a test F1 gap (micro minus macro) of at most 1 point: its mean is "
        "2.2 points, 0 of 5 trials got there.",
    ]

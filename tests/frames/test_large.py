"""What a large store needs: less of it read, and many trials looked at together, as each alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.large import plan_of_arms, store_of
from tests.plans import plan_of

from normlab.frames import Frames, load_frames, tables
from normlab.frames.collapses import collapse_table
from normlab.frames.tables import time_table
from normlab.frames.verdicts import claim_table
from normlab.store import Store


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(plan_of_arms(2), tmp_path_factory.mktemp("runs") / "small")


def test_without_details_everything_else_is_the_same(illustrated: Path) -> None:
    with Store.read(illustrated) as store:
        whole, without = load_frames(store), load_frames(store, details=False)
    assert "details" not in without.epochs
    assert "details" not in without.trials
    assert whole.epochs["sparsity"].notna().any()
    pd.testing.assert_frame_equal(without.epochs, whole.epochs.drop(columns="details"))
    pd.testing.assert_frame_equal(without.trials, whole.trials.drop(columns="details"))


def test_epochs_are_read_alike_whatever_the_blocks(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.read(small) as store:
        at_once = load_frames(store)
        blocks = Store.epoch_blocks
        monkeypatch.setattr(
            Store, "epoch_blocks", lambda self, ids, columns: blocks(self, ids, columns, block=5)
        )
        in_blocks = load_frames(store)
    pd.testing.assert_frame_equal(at_once.epochs, in_blocks.epochs)
    pd.testing.assert_frame_equal(at_once.trials, in_blocks.trials)
    assert at_once.epochs["id"].is_monotonic_increasing is False  # the plan's order, not the ids'
    assert list(dict.fromkeys(at_once.epochs["id"])) == at_once.trials["id"].tolist()[:-1]


def ragged(rng: np.random.Generator) -> Frames:
    """Trials of unlike lengths, with gaps, of two arms; their epochs in no order."""
    trials, epochs = [], []
    for at in range(17):
        ids = {"arm": "ab"[at % 2], "seed": at // 2, "id": f"trial{at}"}
        state = "diverged" if at == 3 else "failed" if at == 4 else "complete"
        trials.append({**ids, "state": state, "train_images": 100 + at})
        for epoch in range(1, int(rng.integers(1, 9)) + 1):
            held = np.nan if at == 5 else rng.random()
            row = {**ids, "epoch": epoch, "seconds": rng.random(), "validation_accuracy": held}
            known = np.nan if rng.random() < 0.1 else rng.random()
            epochs.append({**row, "train_accuracy": known})
    made = plan_of([{"label": "a"}, {"label": "b"}])
    order = rng.permutation(len(epochs))
    return Frames(made, pd.DataFrame(trials), pd.DataFrame(epochs).iloc[order])


def one_by_one(frames: Frames, targets: list[float], hold: int) -> pd.DataFrame:
    """Times to accuracy, trial by trial, with the plainest code."""
    rows = []
    counted = frames.trials[frames.trials["state"].isin(["complete", "diverged"])].set_index("id")
    for trial in dict.fromkeys(frames.epochs["id"]):
        if trial not in counted.index:
            continue
        of, mine = counted.loc[trial], frames.epochs[frames.epochs["id"] == trial]
        mine = mine.sort_values("epoch")
        for split in ("train", "validation"):
            scores = mine[f"{split}_accuracy"].tolist()
            if all(map(np.isnan, scores)):
                continue
            for target in targets:
                first = [
                    at
                    for at in range(len(scores) - hold + 1)
                    if all(score >= target for score in scores[at : at + hold])
                ]
                reached = bool(first) and of["state"] != "diverged"
                at = first[0] if reached else len(scores) - 1
                rows.append(
                    {
                        "arm": of["arm"],
                        "seed": of["seed"],
                        "id": trial,
                        "split": split,
                        "target": target,
                        "reached": reached,
                        "epochs": at + 1,
                        "examples": float(of["train_images"]) * (at + 1),
                        "seconds": mine["seconds"].cumsum().tolist()[at],
                    }
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("hold", [1, 2, 3])
@pytest.mark.parametrize("together", [5000, 4])
def test_times_of_many_trials_are_those_of_each_alone(
    hold: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_TOGETHER", together)
    frames = ragged(np.random.default_rng(hold))
    targets = [0.2, 0.5, 0.9]
    found, expected = time_table(frames, targets, hold=hold), one_by_one(frames, targets, hold)
    assert found["reached"].any()
    assert not found["reached"].all()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


def test_what_a_reader_does_to_a_table_the_next_one_does_not_see(small: Path) -> None:
    with Store.read(small) as store:
        frames = load_frames(store)
    for table in (tables.arm_table, tables.check_table, claim_table, collapse_table):
        mine, kept = table(frames), table(frames).copy()
        del mine["arm" if "arm" in mine else "claim"]
        pd.testing.assert_frame_equal(table(frames), kept)

"""Trials side by side against the same trials on the torch path; and what ends one of them alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.train.lanes.trials import Ran, Values, few, run, trial

from normlab.train import train
from normlab.train.lanes.group import GroupTrial
from normlab.train.lanes.program import Program
from normlab.train.lanes.rule import size
from normlab.train.lanes.update import LaneUpdater
from normlab.train.loop import Trainer

pytestmark = pytest.mark.skipif(not size(), reason="this processor has no lanes")


@pytest.fixture(autouse=True)
def _modules_in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")  # nothing to compile but lanes


def by_torch(one: GroupTrial) -> Ran:
    """The trial on the torch path."""
    ran = Ran()
    for event in train(one.recipe, one.seed, one.splits, resume=one.resume):
        ran.take(event)
    return ran


DECLARED: dict[str, Values] = {
    "batch, dropout": {"dropout": 0.1, "l2": 1e-3, "schedule": "cosine"},
    "none, agc": {"norm": "none", "agc": 0.05, "augment": ["mixup"]},
    "layer, adamw": {
        "norm": "layer",
        "optimizer": "adamw",
        "lr": 0.005,
        "weight_decay": 0.1,
        "l1": 1e-4,
        "diagnostics": ["gradient_norm", "sparsity"],
    },
}


@pytest.mark.parametrize("name", DECLARED)
def test_records_are_those_of_the_torch_path(name: str) -> None:
    one = trial({**DECLARED[name], "epochs": 3}, 3)
    lanes, torchs = run([one])[0], by_torch(one)
    assert len(lanes.epochs) == len(torchs.epochs) == 3
    for ours, theirs in zip(lanes.epochs, torchs.epochs, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["lr"] == theirs["lr"]
        assert ours["details"].keys() == theirs["details"].keys()
        assert {k for k, v in ours.items() if v is None} == {
            k for k, v in theirs.items() if v is None
        }
        assert ours["test_accuracy"] == pytest.approx(theirs["test_accuracy"], abs=0.1)
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.05)
    # The first epoch's steps differ by roundings alone.
    assert lanes.epochs[0]["train_loss"] == pytest.approx(torchs.epochs[0]["train_loss"], rel=1e-3)
    result, expected = lanes.finished.result, torchs.finished.result
    assert [(c.name, c.declared) for c in result.checks] == [
        (c.name, c.declared) for c in expected.checks
    ]
    assert all(check.live for check in result.checks)
    same = {"state", "reason", "epochs", "parameters", "train_images", "test_images", "flops"}
    assert {f: getattr(result, f) for f in same} == {f: getattr(expected, f) for f in same}
    assert lanes.finished.weights.keys() == torchs.finished.weights.keys()


def test_it_says_how_and_beside_how_many() -> None:
    ran = run([trial({"epochs": 1}, 0), trial({"epochs": 2}, 1), trial({"epochs": 2}, 2)])
    for one in ran:
        assert one.computes[0]["path"] == "lanes"
        assert one.computes[0]["together"] == "3"
    assert ran[1].computes[1]["together"] == "2"
    assert [one.finished.computes["together"] for one in ran] == ["3", "2", "2"]
    torchs = by_torch(trial({"epochs": 1}, 0))
    assert torchs.computes[0].items() <= ran[0].computes[0].items()


def test_early_stopping_of_one_stops_no_other() -> None:
    # A rate of almost nothing improves no score.
    stuck = {"lr": 1e-12, "early_stopping": {"patience": 1, "split": "validation"}}
    ran = run([trial({**stuck, "epochs": 5}, 0), trial({"epochs": 3}, 1)], probes=False)
    assert ran[0].finished.result.stopped_early
    assert len(ran[0].epochs) < 3
    assert len(ran[1].epochs) == 3
    assert not ran[1].finished.result.stopped_early
    assert ran[1].bits == run([trial({"epochs": 3}, 1)], probes=False)[0].bits


def test_a_trial_that_diverges_ends_as_such_and_alone() -> None:
    wild = trial({"norm": "none", "lr": 1e12}, 5)
    calm = [trial({"norm": "none"}, seed) for seed in (1, 2)]
    ran = run([calm[0], wild, calm[1]])
    assert ran[1].finished.result.state == "diverged"
    assert ran[1].finished.result.epochs == by_torch(wild).finished.result.epochs == 1
    assert ran[1].epochs[0]["train_loss"] is None
    for one, alone in zip((ran[0], ran[2]), calm, strict=True):
        assert one.finished.result.state == "complete"
        assert one.bits == run([alone])[0].bits
        assert all(math.isfinite(epoch["train_loss"]) for epoch in one.epochs)


def broken(part: str) -> GroupTrial:
    """A trial whose own images cannot be trained on."""
    images = few()
    if part == "a label":
        labels = images.train.labels.copy()
        labels[50] = 99
        split = replace(images.train, labels=labels)
    else:
        split = replace(images.train, inputs=images.train.inputs.astype(object))
    return trial({}, 5, images=replace(images, train=split))


@pytest.mark.parametrize("part", ["a label", "the images"])
def test_a_trial_that_raises_ends_alone(part: str) -> None:
    others = [trial({}, seed) for seed in (1, 2)]
    ran = run([others[0], broken(part), others[1]], probes=False)
    assert isinstance(ran[1].end, Exception)
    assert ran[1].epochs == []
    with pytest.raises(type(ran[1].end)):
        by_torch(broken(part))
    for one, alone in zip((ran[0], ran[2]), others, strict=True):
        assert one.bits == run([alone], probes=False)[0].bits


def test_one_that_raises_first_of_all_leaves_the_others() -> None:
    ran = run([broken("a label"), trial({}, 1)], probes=False)
    assert isinstance(ran[0].end, IndexError)
    assert ran[1].bits == run([trial({}, 1)], probes=False)[0].bits


def test_a_trial_whose_last_epoch_was_saved_only_finishes() -> None:
    (whole,) = run([trial({}, 4)])
    saved = whole.checkpoints[-1]
    ran = run([trial({}, 4, resume=saved), trial({}, 1)], probes=False)
    assert ran[0].epochs == []
    assert ran[0].finished.result.weights_sha256 == whole.finished.result.weights_sha256
    assert ran[0].finished.result.checks == whole.finished.result.checks
    assert len(ran[1].epochs) == 2


def test_a_checkpoint_goes_on_by_torch_and_back() -> None:
    values: Values = {"epochs": 3, "optimizer": "adam", "lr": 0.005, "dropout": 0.1}
    whole, torchs = run([trial(values, 4)])[0], by_torch(trial(values, 4))
    for mine, then in ((whole, by_torch), (torchs, lambda one: run([one])[0])):
        on = then(trial(values, 4, resume=mine.checkpoints[0]))
        assert len(on.epochs) == 2
        assert on.finished.result.state == "complete"
        assert on.finished.result.checks == mine.finished.result.checks
        for now, was in zip(on.epochs, mine.epochs[1:], strict=True):
            assert now["train_loss"] == pytest.approx(was["train_loss"], rel=0.02)
            assert now["lr"] == was["lr"]


Disturb = Callable[[pytest.MonkeyPatch, int], None]


def _disturbed_gradient(patch: pytest.MonkeyPatch, lane: int) -> None:
    right = Program.step

    def wrong(self: Program, *given: Any) -> Any:
        found = right(self, *given)
        first, last = self.rows["layers.conv2.weight"]
        self.gradients[first:last, lane] *= 1.5
        return found

    patch.setattr(Program, "step", wrong)


def _disturbed_loss(patch: pytest.MonkeyPatch, lane: int) -> None:
    right = Program.step

    def wrong(self: Program, *given: Any) -> Any:
        losses, said = right(self, *given)
        losses[lane] *= 1.1
        return losses, said

    patch.setattr(Program, "step", wrong)


def _disturbed_update(patch: pytest.MonkeyPatch, lane: int) -> None:
    right = LaneUpdater.step

    def wrong(self: LaneUpdater, steps: Any) -> None:
        before = np.array(self.p[:, lane])
        right(self, steps)
        self.p[:, lane] += 0.5 * (self.p[:, lane] - before)

    patch.setattr(LaneUpdater, "step", wrong)


def _not_a_number(patch: pytest.MonkeyPatch, lane: int) -> None:
    right = Program.step

    def wrong(self: Program, *given: Any) -> Any:
        found = right(self, *given)
        self.gradients[0, lane] = np.nan
        return found

    patch.setattr(Program, "step", wrong)


DISTURBANCES: dict[str, Disturb] = {
    "the gradient of": _disturbed_gradient,
    "the loss": _disturbed_loss,
    "the update": _disturbed_update,
    "the gradient": _not_a_number,
}


@pytest.mark.parametrize("probes", [True, False])
@pytest.mark.parametrize("what", DISTURBANCES)
def test_a_wrong_primitive_is_caught_at_the_first_step(
    what: str, probes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [trial({"dropout": 0.1, "agc": 0.02}, seed) for seed in (1, 2, 3)]
    right = run(trials, probes=probes)
    DISTURBANCES[what](monkeypatch, 2)  # the last: nobody takes its lane when it is gone
    ran = run(trials, probes=probes)
    for lane in (0, 1):
        assert ran[lane].bits == right[lane].bits
        assert ran[lane].finished.computes["path"] == "lanes"
    torchs = Ran()
    for event in train(trials[2].recipe, 3, few(), probes=probes):
        torchs.take(event)
    assert ran[2].bits == torchs.bits
    assert ran[2].finished.result.weights_sha256 == torchs.finished.result.weights_sha256
    assert ran[2].finished.result.checks == torchs.finished.result.checks
    for told in (*ran[2].computes, ran[2].finished.computes):
        assert told["path"].startswith(f"torch: {what}")
        assert "together" not in told


def test_what_fails_for_all_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("no memory for maps")

    trials = [trial({}, seed) for seed in (1, 2)]
    monkeypatch.setattr(Program, "step", fails)
    for one, ran in zip(trials, run(trials), strict=True):
        assert ran.bits == by_torch(one).bits
        assert ran.finished.computes["path"] == "torch: ValueError: no memory for maps"


def test_a_miss_late_in_the_first_epoch_goes_back_to_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, done = LaneUpdater.step, []

    def wrong(self: LaneUpdater, steps: Any) -> None:
        right(self, steps)
        done.append(steps)
        self.p[:, 0] += len(done) == 2

    one = trial({"optimizer": "adam", "lr": 0.01, "clip_grad_norm": 0.5}, 1)
    monkeypatch.setattr(LaneUpdater, "step", wrong)
    (ran,) = run([one])
    assert ran.computes[0]["path"].startswith("torch: the update")
    assert ran.bits == by_torch(one).bits


def test_too_little_memory_changes_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Program, *given: Any) -> Any:
        raise MemoryError("no room for 16 lanes")

    monkeypatch.setattr(Program, "step", full)
    # An engine takes them up again, fewer at once: torch's path would be another training.
    with pytest.raises(MemoryError):
        run([trial({}, 0), trial({}, 1)])


def test_the_peak_is_shared_with_those_that_ended_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normlab.train.loop.peak_memory", lambda device: 1200)
    ran = run([trial({"epochs": 1}, 0), trial({"epochs": 2}, 1), trial({"epochs": 2}, 2)])
    assert [one.finished.result.peak_memory for one in ran] == [400, 400, 400]


def test_an_error_of_all_takes_no_epoch_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    right, calls = Trainer.trained, [0]

    def wrong(self: Trainer, *given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise ValueError("after the second epoch's steps")
        return right(self, *given)

    (whole,) = run([trial({}, 0)])
    monkeypatch.setattr(Trainer, "trained", wrong)
    (again,) = run([trial({}, 0)])
    assert again.computes[1]["path"].startswith("torch: ValueError")
    assert again.epochs[1]["train_loss"] == pytest.approx(whole.epochs[1]["train_loss"], rel=1e-3)

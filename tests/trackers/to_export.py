"""A study in a store, with numbers made by hand, as it is exported in these tests."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.made_stores import numbers, rows, trial_id
from tests.plans import plan_of

from normlab.records import EpochRecord, Evaluation, TrialResult
from normlab.store import Store

HOSTILE = "<b>x</b>/../é [1]|\\"
LABELS = ("batch", "layer", HOSTILE)
HOME = "/home/somebody/pictures"
PLACE = {
    "device": "cpu",
    "chip": "abacus",
    "threads": 1,
    "torch": "2.13.0",
    "taken_from": [f"{HOME}/runs"],
}
EPOCHS = 3


def accuracy(label: str, seed: int, epoch: int) -> float:
    return 0.5 + 0.1 * LABELS.index(label) + 0.01 * seed + epoch / 70


def fill(folder: Path, finished: Iterable[tuple[str, int]], *, mark: str = "") -> Path:
    """A run folder of 3 arms x 3 seeds in which these trials are finished, by arm and seed.

    `mark` gives the trials other weights. The hostile arm's seed 1 diverged; its seed 2 is invalid.
    """
    arms = [
        {
            "label": label,
            "levels": {"norm": {"kind": "group", "groups": at}},
            "recipe": {
                "norm": {"kind": "group", "groups": at},
                "data": {"kind": "image-folder", "path": HOME},
                "lr": 0.1,
                "augment": [{"kind": "flip"}],
                "nesterov": True,
                "l1": None,
            },
            "epochs": EPOCHS,
            "parameters": 10 + at,
            "classes": 10,
            "trials": [{"seed": s, "id": trial_id(label, s)} for s in range(3)],
        }
        for at, label in enumerate(LABELS)
    ]
    claim = {
        "kind": "better",
        "says": "Layer is better.",
        "source": None,
        "published": {},
        "confound": None,
        "metric": "test_accuracy",
        "at": "last",
        "margin": 0.003,
        "test": "t",
    }
    claims = [
        {**claim, "name": "layer beats batch", "sides": [["layer"], ["batch"]]},
        {**claim, "name": f"odd: {HOSTILE}", "sides": [["batch"], ["layer"]]},
    ]
    plan = plan_of(arms, seeds=[0, 1, 2], claims=claims, name="paper", question="Which <norm>?")
    with Store.write(folder) as store:
        store.record_plan(plan, rows(plan))
        for label, seed in finished:
            one = trial_id(label, seed)
            state = {1: "diverged", 2: "invalid"}.get(seed) if label == HOSTILE else None
            store.start(one, PLACE, 0)
            for epoch in range(1, EPOCHS + 1):
                store.add_epoch(one, _record(label, seed, epoch))
            store.finish(one, _result(label, seed, state or "complete", mark), [])
    return folder


def _record(label: str, seed: int, epoch: int) -> EpochRecord:
    score = accuracy(label, seed, epoch)
    return replace(
        numbers("batch", 0)[0][0],
        epoch=epoch,
        train_loss=None if epoch == 2 else 1 / 3,  # not finite
        train_accuracy=score,
        test_accuracy=score,
    )


def _result(label: str, seed: int, state: str, mark: str) -> TrialResult:
    return TrialResult(
        state=state,  # type: ignore[arg-type]
        epochs=EPOCHS,
        parameters=10,
        weights_sha256=hashlib.sha256(f"{label} {seed} {mark}".encode()).hexdigest(),
        train_images=100,
        validation_images=0,
        test_images=50,
        final_train=Evaluation(loss=0.2, accuracy=0.95, macro_f1=0.9, micro_f1=0.95, ece=None),
    )


EVERY = tuple((label, seed) for label in LABELS for seed in range(3))

"""A study of many arms in a store, as runs leave it, with nothing trained."""

import random
from pathlib import Path

from normlab.records import EpochRecord, Evaluation, TrialResult
from normlab.store import Store
from normlab.study.plan import Plan, make_plan
from normlab.study.spec import Study

EPOCHS = 2
PLACE = {"device": "cpu", "chip": "a chip", "threads": 1}


def plan_of_arms(rates: int, seeds: int = 2) -> Plan:
    """Three norms x so many learning rates, with a claim about two arms and one about all."""
    values = {
        "name": "large",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small", "epochs": EPOCHS, "batch_size": 64},
        "factors": {
            "norm": ["none", "batch", "layer"],
            "lr": [round(0.001 * (at + 1), 6) for at in range(rates)],
        },
        "seeds": seeds,
        "claims": [
            {"kind": "better", "name": "one", "arm": {"norm": "batch", "lr": 0.001},
             "over": {"norm": "none", "lr": 0.001}},
            {"kind": "equal", "name": "all", "arm": {"norm": "batch"}, "to": {"norm": "layer"}},
        ],
    }  # fmt: skip
    return make_plan(Study.parse(values))


def store_of(plan: Plan, folder: Path) -> Path:
    """Its trials finished, but for the last one, which is pending, and the one before: failed."""
    draw = random.Random(0)
    *finished, failed, _ = list(plan.trials)
    with Store.write(folder) as store:
        store.record_plan(plan.record, plan.rows())
        for trial in [*finished, failed]:
            store.start(trial, PLACE, 0)
            for epoch in range(1, EPOCHS + 1):
                store.add_epoch(trial, _record(epoch, draw))
            if trial != failed:
                store.finish(trial, _result(draw), [])
        store.fail(failed, "Traceback:\nRuntimeError: made up")
    return folder


def _record(epoch: int, draw: random.Random) -> EpochRecord:
    names = ("accuracy", "macro_f1", "micro_f1")
    of = {f"{split}_{name}": draw.uniform(0.5, 1) for split in ("train", "test") for name in names}
    return EpochRecord(
        epoch=epoch,
        lr=0.1,
        train_loss=draw.random(),
        validation_loss=None,
        validation_accuracy=None,
        validation_macro_f1=None,
        validation_micro_f1=None,
        test_loss=draw.random(),
        seconds=0.5,
        examples_per_second=1000.0,
        details={"weight_norm": draw.random()},
        **of,
    )


def _result(draw: random.Random) -> TrialResult:
    return TrialResult(
        state="complete",
        epochs=EPOCHS,
        parameters=7450,
        weights_sha256=f"{draw.getrandbits(256):064x}",
        train_images=1198,
        validation_images=0,
        test_images=599,
        final_train=Evaluation(loss=0.1, accuracy=0.9, macro_f1=0.9, micro_f1=0.9, ece=None),
    )

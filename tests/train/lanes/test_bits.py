"""A trial's bits are its own: whoever trains beside it, in whichever lane, from whichever epoch."""

from __future__ import annotations

import pytest
from tests.train.lanes.trials import Values, few, run, trial

from normlab.train.lanes.group import GroupTrial
from normlab.train.lanes.rule import form, size

pytestmark = pytest.mark.skipif(not size(), reason="this processor has no lanes")


@pytest.fixture(autouse=True)
def _modules_in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")  # nothing to compile but lanes


RESNET = {"kind": "resnet", "n": 1, "width": 4}

SHARED: dict[str, Values] = {
    **{
        kind: {"norm": kind}
        for kind in ("batch", "none", "layer", "instance", "batch_instance", "rms")
    },
    "group": {"norm": {"kind": "group", "groups": 2}},
    "ghost_batch": {"norm": {"kind": "ghost_batch", "ghost_size": 16}},
    "dropout": {"dropout": 0.2},
    "rare dropout": {"dropout": 0.02},
    "spatial dropout": {"dropout": {"kind": "spatial_dropout", "p": 0.2}},
    "stochastic depth": {"model": RESNET, "stochastic_depth": 0.3},
    "l1": {"l1": 1e-3},
    "l2": {"l2": {"strength": 1e-2, "roles": "all"}},
    "weight decay": {"weight_decay": 1e-2},
    "agc": {"agc": 0.02},
    "clip_grad_norm": {"clip_grad_norm": 0.5},
    "label smoothing": {"augment": [{"kind": "label_smoothing", "strength": 0.1}]},
    "mixup": {"augment": ["mixup"]},
    "nesterov": {"optimizer": {"kind": "sgd", "nesterov": True}},
    "no momentum": {"momentum": 0.0},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "lr": 0.01},
    "step": {"schedule": {"kind": "step", "step_size": 1}},
    "cosine": {"schedule": "cosine"},
    "one_cycle": {"schedule": "one_cycle"},
}
"""What is declared, by what it is for."""

OTHER: tuple[Values, ...] = (
    {"lr": 0.01, "l1": 1e-4, "init": "glorot"},
    {"lr": 0.2, "weight_decay": 1e-3, "clip_grad_norm": 0.1},
    {"lr": 0.03, "l2": 1e-2, "agc": 0.01},
    {"schedule": "cosine", "augment": ["mixup"]},
)
"""How companions differ from it."""


def companions(values: Values, count: int) -> list[GroupTrial]:
    """Trials of the same form with other seeds and scalars."""
    made = []
    for seed in range(1, count + 1):
        other = {**values, **OTHER[seed % len(OTHER)]}
        if "adam" in str(values.get("optimizer")) and "adamw" not in str(values):
            other.pop("weight_decay", None)
        if "agc" in other and "clip_grad_norm" in other:
            del other["agc"]
        if "dropout" in values and seed % 2:
            other["dropout"] = (
                {**values["dropout"], "p": 0.5} if isinstance(values["dropout"], dict) else 0.5
            )
        made.append(trial(other, seed))
    return made


def form_of(one: GroupTrial) -> object:
    images = one.splits
    return form(one.recipe, images.shape, images.num_classes, len(images.train), "cpu")


@pytest.mark.parametrize("name", SHARED)
def test_a_trial_s_bits_are_its_own(name: str) -> None:
    values = SHARED[name]
    own = trial(values, 7)
    others = companions(values, 6)
    assert isinstance(form_of(own), tuple)
    assert {form_of(each) for each in others} == {form_of(own)}
    (alone,) = run([own])
    assert len(alone.epochs) == 2
    assert all(told["path"] == "lanes" for told in alone.computes)

    diverging = trial({**values, "lr": 1e9}, 1)
    beside = run([*others[:2], diverging, *others[2:], own], probes=False)
    assert beside[-1].bits == alone.bits  # lane 7 of 8 rather than 0 of 4
    assert beside[-1].computes[-1]["path"] == "lanes"

    resumed = trial(values, 7, resume=alone.checkpoints[0])
    again = run([others[3], resumed, others[1]], probes=False)[1]
    assert again.bits[:2] == alone.bits[:2]
    assert again.epochs == alone.epochs[1:]


def test_a_full_group_changes_nothing() -> None:
    values = SHARED["dropout"]
    own = trial(values, 7)
    (alone,) = run([own])
    others = companions(values, size() - 1)
    full = run([*others, own], probes=False)
    assert full[-1].bits == alone.bits
    # And a companion's bits are its own as well.
    assert full[0].bits == run([others[0]])[0].bits


def test_a_seed_decides_bits() -> None:
    first, second = run([trial({}, 7), trial({}, 8)], probes=False)
    assert first.bits != second.bits
    assert len(few().train) % trial({}, 7).recipe.batch_size

"""The update of all lanes against `Updater`, trial by trial, on the same gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normlab.data import Splits, splits
from normlab.recipe import Recipe
from normlab.train.lanes import update
from normlab.train.lanes.update import LaneUpdater, form, why_not
from normlab.train.loop import Trainer

Values = dict[str, Any]
BASE: Values = {
    "data": "digits",
    "model": "digits-small",
    "batch_size": 256,
    "lr": 0.1,
    "momentum": 0.8,
    "epochs": 3,
}
ALL = "all"


@pytest.fixture(scope="module")
def images() -> Splits:
    return splits(Recipe.parse(BASE))


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "_ROWS", 100)  # so that they end within parameters


def trainer(images: Splits, seed: int, values: Values) -> Trainer:
    cycles = "one_cycle" in str(values)  # and with it the momentum
    base = {key: value for key, value in BASE.items() if key != "momentum" or not cycles}
    made = Trainer(
        Recipe.parse({**base, **values}), seed, images, torch.device("cpu"), probes=False
    )
    made.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def updater(trainers: Sequence[Trainer], lanes: int) -> LaneUpdater:
    rows = sum(parameter.numel() for parameter in trainers[0].model.parameters())
    p, g = (np.full((rows, lanes), np.nan, np.float32) for _ in range(2))
    return LaneUpdater(trainers, p, g)


def gradient(seed: int, step: int, name: str, like: Tensor) -> Tensor:
    # Named, not numbered by lane: a trial has the same wherever it stands.
    source = torch.Generator().manual_seed(1000 * seed + step + 7919 * sum(map(ord, name)))
    return torch.randn(like.shape, generator=source) * 10.0 ** (seed % 3 - 1)


def torch_step(one: Trainer, step: int) -> None:
    for name, parameter in one.updater.named.items():
        drawn = gradient(one.seed, step, name, parameter)
        parameter.grad = torch.empty_like(parameter).copy_(drawn)
    one.updater.step(step)


def lanes_step(lanes: LaneUpdater, steps: Sequence[int]) -> None:
    for lane, (one, step) in enumerate(zip(lanes.trainers, steps, strict=True)):
        for name, rows in lanes.rows.items():
            drawn = gradient(one.seed, step, name, one.updater.named[name])
            lanes.g[rows, lane] = drawn.reshape(-1).numpy()
    lanes.step(steps)


CASES: dict[str, list[Values]] = {
    "sgd": [{}, {"lr": 0.3, "momentum": 0.9}, {"momentum": 0.1}],
    "sgd without momentum": [{"momentum": 0.0}, {"momentum": 0.0, "lr": 1.0}],
    "sgd with and without momentum": [{}, {"momentum": 0.0}, {"momentum": 0.5}],
    "nesterov": [
        {"optimizer": {"kind": "sgd", "nesterov": True}, "momentum": m} for m in (0.8, 0.1)
    ],
    "adam": [
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": {"kind": "adam", "beta2": 0.9, "eps": 0.1}, "momentum": 0.0},
        {"optimizer": "adamw", "weight_decay": 0.3, "lr": 0.02},
        {"optimizer": "adamw", "weight_decay": {"strength": 2, "roles": ALL}, "momentum": 0.3},
    ],
    "l1 and l2": [
        {"l1": 0.1},
        {"l2": {"strength": 0.3, "roles": ALL}},
        {},
        {"l1": {"strength": 0.2, "roles": ["norm_gain", "bias"]}, "l2": 0.1},
    ],
    "l1 alike in all": [{"l1": 0.1}, {"l1": 0.1}],
    "decay": [{"weight_decay": 0.5}, {}, {"weight_decay": {"strength": 1, "roles": "norm_gain"}}],
    "agc": [
        {"agc": 0.02},
        {"agc": {"clip": 0.1, "eps": 0.1, "roles": ALL}},
        {},
        {"agc": {"clip": 0.5, "roles": "head_weight"}, "l2": 0.1},
    ],
    "agc at float32's ends": [{"agc": 1e30}, {"agc": 1e-30}],
    "norm": [
        {"clip_grad_norm": 1.0},
        {"clip_grad_norm": 1e6},
        {"agc": 0.02, "diagnostics": ["gradient_norm"]},
        {"diagnostics": ["gradient_norm"], "l1": 0.1},
    ],
    "schedules": [
        {"schedule": {"kind": "step", "step_size": 1}, "weight_decay": 0.1},
        {"schedule": "cosine", "momentum": 0.0},
        {"schedule": {"kind": "cosine", "per": "epoch"}, "l1": 0.01},
        {"schedule": "one_cycle"},
        {"schedule": {"kind": "one_cycle", "base_momentum": 0.0, "pct_start": 0.5}},
    ],
    "cycled beta1": [
        {"optimizer": "adam", "schedule": "one_cycle"},
        {"optimizer": "adamw", "schedule": {"kind": "one_cycle", "base_momentum": 0.0}},
    ],
    "gates": [
        {"norm": "batch_instance"},
        {"norm": "batch_instance", "lr": 0.01, "l2": {"strength": 0.1, "roles": "gate"}},
        {"norm": "batch_instance", "agc": {"clip": 0.1, "roles": ALL}},
    ],
    "gates under adam": [{"norm": "batch_instance", "optimizer": "adam", "lr": 0.02}] * 2,
}


def state_of(one: Trainer) -> dict[str, Any]:
    state = one.updater.state_dict()
    tensors = {
        f"{place}.{key}": value
        for place, entry in state["state"].items()
        for key, value in entry.items()
        if value is not None
    }
    groups = {f"group {i}": group for i, group in enumerate(state["param_groups"])}
    return {**tensors, **groups, **one.model.state_dict()}


def assert_alike(found: Trainer, expected: Trainer, exact: bool = False) -> None:
    ours, torch_s = state_of(found), state_of(expected)
    assert ours.keys() == torch_s.keys()
    for name, value in ours.items():
        if isinstance(value, Tensor) and not exact:
            scale = float(torch_s[name].abs().max())
            torch.testing.assert_close(
                value, torch_s[name], rtol=1e-5, atol=2e-6 * max(scale, 1e-6)
            )
        elif isinstance(value, Tensor):
            assert value.numpy().tobytes() == torch_s[name].numpy().tobytes(), name
        else:
            assert value == torch_s[name]
    for name in ("lr", "clipped", "scaled", "largest_norm", "gradient_norms"):
        sums = getattr(found.updater, name), getattr(expected.updater, name)
        assert (sums[0] is None) == (sums[1] is None), name
        if sums[0] is not None:
            assert float(sums[0]) == pytest.approx(float(sums[1]), rel=1e-6), name


@pytest.mark.parametrize("name", CASES)
def test_equals_the_updater_s(name: str, images: Splits) -> None:
    ours = [trainer(images, seed, values) for seed, values in enumerate(CASES[name])]
    torch_s = [trainer(images, seed, values) for seed, values in enumerate(CASES[name])]
    lanes = updater(ours, 8)
    # The trials are not at the same step: the last is an epoch ahead.
    starts = [0] * (len(ours) - 1) + [ours[0].steps_per_epoch]
    for epoch in range(2):
        for one in (*ours, *torch_s):
            one.updater.begin_epoch()
        lanes.load()
        for number in range(3):
            steps = [start + epoch * 3 + number for start in starts]
            lanes_step(lanes, steps)
            for one, step in zip(torch_s, steps, strict=True):
                torch_step(one, step)
        lanes.unload()
        for found, expected in zip(ours, torch_s, strict=True):
            assert_alike(found, expected)
    # And torch goes on from what the lanes left.
    for found, expected, start in zip(ours, torch_s, starts, strict=True):
        torch_step(found, start + 6)
        torch_step(expected, start + 6)
        assert_alike(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_a_round_trip_changes_no_bit(name: str, images: Splits) -> None:
    for steps in (0, 2):
        ours = [trainer(images, seed, values) for seed, values in enumerate(CASES[name])]
        same = [trainer(images, seed, values) for seed, values in enumerate(CASES[name])]
        for one in (*ours, *same):
            for step in range(steps):
                torch_step(one, step)
        lanes = updater(ours, 4 if len(ours) <= 4 else 8)
        lanes.load()
        lanes.p[:, len(ours) :] = np.nan
        lanes.unload()
        for found, expected in zip(ours, same, strict=True):
            assert_alike(found, expected, exact=True)
            for parameter, state in found.updater.optimizer.state.items():
                for value in state.values():
                    if value is not None and value.ndim:
                        assert value.stride() == parameter.stride()


COMPANIONS: dict[str, list[Values]] = {
    "sgd": [*CASES["l1 and l2"], *CASES["agc"], *CASES["norm"], *CASES["schedules"]],
    "nesterov": [
        {"optimizer": {"kind": "sgd", "nesterov": True}, **values}
        for values in (*CASES["l1 and l2"], *CASES["agc"], *CASES["norm"][:2])
    ],
    "adam": [*CASES["adam"], {"optimizer": "adam", "l1": 0.1}, {"optimizer": "adam", "agc": 0.1}],
}
ALONE: dict[str, list[Values]] = {
    "sgd": [
        {},
        {"momentum": 0.0},
        *({**values, "lr": 0.02} for name in ("l1 and l2", "decay") for values in CASES[name]),
        {"agc": 0.05},
        {"clip_grad_norm": 1.0},
        {"schedule": {"kind": "one_cycle", "base_momentum": 0.0, "pct_start": 0.5}},
    ],
    "nesterov": CASES["nesterov"],
    "adam": CASES["adam"],
}


def bits(
    images: Splits, alone: Values, companions: Sequence[Values], lane: int, count: int
) -> bytes:
    """Of everything that one trial has after three steps in a lane beside companions that fail."""
    recipes = [*companions[:lane], alone, *companions[lane:]]
    seeds = [*range(10, 10 + lane), 3, *range(30, 30 + len(companions) - lane)]
    every = [trainer(images, seed, values) for seed, values in zip(seeds, recipes, strict=True)]
    lanes = updater(every, count)
    lanes.load()
    others = np.arange(count) != lane if len(every) > 1 else np.zeros(count, bool)
    lanes.p[:500:3, others] = np.nan
    lanes.p[1:500:3, others] = -np.inf
    # Its own numbers are odd enough: zeros of both signs and, in a norm's bias, infinities.
    for value, at in ((0.0, 3), (-0.0, 7), (np.inf, 150), (-np.inf, 151)):
        lanes.p[at, lane if len(every) > 1 else slice(None)] = value
    for step in range(3):
        for index, one in enumerate(every):
            for name, rows in lanes.rows.items():
                drawn = gradient(one.seed, step, name, one.updater.named[name])
                lanes.g[rows, index] = drawn.reshape(-1).numpy()
        lanes.g[:, len(every) :] = lanes.g[:, :1]
        lanes.g[2::5, :] = -0.0
        lanes.g[4::5, others] = np.inf
        lanes.step([step] * len(every))
    lanes.unload()
    state = state_of(every[lane])
    sums = [every[lane].updater.gradient_norms, every[lane].updater.clipped]
    tensors = [value.numpy().tobytes() for value in state.values() if isinstance(value, Tensor)]
    return b"".join([*tensors, *(x.numpy().tobytes() for x in sums if x is not None)])


@pytest.mark.parametrize(
    ("kind", "index"), [(kind, i) for kind, values in ALONE.items() for i in range(len(values))]
)
def test_a_lane_s_bits_are_its_own(kind: str, index: int, images: Splits) -> None:
    alone = {**ALONE[kind][index], "diagnostics": ["gradient_norm"]}
    others = (COMPANIONS[kind] * 4)[index : index + 15]
    expected = bits(images, alone, [], 0, 4)
    assert bits(images, alone, [], 0, 16) == expected
    assert bits(images, alone, others[:3], 1, 4) == expected
    assert bits(images, alone, others[:6], 6, 8) == expected
    assert bits(images, alone, others, 11, 16) == expected


def changed(model: nn.Module, how: str) -> nn.Module:
    conv = model.get_submodule("layers.conv1")
    match how:
        case "frozen":
            next(model.parameters()).requires_grad_(False)
        case "parametrization":
            torch.nn.utils.parametrizations.weight_norm(conv)
        case "transposed":
            model.add_module("up", nn.ConvTranspose2d(2, 2, 2))
        case "float64":
            model.double()
    return model


@pytest.mark.parametrize("how", ["frozen", "parametrization", "transposed", "float64"])
def test_says_what_it_cannot_do(how: str, images: Splits) -> None:
    one = trainer(images, 0, {"agc": 0.1})
    assert why_not(one.recipe, one.model) is None
    found = why_not(one.recipe, changed(one.model, how))
    assert found is not None
    assert how in found


def test_an_after_step_of_its_own_has_no_form(images: Splits) -> None:
    one = trainer(images, 0, {"norm": "batch_instance"})
    assert why_not(one.recipe, one.model) is None
    norm = one.model.get_submodule("layers.norm1")
    own = type("Own", (type(norm),), {"after_step": lambda self: None})
    norm.__class__ = own
    assert "'layers.norm1' (Own)" in str(why_not(one.recipe, one.model))


def test_trials_of_other_forms_do_not_share_lanes(images: Splits) -> None:
    every = [trainer(images, 0, values) for values in ({}, {"optimizer": "adam"})]
    assert [form(one.recipe) for one in every] == ["sgd", "adam"]
    with pytest.raises(ValueError, match="too many values"):
        updater(every, 4)

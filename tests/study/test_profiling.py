"""Profiles of arms: which arm, which images, and a trial made of what was timed."""

import math
from pathlib import Path
from typing import Any

import pytest
from tests.profiles import RATES
from torch import Tensor, nn

from normlab.data import forget
from normlab.errors import UserError
from normlab.records.profiling import whole
from normlab.study import profiling
from normlab.study.plan import Plan, make_plan
from normlab.study.profiling import profile_of
from normlab.study.spec import Study
from normlab.study.storing import time_start

DIGITS = {"data": {"kind": "digits", "limit": 30, "test_limit": 20}, "epochs": 3, "batch_size": 128}


class Own(nn.Module):
    """A model of a user's, which computes most of it without layers."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(x.exp().mean(dim=(2, 3)))
        return y


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "measure", lambda device, precision: RATES)
    monkeypatch.setattr(profiling, "time_start", lambda: 2.0)


def plan(**changes: Any) -> Plan:
    base = {"model": "digits-small", "norm": "batch", **DIGITS, **changes}
    arms = [{"label": "first"}, {"label": "second", "set": {"norm": "none", "lr": 0.02}}]
    return make_plan(
        Study.parse({"name": "own", "question": "q", "base": base, "arms": arms, "seeds": 2})
    )


def test_a_trial_is_made_of_what_was_timed() -> None:
    made = plan(validation=0.1, diagnostics=["train", "activations"])
    found = profile_of(made, steps=2)
    assert (found.arm, found.images, found.device) == ("first", "real", "cpu")
    assert (found.training.batch, found.rates) == (128, RATES)
    parts = {part.name: part for part in found.trial_parts}
    assert list(parts) == [
        "building the model",
        "steps",
        "liveness, first epoch",
        "evaluation",
        "diagnostics",
        "storing",
        "checkpoints",
        "epoch records",
        "weights and predictions",
        "result",
    ]
    # 270 of 300 images in batches of 128 are three steps an epoch.
    assert parts["steps"].calls == 9
    assert parts["steps"].seconds == pytest.approx(9 * found.training.undisturbed)
    images = 3 * (200 + 30 + 270) + 270
    assert parts["evaluation"].seconds == pytest.approx(images * found.training.evaluation)
    assert parts["diagnostics"].seconds == pytest.approx(3 * found.training.diagnostics)
    stored = [part.seconds for part in found.trial_parts if part.within == "storing"]
    assert parts["storing"].seconds == pytest.approx(sum(stored))
    assert all(part.seconds > 0 for part in found.trial_parts if part.within)
    names = [part.name for part in found.worker_parts]
    assert names == [
        "importing",
        "reading the images",
        "loops compiled or loaded",
        "the first steps, beyond later ones",
    ]


def test_its_tables_have_a_row_for_each_part_and_shares_of_one() -> None:
    found = profile_of(plan(), "second", steps=1)
    assert found.arm == "second"
    for table, parts in ((found.step, found.training.parts), (found.trial, found.trial_parts)):
        assert table["name"].tolist() == [part.name for part in parts]
        assert table.loc[table["within"] == "", "share"].sum() == pytest.approx(1.0)
        total = table.loc[table["within"] == "", "seconds"].sum()
        assert total == pytest.approx(whole(parts))
    assert "own, second" in repr(found)
    assert "<table" in found._repr_html_()


def test_a_model_of_the_user_s_own_is_profiled() -> None:
    found = profile_of(plan(model=f"{__name__}:Own", norm="none"), "first", steps=1)
    parts = {(part.within, part.name): part for part in found.training.parts}
    assert parts["forward", "linear layers"].flops == 2 * 128 * 1 * 10
    assert ("forward", "convolutions") not in parts
    assert all(math.isfinite(part.seconds) for part in found.training.parts)


def test_images_that_are_not_here_are_made_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    forget()
    found = profile_of(plan(data="mnist", batch_size=2), steps=1)
    assert found.images == "made-up"
    assert "reading the images" not in [part.name for part in found.worker_parts]
    forget()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"arm": "frist"}, "own: unknown arm 'frist'. Did you mean 'first'?"),
        ({"steps": 0}, "steps is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"device": "gpu"}, "device is 'gpu'"),
    ],
)
def test_a_mistake_is_a_user_error(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as raised:
        profile_of(plan(), **asked)
    assert says in str(raised.value)


@pytest.mark.parametrize(("processor", "threads", "said"), [(0.5, 1, True), (1.0, 1, False)])
def test_a_busy_machine_is_noticed(processor: float, threads: int, said: bool) -> None:
    from dataclasses import replace

    found = profile_of(plan(), steps=1, threads=threads)
    training = replace(found.training, processor=processor)
    assert replace(found, training=training).is_disturbed is said


def test_a_new_process_says_how_long_it_took_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    found = time_start()
    assert found is not None
    assert found > 0
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert time_start() is None

"""What a step takes, found without values, beside what real steps take."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from normlab.data import Split, Splits, describe, splits
from normlab.models import build, parameter_count
from normlab.recipe import Recipe
from normlab.study.costs import costs_of
from normlab.study.plan import make_plan
from normlab.study.spec import Study
from normlab.train import Finished, footprint, train
from normlab.train.cost import flops
from normlab.train.optimizer import Updater

BASE: dict[str, object] = {
    "data": {"kind": "digits", "limit": 9, "test_limit": 3},
    "model": "digits-small",
    "batch_size": 25,
    "epochs": 2,
}
CASES: list[dict[str, object]] = [
    {"norm": "batch"},
    {"norm": "none", "validation": 0, "precision": "float64"},
    {"norm": "scaled_ws", "dropout": 0.2, "diagnostics": ["train"]},
    {"augment": [{"kind": "cutout", "size": 3, "copies": 2}], "norm": "switchable", "agc": 0.1},
    {"model": {"kind": "resnet", "n": 1, "width": 4}, "stochastic_depth": 0.2},
]


@pytest.mark.parametrize("values", CASES, ids=str)
def test_the_operations_of_a_trial_are_those_that_torch_counts_in_its_training(
    values: dict[str, Any], tmp_path: Path
) -> None:
    base = {**BASE, **values}
    plan = make_plan(Study.parse({"name": "s", "question": "?", "base": base, "seeds": 1}))
    (cost,) = costs_of(plan, tmp_path, probing=False).arm_costs
    recipe, facts = plan.arms[0].recipe, plan.arms[0].facts
    flops(recipe, facts.shape, facts.num_classes)  # what a trial stores is counted before, not here
    with FlopCounterMode(display=False) as counter:
        *_, finished = train(recipe, 0, splits(recipe), probes=False)
    assert isinstance(finished, Finished)
    assert cost.flops == counter.get_total_flops()
    assert cost.flops_per_image == finished.result.flops


def test_a_storage_counts_from_its_making_to_its_end() -> None:
    with footprint._Ledger() as ledger:
        first = torch.empty(10, device="meta")
        second = first + 1
        view = second[2:]
        del first, second
        third = view + 1  # the 10 numbers behind the view are still there
        del view, third
        torch.empty(15, device="meta")
    assert ledger.peak == 4 * (10 + 10)
    assert ledger.flops == 0


def test_a_matrix_product_has_two_operations_for_each_of_its_products() -> None:
    with footprint._Ledger() as ledger:
        torch.empty(2, 3, device="meta") @ torch.empty(3, 5, device="meta")
    assert ledger.flops == 2 * 2 * 3 * 5


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "schedule": "one_cycle"},
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
    ],
    ids=str,
)
def test_an_optimizer_remembers_as_much_as_is_said(values: dict[str, Any]) -> None:
    recipe = Recipe.parse({**BASE, **values})
    model = build(recipe, (1, 8, 8), 10).model
    updater = Updater(recipe, model, 1)
    model(torch.rand(4, 1, 8, 8)).sum().backward()
    updater.step(0)
    state = [v for each in updater.optimizer.state.values() for v in each.values()]
    kept = sum(v.numel() for v in state if isinstance(v, torch.Tensor) and v.dim())
    assert kept == footprint.remembered(recipe) * parameter_count(model)


def test_images_that_augmentation_adds_are_counted() -> None:
    made = {"kind": "cutout", "size": 3, "copies": 3}
    assert footprint.copies(Recipe.parse({**BASE, "augment": [made, "horizontal_flip"]})) == 3
    assert footprint.copies(Recipe.parse(BASE)) == 1


def test_a_model_that_needs_values_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    monkeypatch.setattr(footprint, "build", fails)
    recipe = Recipe.parse(BASE)
    assert footprint.follow_step(recipe, (1, 8, 8), 10, 4) is None
    assert footprint.follow_scoring(recipe, (1, 8, 8), 10, 4) is None


SHAPE = (3, 32, 32)
LARGE = {"data": "cifar10", "model": {"kind": "resnet", "n": 1}, "batch_size": 384, "epochs": 1}


def peaks() -> None:
    """Write the process's largest size before and after a trial; run in a process of its own."""
    from normlab.train.cost import peak_memory, resident_memory

    torch.set_num_threads(1)
    recipe, draw = Recipe.parse(LARGE), np.random.default_rng(0)

    def some(count: int) -> Split:
        return Split(
            inputs=draw.random((count, *SHAPE), np.float32), labels=draw.integers(10, size=count)
        )

    def made(count: int) -> Splits:
        return Splits(
            train=some(count), validation=some(0), test=some(10), num_classes=10,
            class_names=tuple("0123456789"), low=np.zeros(3, np.float32), high=np.ones(3, np.float32),
        )  # fmt: skip

    list(train(recipe, 0, made(8), probes=False))  # libraries and compiled loops
    # Compiling these can take more than a step does: forget the largest size so far.
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        sys.stdout.write(json.dumps(None))
        return
    before = resident_memory()
    *_, finished = train(recipe, 0, made(384), probes=False)
    assert finished.result.peak_memory == peak_memory(torch.device("cpu"))
    # Not `peak_memory`: that of a new process begins with its parent's, a large test run's.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    found = None if peak is None else [before, 1024 * int(peak.split()[1])]
    sys.stdout.write(json.dumps(found))


@pytest.mark.skipif(sys.platform != "linux", reason="the size of the process is read from /proc")
def test_the_peak_of_a_step_is_near_what_the_process_really_grew_by() -> None:
    words = [sys.executable, "-c", "from tests.train.test_footprint import peaks; peaks()"]
    # The first process compiles the loops of these shapes, which takes more than a step does.
    for _ in range(2):
        out = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
    found = json.loads(out.splitlines()[-1])
    if found is None:
        pytest.skip("this machine's processes cannot forget their largest size")
    before, peak = found
    recipe = Recipe.parse(LARGE)
    step = footprint.follow_step(recipe, SHAPE, 10, 384)
    assert step is not None
    images = 384 * np.prod(SHAPE) * 4
    assert 0.6 < (step.peak + images) / (peak - before) < 1.6


def test_a_published_set_s_shape_is_enough() -> None:
    facts = describe(Recipe.parse(LARGE).data)
    scoring = footprint.follow_scoring(Recipe.parse(LARGE), facts.shape, facts.num_classes, 2)
    assert scoring is not None
    assert scoring.trained == 4 * parameter_count(build(Recipe.parse(LARGE), facts.shape, 10).model)
    assert scoring.kept > scoring.trained  # running statistics

"""The parts of the benchmarks of a step and of a study that need none of the peers they stand beside."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from normlab.errors import UserError
from normlab.models import MODELS, build, parameter_count
from normlab.norms import make
from normlab.recipe import Recipe
from normlab.train import EpochDone, train
from normlab.train.streams import initialize

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The benchmarks' modules, by name."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        names = ("mnist_script", "plain_loops", "plain_nets", "step", "step_cases", "study")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def table(parts: SimpleNamespace) -> list[Any]:
    return parts.step_cases.cases()  # type: ignore[no-any-return]


def case_of(table: list[Any], model: str) -> Any:
    return next(case for case in table if case.recipe.model.kind == model)


def test_the_table_has_every_model_of_the_catalog(table: list[Any]) -> None:
    names = [case.name for case in table]
    assert len(set(names)) == len(names)
    assert {case.recipe.model.kind for case in table} == set(MODELS)
    batches = {case.name: case.recipe.batch_size for case in table}
    assert batches["mnist-7288, float32"] == batches["mnist-7704, float32"] == 128
    assert batches["resnet, bfloat16"] == 32
    assert batches["resnet50-as-published, bfloat16"] == 64
    moved = [case for case in table if case.augment]
    assert [spec["kind"] for spec in moved[0].augment] == [
        "rotation",
        "affine",
        "brightness",
        "contrast",
    ]
    assert [case.recipe.model.kind for case in moved] == ["mnist-7704"]


def test_a_case_trains_with_batch_norm_and_no_validation(table: list[Any]) -> None:
    for case in table:
        assert case.recipe.norm.kind == "batch"
        assert (case.recipe.schedule.kind, case.recipe.validation) == ("constant", 0)
        assert len(set(case.recipe.model.model_dump(exclude_defaults=True)) - {"kind"}) == 0


@pytest.mark.parametrize("model", MODELS)
def test_the_plain_net_is_torch_s_alone_with_the_same_weights_and_logits(
    parts: SimpleNamespace, table: list[Any], model: str
) -> None:
    case = case_of(table, model)
    ours = build(case.recipe, case.shape, case.classes).model
    initialize(ours, 3)
    plain = parts.plain_nets.plain_net(case.recipe, case.shape, case.classes, seed=3)
    assert parts.plain_nets.foreign(plain) == set()
    assert parameter_count(plain) == parameter_count(ours)
    x = torch.randn(2, *case.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(x), ours.eval()(x), rtol=1e-4, atol=1e-4)


def test_a_net_with_a_layer_of_ours_left_in_it_is_not_plain(parts: SimpleNamespace) -> None:
    assert parts.plain_nets.foreign(torch.nn.Sequential(make("batch", 3))) == {"BatchNorm"}
    with pytest.raises(parts.plain_nets.UnknownLayerError, match="LayerNorm"):
        parts.plain_nets.written(torch.nn.Sequential(make("layer", 3)))


def test_a_step_of_every_loop_changes_the_weights_alike(
    parts: SimpleNamespace, table: list[Any]
) -> None:
    """One step, the whole window as one batch: there the orders of the loops make no difference."""
    case = case_of(table, "mnist-7288")
    recipe = case.recipe.model_copy(update={"batch_size": 16, "epochs": 1})
    one = parts.step_cases.Case(recipe, steps=1)
    images = parts.step_cases.made(one)
    (done, *_) = train(recipe, 0, images.splits(one.classes), probes=False)
    assert isinstance(done, EpochDone)
    wanted = [v for k, v in done.checkpoint.model.items() if k.endswith("weight")]
    for layout in parts.plain_loops.LAYOUTS:
        training = one.training(layout, "float32")
        for loop in ("loader", "tensors"):
            net = parts.plain_nets.plain_net(recipe, one.shape, one.classes)
            net = net.to(memory_format=parts.plain_loops.LAYOUTS[layout])
            optimizer = training.made(net)
            if loop == "loader":
                batches = parts.plain_loops.loader(images.pictures([]), 16)
                parts.plain_loops.loader_epoch(net, batches, optimizer, training)
            else:
                parts.plain_loops.tensor_epoch(
                    net, torch.from_numpy(images.scaled), torch.from_numpy(images.labels),
                    optimizer, training, batch_size=16,
                )  # fmt: skip
            found = [v for k, v in net.state_dict().items() if k.endswith("weight")]
            for a, b in zip(found, wanted, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_batched_transforms_at_no_strength_change_nothing(parts: SimpleNamespace) -> None:
    still = [
        {"kind": "rotation", "degrees": 0.0},
        {"kind": "affine", "degrees": 0.0, "shear": 0.0, "shift": 0.0, "scale": [1.0, 1.0]},
        {"kind": "brightness", "strength": 0.0},
        {"kind": "contrast", "strength": 0.0},
    ]
    images = torch.rand(4, 1, 9, 9) * 2 - 1
    low, high = torch.tensor([-1.0]), torch.tensor([1.0])
    found = parts.plain_loops.batched(still, low, high)(images)
    torch.testing.assert_close(found, images, rtol=1e-5, atol=1e-5)
    strong = [{**spec, **({"degrees": 40.0} if "degrees" in spec else {})} for spec in still]
    assert not torch.allclose(parts.plain_loops.batched(strong, low, high)(images), images)


def test_slow_variants_of_a_side_leave_after_two_rounds(parts: SimpleNamespace) -> None:
    sides = {
        ("normlab", ""): lambda: 1.0,
        ("plain", "fast"): lambda: 2.0,
        ("plain", "slow"): lambda: 3.0,
        ("keras", "fit"): lambda: 9.0,  # the only one of its side: it stays, however slow
    }
    times = parts.step.in_windows(sides, seconds=0.0, least=4)
    assert {key[1]: len(taken) for key, taken in times.items()} == {
        "": 4, "fast": 4, "slow": 2, "fit": 4,
    }  # fmt: skip
    row = parts.step.beside({"fast": [2.0] * 4, "slow": [1.0] * 2}, [1.0] * 4)
    assert (row["best"], row["ratio"]) == ("fast", 2.0)


def test_rows_of_the_table_stand_beside_the_plain_loops(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    command = [
        sys.executable, "benchmarks/step.py", "--models", "digits-small", "--sides", "tensors",
        "--seconds", "0", "--steps", "2", "--json", str(rows),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(rows.read_text())["rows"]
    assert row["rounds"] >= 3
    assert row["tensors"]["ratio"] > 0
    assert len(row["tensors"]["variants_ms"]) == 4


def test_the_script_s_arms_are_those_of_the_study(parts: SimpleNamespace) -> None:
    size = parts.study.Size([], 1, 1, 100, 100, 2)
    size.arms = [arm.label for arm in parts.study.Study.load(parts.study.STUDY).arms]
    arms = parts.study.plain_arms(size)
    assert len(arms) == 6
    assert arms[0] == {"batch_size": 128, "l1": 0.0, "l2": 0.0}
    assert arms[-1] == {"batch_size": 256, "splits": 2, "l1": 0.0001, "l2": 0.001}


@pytest.mark.parametrize("splits", [1, 2])
def test_the_script_s_net_is_that_of_the_study(parts: SimpleNamespace, splits: int) -> None:
    norm = "batch" if splits == 1 else {"kind": "ghost_batch", "splits": splits}
    recipe = Recipe.parse({"data": "mnist", "model": "mnist-7288", "norm": norm})
    ours = build(recipe, (1, 28, 28), 10).model
    plain = parts.mnist_script.Net(splits)
    assert parameter_count(plain) == parameter_count(ours) == 7288
    for theirs, mine in zip(plain.parameters(), ours.parameters(), strict=True):
        theirs.data.copy_(mine)
    x = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(plain(x), ours(x), rtol=1e-4, atol=1e-4)


def test_a_trial_of_the_script_stores_what_it_found(parts: SimpleNamespace, tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    images = tmp_path / "images.npz"
    np.savez(
        images,
        train_images=source.integers(0, 256, (32, 28, 28), np.uint8),
        train_labels=source.integers(0, 10, 32),
        test_images=source.integers(0, 256, (8, 28, 28), np.uint8),
        test_labels=source.integers(0, 10, 8),
    )
    arm = {"batch_size": 16, "splits": 2, "l1": 0.0001, "l2": 0.001}
    out = tmp_path / "out"
    lines = parts.mnist_script.trial(arm, 0, str(images), str(out), epochs=2)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {path.name for path in out.iterdir()} == {
        "weights.pt",
        "predictions.npy",
        "epochs.jsonl",
    }


def test_other_studies_are_timed_without_the_scripts(
    parts: SimpleNamespace, tmp_path: Path
) -> None:
    size = parts.study.Size(["batch 1x"], 1, 1, 100, 100, 2, "digits-norms")
    written = yaml.safe_load(parts.study.study_file(size, tmp_path).read_text())
    assert written["base"]["data"] == {"kind": "digits", "limit": 10, "test_limit": 10}
    assert "claims" not in written
    with pytest.raises(UserError, match="digits-norms"):
        parts.study.by_scripts(size, tmp_path, threads=1, at_once=1)

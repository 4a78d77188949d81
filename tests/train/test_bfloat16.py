"""`precision: bfloat16` with every kind and key: what is narrow, what stays wide, and it learns."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from normlab.data import Split, Splits, splits
from normlab.models import build
from normlab.recipe import NORMS as NORM_SPECS
from normlab.recipe import Recipe
from normlab.records import Check
from normlab.train import EpochDone, Finished, train
from normlab.train.losses import LOSSES

BASE: dict[str, Any] = {
    "data": {"kind": "digits", "limit": 30, "test_limit": 20},
    "model": "digits-small",
    "precision": "bfloat16",
    "epochs": 2,
    "lr": 0.05,
    "batch_size": 32,
}
GROUPED = {
    "ghost_batch": "splits",
    "group": "groups",
    "evonorm_s0": "groups",
    "torch_group": "groups",
}
SMALL_RESNET = {"kind": "resnet", "n": 1, "width": 4}


def run(
    values: dict[str, Any], data: Splits | None = None
) -> tuple[Recipe, list[EpochDone], Finished]:
    recipe = Recipe.parse({**BASE, **values})
    *epochs, end = train(recipe, 0, data or splits(recipe))
    assert isinstance(end, Finished)
    return recipe, epochs, end  # type: ignore[return-value]


def precision_of(end: Finished) -> Check:
    (check,) = (c for c in end.result.checks if c.name == "precision")
    return check


def losses(epochs: list[EpochDone]) -> list[float]:
    found = [epoch.record.train_loss for epoch in epochs]
    assert None not in found
    return [float(loss) for loss in found if loss is not None]


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def check_dtypes(epochs: list[EpochDone], end: Finished) -> None:
    """Everything that is kept is float32; every layer that computes said that it was bfloat16."""
    state = {n: t for n, t in end.weights.items() if t.is_floating_point()}
    assert {t.dtype for t in state.values()} == {torch.float32}
    remembered = tensors(epochs[-1].checkpoint.optimizer)
    assert {t.dtype for t in remembered if t.ndim} <= {torch.float32}
    check = precision_of(end)
    assert check.live
    counts = re.findall(r"(\d+) of (\d+)", check.found)
    assert counts
    assert all(so == of for so, of in counts), check.found
    assert end.computes["precision"] == "bfloat16 autocast"


def named(kind: str) -> object:
    return {"kind": kind, GROUPED[kind]: 4} if kind in GROUPED else kind


EVERYWHERE: list[dict[str, Any]] = [
    *({"norm": named(kind)} for kind in NORM_SPECS),
    {"norm": {"kind": "filter_response", "learned_eps": True}},
    {"norm": {"kind": "ghost_batch", "ghost_size": 8}},
    {"norm": "tests.norms.own:SharedDeviation"},
    {"norm": "none", "lr": 0.2},
    *({"activation": name} for name in ("leaky_relu", "silu", "gelu")),
    *({"dropout": {"kind": kind, "p": 0.1}} for kind in ("dropout", "spatial_dropout")),
    {"dropout": {"kind": "drop_block", "p": 0.1, "block_size": 3}},
    {"model": SMALL_RESNET, "stochastic_depth": 0.2},
    {"model": SMALL_RESNET, "norm": "scaled_ws"},
    {"model": SMALL_RESNET, "norm": "none", "init": "glorot"},
    {"model": "tests.models.own:Net", "norm": "batch"},
    {"model": "tests.models.own:Net", "norm": "evonorm_b0"},
    {"model": "tests.models.own:Net", "norm": "none"},
    {"agc": 0.02},
    {"agc": {"clip": 0.02, "roles": "all"}, "norm": "scaled_ws"},
    {"clip_grad_norm": 0.5},
    {"l1": 1e-4},
    {"l2": 1e-3, "weight_decay": 1e-3},
    {"optimizer": {"kind": "sgd", "nesterov": True}},
    {"optimizer": "adam", "lr": 0.005},
    {"optimizer": "adamw", "lr": 0.005, "weight_decay": 0.01},
    {"loss": "mse"},
    {"init": "glorot"},
    {"schedule": "one_cycle", "lr": 0.1},
    {"schedule": "cosine"},
    {"early_stopping": 2},
    {"validation": 0},
    {"augment": ["horizontal_flip", {"kind": "cutout", "size": 3, "copies": 2}]},
    {"augment": [{"kind": "rotation", "degrees": 15}, {"kind": "crop", "padding": 1}]},
    {"augment": ["mixup"]},
    {"augment": ["cutmix"]},
    {"augment": ["label_smoothing"]},
    {"diagnostics": ["activations", "gradient_norm", "sparsity", "train"], "agc": 0.02},
]


@pytest.mark.parametrize("values", EVERYWHERE, ids=str)
def test_it_trains_with_everything_else(values: dict[str, Any]) -> None:
    _, epochs, end = run(values)
    assert end.result.state == "complete"
    check_dtypes(epochs, end)
    first, *_, last = losses(epochs)
    assert last < first
    if values.get("dropout") is None and "stochastic_depth" not in values:
        # The same steps on the same images in float32: nothing but rounding is between them.
        _, wide, _ = run({**values, "precision": "float32"})
        assert losses(epochs) == pytest.approx(losses(wide), rel=0.05)


def images(shape: tuple[int, int, int], count: int = 4) -> Splits:
    """A few images of noise, two classes, no validation."""
    inputs = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    split = Split(inputs=inputs, labels=np.arange(count) % 2)
    empty = Split(inputs=inputs[:0], labels=split.labels[:0])
    ends = np.zeros(shape[0], np.float32), np.ones(shape[0], np.float32)
    return Splits(
        train=split,
        validation=empty,
        test=split,
        num_classes=2,
        class_names=("a", "b"),
        low=ends[0],
        high=ends[1],
    )


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("mnist-7288", (1, 28, 28)),
        ("mnist-7704", (1, 28, 28)),
        ({"kind": "resnet", "n": 2}, (3, 16, 16)),
        ({"kind": "resnet50", "width": 8}, (3, 32, 32)),
        ({"kind": "resnet50-as-published", "width": 8}, (3, 32, 32)),
    ],
    ids=str,
)
def test_every_bundled_model_learns_a_few_images(model: Any, shape: tuple[int, int, int]) -> None:
    values = {"model": model, "batch_size": 4, "epochs": 6, "validation": 0, "lr": 0.02}
    _, epochs, end = run(values, images(shape))
    check_dtypes(epochs, end)
    first, *_, last = losses(epochs)
    assert last < first


def test_logits_and_loss_are_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    plain = LOSSES["cross_entropy"]

    def spy(logits: Tensor, targets: Tensor) -> Tensor:
        loss = plain(logits, targets)
        seen.add((logits.dtype, loss.dtype, logits.requires_grad))
        return loss

    monkeypatch.setitem(LOSSES, "cross_entropy", spy)
    run({"epochs": 1})
    assert seen == {(torch.float32, torch.float32, True), (torch.float32, torch.float32, False)}


def test_evaluation_predictions_and_final_train_are_those_of_the_bfloat16_model() -> None:
    recipe, epochs, end = run({"norm": "batch_instance"})
    data = splits(recipe)
    model = build(recipe, data.shape, data.num_classes).model
    model.load_state_dict(end.weights)
    model.eval()

    def loss(split: Split, *, narrow: bool) -> tuple[float, Tensor]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            logits = model(torch.from_numpy(split.inputs))
        logits = logits.float()
        return float(LOSSES["cross_entropy"](logits, torch.from_numpy(split.labels))), logits

    found, logits = loss(data.test, narrow=True)
    assert epochs[-1].record.test_loss == pytest.approx(found, rel=1e-6)
    assert torch.equal(end.predictions, logits.argmax(dim=1))
    assert torch.equal(end.confidences, logits.softmax(dim=1).max(dim=1).values)
    assert end.result.final_train is not None
    train_loss = end.result.final_train.loss
    assert train_loss == pytest.approx(loss(data.train, narrow=True)[0], rel=1e-6)
    assert train_loss != pytest.approx(loss(data.train, narrow=False)[0], rel=1e-6)


def test_the_activations_that_are_looked_at_are_those_of_the_bfloat16_model() -> None:
    recipe, epochs, end = run({"diagnostics": ["activations"], "epochs": 1})
    model = build(recipe, (1, 8, 8), 10).model
    model.load_state_dict(end.weights)
    model.eval()
    seen = []
    layer = model.get_submodule("layers.norm1")
    layer.register_forward_hook(lambda _, args, output: seen.append(output.float()))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(torch.from_numpy(splits(recipe).validation.inputs[:256]))
    wanted = torch.tensor([0.01, 0.2, 0.8, 0.99])
    found = epochs[0].record.details["activations"]["layers.norm1"]
    assert found == torch.quantile(seen[0].flatten(), wanted).tolist()


@pytest.mark.parametrize("kind", ["batch", "layer", "switchable"])
def test_norms_by_plain_torch_train_alike(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, by_table, _ = run({"norm": kind})
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")
    _, plain, end = run({"norm": kind})
    assert end.computes["kernels"].startswith("norms reference ")
    check_dtypes(plain, end)
    assert losses(plain) == pytest.approx(losses(by_table), rel=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", NORM_SPECS)
def test_every_norm_trains_in_bfloat16_on_a_gpu(kind: str) -> None:
    recipe = Recipe.parse({**BASE, "norm": named(kind)})
    *epochs, end = train(recipe, 0, splits(recipe), device="cuda")
    assert isinstance(end, Finished)
    check_dtypes(epochs, end)  # type: ignore[arg-type]
    first, *_, last = losses(epochs)  # type: ignore[arg-type]
    assert last < first


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tf32_is_off_wherever_a_trial_computes(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = LOSSES["cross_entropy"]

    def spy(logits: Tensor, targets: Tensor) -> Tensor:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return plain(logits, targets)

    monkeypatch.setitem(LOSSES, "cross_entropy", spy)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's default
    *_, end = run({"precision": precision, "epochs": 1})
    assert isinstance(end, Finished)
    assert set(seen) == {(False, False)}
    assert torch.backends.cudnn.allow_tf32

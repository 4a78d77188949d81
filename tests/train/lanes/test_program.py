"""A step in lanes against float64, beside torch in float32; and that a wrong primitive is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from llvmlite import ir
from tests.train.lanes.side_by_side import Sides, misses
from torch import nn

from normlab.models import build
from normlab.norms import BatchNorm, GroupNorm
from normlab.recipe import Recipe
from normlab.regularizers import Dropout
from normlab.train.lanes import convolution, pointwise
from normlab.train.lanes.memory import LARGE
from normlab.train.lanes.norms import LaneNorm
from normlab.train.lanes.rule import size
from normlab.train.lanes.views import Side, Writer
from normlab.train.lanes.writer import LaneWriter

pytestmark = pytest.mark.skipif(not size(), reason="this processor has no lanes")

DIGITS, MNIST, SMALL = (1, 8, 8), (1, 28, 28), (3, 16, 16)


@pytest.fixture(autouse=True)
def _modules_in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")  # nothing to compile but lanes


def model_of(shape: tuple[int, int, int], **values: object) -> nn.Module:
    return build(Recipe.parse({"data": "digits", **values}), shape, 10).model


NORMS: list[Any] = [
    *("none", "batch", "torch_batch", "instance", "torch_instance", "layer", "torch_layer"),
    *("rms", "batch_instance", {"kind": "group", "groups": 2}),
    {"kind": "torch_group", "groups": 2},
    {"kind": "ghost_batch", "ghost_size": 4},
    {"kind": "ghost_batch", "splits": 2, "running": "per_split"},
]


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_every_norm(norm: Any) -> None:
    sides = Sides(model_of(DIGITS, model="digits-small", norm=norm, dropout=0.2), DIGITS)
    assert sides.dropping
    assert misses(sides, range(4)) == []


NETS: list[tuple[tuple[int, int, int], dict[str, Any]]] = [
    (MNIST, {"model": "mnist-7288", "norm": "batch"}),
    (MNIST, {"model": "mnist-7288", "norm": "none", "dropout": 0.1}),
    (MNIST, {"model": "mnist-7704", "norm": "batch", "dropout": 0.1}),
    (
        MNIST,
        {"model": "mnist-7704", "norm": "layer", "dropout": {"kind": "spatial_dropout", "p": 0.3}},
    ),
]


@pytest.mark.parametrize(("shape", "values"), NETS, ids=str)
def test_bundled_nets(shape: tuple[int, int, int], values: dict[str, Any]) -> None:
    sides = Sides(model_of(shape, **values), shape)
    assert bool(sides.dropping) == ("dropout" in values)
    assert misses(sides) == []


RESNETS: list[dict[str, Any]] = [
    {"block": "post", "shortcut": "identity", "norm": "batch"},
    {"block": "pre", "shortcut": "identity", "norm": "batch", "dropout": 0.1},
    {"block": "pre", "shortcut": "projection", "norm": "instance", "width": 8},
]


@pytest.mark.parametrize("values", RESNETS, ids=str)
def test_resnets(values: dict[str, Any]) -> None:
    options = {"width": 4, **values}
    train = {key: options.pop(key) for key in ("norm", "dropout") if key in options}
    model = {"kind": "resnet", "n": 1, **options}
    depth = 0.0 if "dropout" in train else 0.2
    sides = Sides(model_of(SMALL, model=model, stochastic_depth=depth, **train), SMALL)
    assert sides.dropping
    assert misses(sides) == []


# Kernel, stride, padding: as nn.Conv2d takes them.
WINDOWS: list[tuple[Any, int, Any]] = [
    (1, 1, 0),
    (1, 2, 0),
    (2, 2, 0),
    (3, 1, 0),
    (3, 1, 1),
    (3, 1, 2),
    (3, 2, 0),
    (3, 2, 1),
    (3, 3, 1),
    (5, 1, 0),
    (5, 1, 2),
    (5, 2, 1),
    (5, 2, 2),
    ((3, 1), 1, (1, 0)),
]


def net(*layers: nn.Module, channels: int = 4, norm: nn.Module | None = None) -> nn.Sequential:
    """Layers between a convolution of the images with its norm, and an average and a head."""
    first = nn.Conv2d(2, 4, 1)
    norms = [norm] if norm else []
    return nn.Sequential(
        *(first, *norms, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    )


@pytest.mark.parametrize("sides", [(7, 6), (23, 22)], ids=["whole", "by rows"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_convolutions(window: tuple[Any, int, Any], sides: tuple[int, int]) -> None:
    kernel, stride, padding = window
    assert (4 * sides[0] * sides[1] >= LARGE) == (sides[0] > 7)  # which of the two walks it is
    tested = nn.Conv2d(4, 6, kernel, stride, padding)
    model = net(nn.ReLU(), tested, nn.ReLU(), channels=6, norm=BatchNorm(4))
    assert misses(Sides(model, (2, *sides), images=3), [1]) == []


POOLS: dict[str, nn.Module] = {
    "maximum": nn.MaxPool2d(2),
    "average": nn.AvgPool2d(2),
    "maximum of threes": nn.MaxPool2d(3),
    "average of rows": nn.AvgPool2d((2, 3)),
}


@pytest.mark.parametrize("pool", POOLS)
def test_pools_leave_rows_and_columns_over(pool: str) -> None:
    model = net(nn.ReLU(), POOLS[pool], nn.Conv2d(4, 4, 1), norm=GroupNorm(4, groups=2))
    assert misses(Sides(model, (2, 7, 7), images=3), [2]) == []


def test_a_smaller_last_batch_is_a_batch_of_its_own() -> None:
    sides = Sides(model_of(DIGITS, model="digits-small", dropout=0.2), DIGITS, images=5)
    sides.in_lanes()  # leaves all arrays full
    cut = Sides(model_of(DIGITS, model="digits-small", norm="batch"), DIGITS, images=5)
    cut.in_lanes()
    cut.images = [each[:3].contiguous() for each in cut.images]
    cut.targets = [each[:3] for each in cut.targets]
    assert misses(cut) == []


def test_classes_are_those_of_the_largest_logit() -> None:
    sides = Sides(model_of(DIGITS, model="digits-small"), DIGITS)
    sides.in_lanes()
    for lane, model in enumerate(sides.models):
        expected = model(sides.images[lane]).argmax(dim=1)
        assert sides.predicted[:, lane].tolist() == expected.tolist()


# Mistakes, each in one primitive. Every one must be seen.

Break = Callable[[pytest.MonkeyPatch], None]


def _flipped_kernel(patch: pytest.MonkeyPatch) -> None:
    right: Any = convolution.met_backward

    def wrong(conv: Any) -> Any:
        last = conv.kernel[1] - 1
        return [sorted((x, last - k) for x, k in pairs) for pairs in right(conv)]

    patch.setattr(convolution, "met_backward", wrong)


def _no_row_of_padding(patch: pytest.MonkeyPatch) -> None:
    right: Any = convolution.Nest.rows_met

    def wrong(self: Any, row: Any) -> Any:
        low, high = right(self, row)
        return (low, high) if self.is_gradient else (self.writer.clamp(low, 1, 99), high)

    patch.setattr(convolution.Nest, "rows_met", wrong)


def _weights_of_the_last_image(patch: pytest.MonkeyPatch) -> None:
    right: Any = LaneWriter.add

    def wrong(self: Any, a: Any, b: Any) -> Any:
        return b if getattr(self, "forgets", False) else right(self, a, b)

    made: Any = convolution.add_weight_gradient

    def forgetting(w: Any, *rest: Any, **options: Any) -> None:
        w.forgets = True
        made(w, *rest, **options)
        w.forgets = False

    patch.setattr(LaneWriter, "add", wrong)
    patch.setattr(convolution, "add_weight_gradient", forgetting)


def _no_gradient_of_a_bias(patch: pytest.MonkeyPatch) -> None:
    right: Any = Writer.gradient_row
    patch.setattr(
        Writer, "gradient_row", lambda self, row, scratch, bias=None: right(self, row, scratch)
    )


def _no_mean_in_a_norm_s_gradient(patch: pytest.MonkeyPatch) -> None:
    right = LaneNorm.backward

    def wrong(self: LaneNorm, sums: Any) -> Any:
        coefs, gradients = right(self, sums)
        coefs[:, :, 2] = 0
        return coefs, gradients

    patch.setattr(LaneNorm, "backward", wrong)


def _still_statistics(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LaneNorm, "_move", lambda *_: None)


def _sums_instead_of_averages(patch: pytest.MonkeyPatch) -> None:
    right: Any = LaneWriter.constant

    def wrong(self: Any, value: float, lanes: int) -> Any:
        return right(self, 1.0 if value == 1 / 4 else value, lanes)

    patch.setattr(LaneWriter, "constant", wrong)


def _minimum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pointwise, "_is_new_maximum", lambda w, value, top: w.is_above(top, value))


def _true(w: Any) -> Any:
    kind: Any = ir.VectorType(ir.IntType(1), w.lanes)
    return ir.Constant(kind, [1] * w.lanes)


def _no_kink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LaneWriter, "is_above", lambda self, a, b: _true(self))


def _all_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Side, "kept", lambda self, *_: _true(self.writer))


def _no_gradient_of_the_shortcut(patch: pytest.MonkeyPatch) -> None:
    right: Any = pointwise._pass_on

    def wrong(source: Any, *rest: Any) -> None:
        w = source.writer
        factor = w.constant(float(source is getattr(w, "first", source)), w.lanes)
        w.first = getattr(w, "first", source)
        reading, w.get = w.get, lambda *terms: w.multiply(reading(*terms), factor)
        right(source, *rest)
        w.get = reading

    patch.setattr(pointwise, "_pass_on", wrong)


def _wrong_exponentials(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LaneWriter, "exp", lambda self, x: self.constant(1.0, self.lanes))


BREAKS: list[Break] = [
    _flipped_kernel,
    _no_row_of_padding,
    _weights_of_the_last_image,
    _no_gradient_of_a_bias,
    _no_mean_in_a_norm_s_gradient,
    _still_statistics,
    _sums_instead_of_averages,
    _minimum,
    _no_kink,
    _all_kept,
    _no_gradient_of_the_shortcut,
    _wrong_exponentials,
]


class Branched(nn.Module):
    """Something of everything, small."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu, self.drop = BatchNorm(4), nn.ReLU(), Dropout(0.3)
        self.maximum, self.average = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.head = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.relu(self.norm(self.conv1(x))))
        x = x + self.conv2(x)
        return self.head(torch.flatten(self.average(self.maximum(x)), 1))  # type: ignore[no-any-return]


def test_something_of_everything() -> None:
    assert misses(Sides(Branched(), (2, 4, 4))) == []


@pytest.mark.parametrize("mistake", BREAKS, ids=lambda each: each.__name__.strip("_"))
def test_a_wrong_primitive_is_seen(mistake: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_CACHE", "")  # no wrong code is kept
    mistake(monkeypatch)
    assert misses(Sides(Branched(), (2, 4, 4)))


def test_a_loss_that_is_no_mean_is_seen() -> None:
    sides = Sides(Branched(), (2, 4, 4))
    right = sides.program._loss

    def wrong(first: int, last: int) -> None:
        sides.program._share[:] = 1
        right(first, last)

    sides.program._loss = wrong
    assert misses(sides)

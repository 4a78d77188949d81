"""The lanes' masks against what each trial's own layers drop in torch."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from normlab.regularizers import DropBlock, Dropout, RandomLayer, SpatialDropout, StochasticDepth
from normlab.train.lanes.masks import LaneMasks, why_not
from normlab.train.loop import Trainer
from normlab.train.streams import reseed_dropout

IMAGES, CHANNELS, HEIGHT, WIDTH = 5, 6, 3, 4
SHAPES: dict[type[RandomLayer], tuple[int, ...]] = {
    Dropout: (IMAGES, HEIGHT, CHANNELS, WIDTH),
    SpatialDropout: (IMAGES, CHANNELS),
    StochasticDepth: (IMAGES,),
}
CPU = torch.device("cpu")


def trial(seed: int, layers: dict[str, RandomLayer]) -> Trainer:
    return cast("Trainer", SimpleNamespace(random=list(layers.items()), seed=seed, device=CPU))


def arrays(names: dict[str, type[RandomLayer]], lanes: int) -> tuple[Any, Any]:
    dtype = np.uint16 if lanes == 16 else np.uint8
    bits = {name: np.zeros(SHAPES[kind], dtype) for name, kind in names.items()}
    return bits, {name: np.full(lanes, np.nan, np.float32) for name in names}


def factors(bits: NDArray[Any], scale: NDArray[np.float32], lane: int) -> NDArray[np.float32]:
    """What a lane multiplies (N, C, H, W) by."""
    kept = (bits >> lane) & 1
    if kept.ndim == 4:
        kept = kept.transpose(0, 2, 1, 3)
    kept = kept.reshape(kept.shape + (1,) * (4 - kept.ndim))
    return np.broadcast_to(kept * scale[lane], (len(bits), CHANNELS, HEIGHT, WIDTH))


def in_torch(
    layer: RandomLayer, seed: int, step: int, name: str, layout: torch.memory_format
) -> NDArray[np.float32]:
    reseed_dropout([(name, layer)], seed, step, CPU)
    ones = torch.ones(IMAGES, CHANNELS, HEIGHT, WIDTH).contiguous(memory_format=layout)
    dropped: NDArray[np.float32] = layer(ones).numpy()
    return dropped


LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("kind", SHAPES)
def test_equals_torch_s(kind: type[RandomLayer], lanes: int, layout: torch.memory_format) -> None:
    rates = (0.03, 0.5, 0.0, 0.42, 0.15, 0.2, 0.9)[: lanes - 1]
    trials = [trial(seed, {"a.drop": kind(p)}) for seed, p in enumerate(rates)]
    bits, scales = arrays({"a.drop": kind}, lanes)
    masks = LaneMasks(trials, bits, scales)
    for number in range(4):
        steps = [number + 10 * lane for lane in range(len(trials))]
        masks.draw(steps, IMAGES)
        for lane, (p, step) in enumerate(zip(rates, steps, strict=True)):
            found = factors(bits["a.drop"], scales["a.drop"], lane)
            assert np.array_equal(found, in_torch(kind(p), lane, step, "a.drop", layout))
        first = factors(bits["a.drop"], scales["a.drop"], 0)
        for lane in range(len(rates), lanes):
            assert np.array_equal(factors(bits["a.drop"], scales["a.drop"], lane), first)


def test_layers_draw_from_their_own_names_and_the_rest_is_left_alone() -> None:
    names = {"drop1": Dropout, "drop2": Dropout, "depth": StochasticDepth}
    layers = {**{name: kind(0.5) for name, kind in names.items()}, "other": Dropout(0.5)}
    bits, scales = arrays(names, 8)
    LaneMasks([trial(3, layers)], bits, scales).draw([7], IMAGES)
    for name, kind in names.items():
        found = factors(bits[name], scales[name], 0)
        expected = in_torch(kind(0.5), 3, 7, name, torch.channels_last)
        assert np.array_equal(found, expected)
    assert layers["other"].generator is None


@pytest.mark.parametrize("kind", SHAPES)
def test_a_smaller_batch_has_its_own_masks(kind: type[RandomLayer]) -> None:
    bits, scales = arrays({"drop": kind}, 4)
    masks = LaneMasks([trial(0, {"drop": kind(0.1)}), trial(1, {"drop": kind(0.4)})], bits, scales)
    masks.draw([5, 5], IMAGES)
    before = bits["drop"].copy()
    masks.draw([6, 6], 2)
    for seed, p in enumerate((0.1, 0.4)):
        layer = kind(p)
        reseed_dropout([("drop", layer)], seed, 6, CPU)
        expected = layer(torch.ones(2, CHANNELS, HEIGHT, WIDTH)).numpy()
        assert np.array_equal(factors(bits["drop"][:2], scales["drop"], seed), expected)
    assert np.array_equal(bits["drop"][2:], before[2:])


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_equals_dropout_of_vectors(p: float) -> None:
    layer = Dropout(p)
    bits, scales = (
        {"drop": np.zeros((IMAGES, 1, 30, 1), np.uint8)},
        {"drop": np.zeros(4, np.float32)},
    )
    LaneMasks([trial(0, {"drop": Dropout(p)})], bits, scales).draw([2], IMAGES)
    reseed_dropout([("drop", layer)], 0, 2, CPU)
    expected = layer(torch.ones(IMAGES, 30)).numpy()
    assert np.array_equal((bits["drop"][:, 0, :, 0] & 1) * scales["drop"][0], expected)


def test_nothing_to_draw() -> None:
    LaneMasks([trial(0, {"drop": Dropout(0.5)})], {}, {}).draw([0], IMAGES)


def test_says_which_kinds_have_no_form() -> None:
    class Own(Dropout):
        pass

    assert [why_not(kind(0.1)) for kind in SHAPES] == [None] * 3
    assert why_not(DropBlock(0.1, 3)) == "DropBlock has no form in lanes"
    assert "Own" in str(why_not(Own(0.1)))

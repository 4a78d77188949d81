"""The contract of every layer that drops something, then what is particular to each kind."""

import pytest
import torch

from normlab.recipe import DROPOUTS as SPECS
from normlab.regularizers import (
    DROPOUTS,
    DropBlock,
    RandomLayer,
    SpatialDropout,
    StochasticDepth,
    drop_block,
    dropout,
    spatial_dropout,
    stochastic_depth,
)
from normlab.regularizers.dropout import RARE

SETTINGS: dict[str, dict[str, int]] = {
    "dropout": {},
    "spatial_dropout": {},
    "drop_block": {"block_size": 3},
    "stochastic_depth": {},
}
LAYERS: dict[str, type[RandomLayer]] = {**DROPOUTS, "stochastic_depth": StochasticDepth}
SEED = torch.Generator().manual_seed


def made(kind: str, p: float) -> RandomLayer:
    layer = LAYERS[kind](p, **SETTINGS[kind])
    layer.generator = torch.Generator().manual_seed(0)
    return layer


def test_every_kind_is_under_test() -> None:
    assert SETTINGS.keys() == LAYERS.keys()
    assert DROPOUTS.keys() == SPECS.keys()


@pytest.mark.parametrize("kind", LAYERS)
def test_the_expectation_is_kept(kind: str) -> None:
    layer, x = made(kind, 0.3), torch.ones(400, 8, 8, 8)
    y = layer(x)
    assert float(y.mean()) == pytest.approx(1.0, abs=0.03)
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("kind", LAYERS)
def test_masks_are_fresh_and_from_the_layer_s_own_generator(kind: str) -> None:
    x = torch.ones(20, 4, 8, 8)
    layer = made(kind, 0.5)
    first, second = layer(x), layer(x)
    torch.manual_seed(99)
    assert torch.equal(made(kind, 0.5)(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_eval_and_p_0_are_the_identity(kind: str, p: float, training: bool) -> None:
    x = torch.randn(2, 3, 4, 4)
    assert made(kind, p).train(training)(x) is x


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("p", [1.0, -0.1])
def test_a_p_outside_is_refused(kind: str, p: float) -> None:
    with pytest.raises(ValueError, match=f"p is {p}"):
        LAYERS[kind](p)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_is_the_mask_s(kind: str) -> None:
    x = torch.ones(6, 3, 5, 5, requires_grad=True)
    y = made(kind, 0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize("p", [1e-4, 0.03, RARE, 0.4])
def test_dropout_drops_every_element_as_often_and_independently(p: float) -> None:
    draws, size = 60_000, 16
    dropped = (dropout(torch.ones(draws, size), p, SEED(0)) == 0).double()
    often, pairs = dropped.mean(0), (dropped[:, 1:] * dropped[:, :-1]).mean()
    assert torch.allclose(often, torch.full_like(often, p), atol=5 * (p / draws) ** 0.5)
    assert float(pairs) == pytest.approx(p**2, abs=5 * p / (draws * size) ** 0.5)
    # The spread of the number dropped is that of independent draws too.
    counts = dropped.view(1000, -1).sum(1)
    mean = 60 * size * p
    assert float(counts.mean()) == pytest.approx(mean, abs=5 * (mean / 1000) ** 0.5)
    assert float(counts.var()) == pytest.approx(mean * (1 - p), rel=0.3)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_dropout_drops_the_first_and_the_last_element_of_few(count: int) -> None:
    generator = SEED(0)
    masks = torch.stack([dropout(torch.ones(count), RARE, generator) == 0 for _ in range(4000)])
    assert torch.allclose(masks.double().mean(0), torch.tensor(RARE).double(), atol=0.03)


def test_dropout_goes_on_where_the_distances_fell_short(monkeypatch: pytest.MonkeyPatch) -> None:
    # Distances of 1 hit every element: many more draws than the four standard deviations allow for.
    monkeypatch.setattr(torch.Tensor, "geometric_", lambda self, *_, **__: self.fill_(1))
    assert dropout(torch.ones(3, 500), 0.01).count_nonzero() == 0


def test_dropout_of_a_transposed_input() -> None:
    x = torch.ones(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert torch.equal(dropout(x, 0.1, SEED(0)), dropout(x.contiguous(), 0.1, SEED(0)))


def test_spatial_dropout_drops_whole_maps() -> None:
    y = spatial_dropout(torch.ones(50, 6, 4, 4), 0.5, SEED(0))
    per_map = y.flatten(2)
    assert bool((per_map.amin(2) == per_map.amax(2)).all())
    assert per_map.amax(2).unique().tolist() == [0.0, 2.0]


def test_stochastic_depth_drops_whole_images() -> None:
    y = stochastic_depth(torch.ones(200, 3, 4, 4), 0.25, SEED(0)).flatten(1)
    assert bool((y.amin(1) == y.amax(1)).all())
    assert y.amax(1).unique().tolist() == pytest.approx([0.0, 4 / 3])


def test_drop_block_drops_squares() -> None:
    y = drop_block(torch.ones(1, 1, 40, 40), 0.2, 5, SEED(3))[0, 0]
    hidden = (y == 0).float()
    assert 0 < float(hidden.mean()) < 0.3
    # Every hidden pixel lies in a hidden 5x5 square: an opening by that square changes nothing.
    inner = -torch.nn.functional.max_pool2d(-hidden[None, None], 5, 1)
    opened = torch.nn.functional.max_pool2d(torch.nn.functional.pad(inner, (4, 4, 4, 4)), 5, 1)[
        0, 0
    ]
    assert torch.equal(opened, hidden)
    kept = y[y > 0]
    assert float(kept[0]) == pytest.approx(1600 / float((y > 0).sum()))


def test_a_map_smaller_than_the_block_goes_as_a_whole() -> None:
    y = drop_block(torch.ones(300, 4, 2, 2), 0.5, 7, SEED(0)).flatten(2)
    assert bool((y.amin(2) == y.amax(2)).all())
    assert float((y == 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_a_block_of_no_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="block_size is 0"):
        DropBlock(0.1, 0)


def test_they_say_what_they_are() -> None:
    assert repr(SpatialDropout(0.25)) == "SpatialDropout(p=0.25)"
    assert repr(DropBlock(0.1, 3)) == "DropBlock(p=0.1, block_size=3)"

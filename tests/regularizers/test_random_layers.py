"""The contract of every layer that drops something, then what is particular to each kind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from normlab.recipe import DROPOUTS as SPECS
from normlab.regularizers import (
    DROPOUTS,
    DropBlock,
    Dropout,
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
    monkeypatch.setattr(torch.Tensor, "log1p_", lambda self: self.fill_(0))
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


# -- in every way torch is used -----------------------------------------------------------------

EVERY = [*LAYERS, "rare dropout"]


def any_layer(kind: str) -> RandomLayer:
    """A layer that draws from torch's global state."""
    return Dropout(0.1) if kind == "rare dropout" else LAYERS[kind](0.5, **SETTINGS[kind])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
@pytest.mark.parametrize("kind", EVERY)
def test_the_mean_is_kept_in_every_dtype(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    y = any_layer(kind)(torch.ones(1000, 16, 8, 8, dtype=dtype))
    assert y.dtype == dtype
    assert abs(complex(y.to(torch.complex128).mean()) - 1) < 0.1
    assert 0.05 < float((y == 0).double().mean()) < 0.6


@pytest.mark.parametrize("kind", EVERY)
def test_whole_numbers_are_refused(kind: str) -> None:
    with pytest.raises(RuntimeError, match=r"x is torch.int64: .* float is needed"):
        any_layer(kind)(torch.ones(2, 3, 4, 4, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(0, 4, 6, 6), (4, 0, 6, 6), (4, 3, 0, 6)])
@pytest.mark.parametrize("kind", EVERY)
def test_an_empty_input_stays_empty(kind: str, shape: tuple[int, ...]) -> None:
    x = torch.ones(shape, requires_grad=True)
    y = any_layer(kind)(x)
    y.sum().backward()
    assert y.shape == shape
    assert x.grad is not None


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_the_layout_is_kept_and_moves_no_mask(kind: str, own: bool) -> None:
    outputs = []
    for layout in (torch.contiguous_format, torch.channels_last):
        layer = any_layer(kind)
        layer.generator = torch.Generator().manual_seed(5) if own else None
        torch.manual_seed(5)
        given = torch.ones(4, 3, 8, 8).contiguous(memory_format=layout).requires_grad_()
        outputs.append(layer(given))
        outputs[-1].sum().backward()
        assert outputs[-1].is_contiguous(memory_format=layout)
        assert given.grad is not None
        assert given.grad.is_contiguous(memory_format=layout)
    assert torch.equal(*outputs)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_it_compiles_as_one_graph(kind: str, checkpointed: bool) -> None:
    layer, x = any_layer(kind), torch.ones(40, 4, 6, 6, requires_grad=True)

    def forward(x: Tensor) -> Tensor:
        return checkpoint(layer, x, use_reentrant=False) if checkpointed else layer(x)

    torch._dynamo.reset()
    y = torch.compile(forward, backend="aot_eager", fullgraph=True)(x)
    y.sum().backward()
    assert 0 < int((y == 0).sum()) < y.numel()
    assert torch.equal(x.grad, y)


@pytest.mark.parametrize("kind", EVERY)
def test_compiled_or_not_a_generator_of_its_own_gives_one_mask(kind: str) -> None:
    outputs = []
    for compiled in (False, True):
        layer = any_layer(kind)
        layer.generator = torch.Generator().manual_seed(2)
        torch._dynamo.reset()
        run = torch.compile(layer, backend="aot_eager") if compiled else layer
        outputs.append(run(torch.ones(20, 4, 6, 6)))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_vmap_draws_as_its_randomness_says(kind: str, own: bool) -> None:
    layer, x = any_layer(kind), torch.ones(3, 20, 4, 6, 6)
    layer.generator = torch.Generator().manual_seed(1) if own else None
    same = torch.vmap(layer, randomness="same")(x)
    assert torch.equal(same[0], same[1])
    assert bool((same == 0).any())
    different = torch.vmap(layer, randomness="different")(x)
    assert not torch.equal(different[0], different[1])
    with pytest.raises(RuntimeError, match="randomness"):
        torch.vmap(layer)(x)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", EVERY)
def test_on_the_meta_device_only_the_shape_is_there(kind: str, own: bool) -> None:
    layer = any_layer(kind)
    layer.generator = torch.Generator() if own else None
    y = layer(torch.ones(2, 3, 4, 4, device="meta"))
    assert (y.device.type, y.shape) == ("meta", (2, 3, 4, 4))


@pytest.mark.parametrize("shape", [(50, 4), (50, 4, 9), (50, 4, 2, 3, 3)])
def test_spatial_dropout_of_maps_of_other_dimensions(shape: tuple[int, ...]) -> None:
    y = spatial_dropout(torch.ones(shape), 0.5, SEED(0)).reshape(50, 4, -1)
    assert bool((y.amin(2) == y.amax(2)).all())
    assert y.unique().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("function", [dropout, spatial_dropout, stochastic_depth])
@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_a_function_refuses_a_p_outside(function: Callable[..., Tensor], p: float) -> None:
    with pytest.raises(ValueError, match=f"p is {p}"):
        function(torch.ones(2, 3, 4, 4), p)


def test_drop_block_refuses_what_are_no_maps() -> None:
    with pytest.raises(ValueError, match=r"x has the shape \(5, 4\)"):
        drop_block(torch.ones(5, 4), 0.1, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_drop_block_counts_more_values_than_the_dtype_can(dtype: torch.dtype) -> None:
    # 1,048,576 values: past float16's largest number, and where bfloat16 cannot count by ones.
    y = drop_block(torch.ones(64, 256, 8, 8, dtype=dtype), 0.1, 3, SEED(0))
    share = float((y != 0).double().mean())
    factor = float(y.max())
    assert 0.85 < share < 0.95
    assert factor == pytest.approx(1 / share, rel=torch.finfo(dtype).eps)

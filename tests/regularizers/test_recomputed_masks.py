"""Activation checkpointing runs a forward twice: the second time every mask is the first one's.

Each layer works on ones, so that its output is its mask, and the gradient of the sum is the mask of
the backward pass.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
)

from normlab.regularizers import (
    DropBlock,
    Dropout,
    RandomLayer,
    RecomputedMaskError,
    SpatialDropout,
    StochasticDepth,
    draws,
    drop_block,
    dropout,
    spatial_dropout,
    stochastic_depth,
)

MAKE: dict[str, Callable[[], RandomLayer]] = {
    "dropout": lambda: Dropout(0.5),
    "rare dropout": lambda: Dropout(0.1),
    "spatial_dropout": lambda: SpatialDropout(0.5),
    "drop_block": lambda: DropBlock(0.3, 2),
    "stochastic_depth": lambda: StochasticDepth(0.5),
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "dropout": partial(dropout, p=0.5),
    "rare dropout": partial(dropout, p=0.1),
    "spatial_dropout": partial(spatial_dropout, p=0.5),
    "drop_block": partial(drop_block, p=0.3, block_size=2),
    "stochastic_depth": partial(stochastic_depth, p=0.5),
}


def selective() -> object:
    policy = CheckpointPolicy.PREFER_SAVE
    return create_selective_checkpoint_contexts(lambda *_, **__: policy)


def reentrant_within(block: nn.Module, x: Tensor) -> Tensor:
    inner = partial(checkpoint, block, use_reentrant=True)
    return checkpoint(inner, x, use_reentrant=False)


WAYS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "reentrant": partial(checkpoint, use_reentrant=True),
    "not reentrant": partial(checkpoint, use_reentrant=False),
    "to the end": partial(checkpoint, use_reentrant=False, early_stop=False),
    "selective": partial(checkpoint, use_reentrant=False, context_fn=selective),
    "nested": lambda block, x: checkpoint(
        partial(checkpoint, block, use_reentrant=False), x, use_reentrant=False
    ),
    "reentrant within": reentrant_within,
}


def own(layer: RandomLayer, seed: int = 3) -> RandomLayer:
    layer.generator = torch.Generator().manual_seed(seed)
    return layer


def ones() -> Tensor:
    return torch.ones(40, 5, 6, 6, requires_grad=True)


def assert_one_mask(way: Callable[[nn.Module, Tensor], Tensor], block: nn.Module) -> None:
    """Output and gradient of a block of dropping layers have one mask."""
    x = ones()
    y = way(block, x)
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert 0 < int((y == 0).sum()) < y.numel()
    torch.testing.assert_close(x.grad, y.detach())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["torch's state", "own generator"])
@pytest.mark.parametrize("kind", MAKE)
def test_the_gradient_has_the_mask_of_the_forward(kind: str, source: str, way: str) -> None:
    layer = MAKE[kind]() if source == "torch's state" else own(MAKE[kind]())
    assert_one_mask(WAYS[way], layer)


class Squared(nn.Module):
    """y = x^2: its gradient needs the recomputed input, so it shows a recomputed mask in front."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MAKE)
def test_what_stands_behind_gets_the_mask_of_the_forward(kind: str, way: str) -> None:
    x = ones()
    y = WAYS[way](nn.Sequential(own(MAKE[kind]()), Squared()), x)
    y.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(x.grad, 2 * y.detach())  # d (m x)^2 / dx = 2 m^2 x at x = 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_layer_called_in_two_blocks_has_each_call_s_mask(reentrant: bool) -> None:
    layer, x = own(Dropout(0.5)), ones()
    way = partial(checkpoint, layer, use_reentrant=reentrant)
    parts = [way(x[:20]), way(x[20:])]
    assert not torch.equal(*parts)
    torch.cat(parts).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(x.grad, torch.cat(parts).detach())


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_layer_called_twice_in_a_block_has_both_masks(reentrant: bool) -> None:
    layer = own(Dropout(0.3))
    assert_one_mask(partial(checkpoint, use_reentrant=reentrant), nn.Sequential(layer, layer))


@pytest.mark.parametrize("shared", [True, False])
def test_several_layers_in_several_blocks(shared: bool) -> None:
    layers = [own(Dropout(0.1 * k), seed=k) for k in range(1, 5)]
    if shared:  # one generator for all
        for layer in layers[1:]:
            layer.generator = layers[0].generator
    block = nn.Sequential(*layers)
    assert_one_mask(lambda net, x: checkpoint_sequential(net, 2, x, use_reentrant=False), block)


def test_backward_of_an_earlier_call_after_a_later_one() -> None:
    layer, first, second = own(Dropout(0.5)), ones(), ones()
    outputs = [checkpoint(layer, x, use_reentrant=False) for x in (first, second)]
    for x, y in ((second, outputs[1]), (first, outputs[0])):
        y.sum().backward()
        torch.testing.assert_close(x.grad, y.detach())


def test_backward_twice_has_the_mask_twice() -> None:
    layer, x = own(Dropout(0.5)), ones()
    y = checkpoint(nn.Sequential(layer, Squared()), x, use_reentrant=False)
    grads = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for _ in range(2)]
    torch.testing.assert_close(grads[0], 2 * y.detach())
    assert torch.equal(*grads)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_with_a_generator(kind: str) -> None:
    source = torch.Generator().manual_seed(1)
    x = ones()
    y = checkpoint(partial(FUNCTIONS[kind], generator=source), x, use_reentrant=False)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_a_recomputation_moves_no_later_mask() -> None:
    def second_mask(checkpointed: bool) -> Tensor:
        layer, x = own(Dropout(0.5)), ones()
        y = checkpoint(layer, x, use_reentrant=False) if checkpointed else layer(x)
        y.sum().backward()
        return layer(torch.ones(1000)).detach()  # type: ignore[no-any-return]

    assert torch.equal(second_mask(True), second_mask(False))


def test_a_mask_of_its_own_generator_hangs_on_no_global_state() -> None:
    torch.manual_seed(1)
    first = own(Dropout(0.5))(ones())
    torch.manual_seed(2)
    assert torch.equal(own(Dropout(0.5))(ones()), first)


# -- what cannot be told is refused, and never another mask ---------------------------------


def unpreserved(block: nn.Module, x: Tensor) -> Tensor:
    return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def test_one_call_needs_no_state_of_torch() -> None:
    assert_one_mask(unpreserved, own(Dropout(0.5)))


def test_two_calls_without_torch_s_state_are_refused() -> None:
    layer = own(Dropout(0.5))
    y = unpreserved(layer, ones()) + unpreserved(layer, ones())
    with pytest.raises(RecomputedMaskError, match=r"2 calls .* preserve_rng_state=True"):
        y.sum().backward()  # type: ignore[no-untyped-call]


def test_two_calls_from_one_state_of_torch_are_refused() -> None:
    layer, outputs = own(Dropout(0.5)), []
    for _ in range(2):
        torch.manual_seed(0)
        outputs.append(checkpoint(layer, ones(), use_reentrant=False))
    own_calls = layer(ones())  # so that more than one ticket is known
    with pytest.raises(RecomputedMaskError, match="do not seed torch"):
        (outputs[0].sum() + own_calls.sum()).backward()


def test_a_call_too_many_calls_ago_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "REMEMBERED", 3)
    layer = own(Dropout(0.5))
    outputs = [checkpoint(layer, ones(), use_reentrant=False) for _ in range(4)]
    outputs[3].sum().backward()
    with pytest.raises(RecomputedMaskError, match="within 3 calls"):
        outputs[0].sum().backward()


def test_what_is_remembered_goes_with_the_generator() -> None:
    layer = own(Dropout(0.5))
    layer(ones())
    assert layer.generator in draws._CALLS
    before = len(draws._CALLS)
    layer.generator = None
    assert len(draws._CALLS) == before - 1

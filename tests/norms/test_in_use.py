"""What users do with a layer as with any module: hooks, changes, traces, other modes before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from normlab.norms import make

X = torch.randn(8, 8, 5, 5, generator=torch.Generator().manual_seed(0))


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Capped(nn.ReLU):
    """A ReLU that ends at 0.5."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=0.5)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("kind", ["batch", "layer", "rms"])
def test_a_hook_on_the_activation_is_called_once_with_the_output(
    kind: str, activation: str
) -> None:
    layer, seen = make(kind, 8, activation=activation), list[Tensor]()
    module = layer.get_submodule("activation")
    module.register_forward_hook(lambda _, inputs, output: seen.append(output))
    y = layer(X)
    assert len(seen) == 1
    assert torch.equal(seen[0], y)


def test_a_subclass_of_relu_is_run_as_it_is() -> None:
    layer = make("batch", 8)
    layer.activation = Capped()
    assert_close(layer(X), Capped()(F.batch_norm(X, None, None, training=True)))


def groups_of(x: Tensor, groups: int) -> Tensor:
    return F.group_norm(x, groups)


def parts_of(x: Tensor, parts: int) -> Tensor:
    each = (F.batch_norm(part, None, None, training=True) for part in x.chunk(parts))
    return torch.cat(list(each))


@pytest.mark.parametrize(
    ("kind", "option", "before", "after", "expected"),
    [
        ("torch_group", "groups", 2, 8, groups_of),
        ("group", "groups", 2, 8, groups_of),
        ("group", "groups", 4, 1, groups_of),
        ("ghost_batch", "splits", 1, 4, parts_of),
    ],
)
def test_an_option_changed_after_a_forward_is_used_or_refused(
    kind: str, option: str, before: int, after: int, expected: Callable[[Tensor, int], Tensor]
) -> None:
    layer = make(kind, 8, **{option: before})
    assert_close(layer(X), expected(X, before))
    try:
        setattr(layer, option, after)
    except (AttributeError, ValueError):
        after = before
    assert_close(layer(X), expected(X, after))


def under_fake_tensors(new: Callable[[], nn.Module], x: Tensor) -> None:
    with FakeTensorMode():
        new()(torch.empty(x.shape))


def under_meta_as_default(new: Callable[[], nn.Module], x: Tensor) -> None:
    with torch.device("meta"):
        new()(torch.empty(x.shape))


def under_gradients_per_image(new: Callable[[], nn.Module], x: Tensor) -> None:
    layer = new()

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, parameters, (image[None],))
        return y.sum()

    torch.func.vmap(torch.func.grad(loss), (None, 0))(dict(layer.named_parameters()), x)


FIRST: dict[str, Callable[[Callable[[], nn.Module], Tensor], Any]] = {
    "fake tensors": under_fake_tensors,
    "meta as default device": under_meta_as_default,
    "jvp": lambda new, x: torch.func.jvp(new(), (x,), (x,)),
    "jacrev": lambda new, x: torch.func.jacrev(new())(x[:, :, :2, :1]),
    "gradients per image": under_gradients_per_image,
    "functionalize": lambda new, x: torch.func.functionalize(new())(x),
}


@pytest.mark.parametrize(("number", "first"), list(enumerate(FIRST)))
@pytest.mark.filterwarnings("ignore")  # of modes that torch calls experimental
def test_a_new_layer_is_right_after_another_ran_under_a_mode(number: int, first: str) -> None:
    groups = 11 + number  # sizes that nothing else asks for: no cache knows them yet

    def new() -> nn.Module:
        return make("group", 2 * groups, groups=groups)

    x = torch.randn(5, 2 * groups, 4, 3)
    FIRST[first](new, x)
    for images in (5, 1):
        assert_close(new()(x[:images]), F.group_norm(x[:images], groups))


GROUPED: dict[str, dict[str, Any]] = {
    "torch_group": {"groups": 4}, "group": {"groups": 4}, "evonorm_s0": {"groups": 4},
    "layer": {}, "instance": {}, "switchable": {}, "filter_response": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPED)
@pytest.mark.filterwarnings("ignore")  # jit is deprecated
def test_a_layer_traced_with_one_image_is_right_for_five(kind: str) -> None:
    layer = make(kind, 8, **GROUPED[kind]).eval()
    traced = torch.jit.trace(layer, X[:1])  # type: ignore[no-untyped-call]
    assert_close(traced(X[:5]), layer(X[:5]))

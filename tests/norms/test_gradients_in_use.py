"""Gradients in the ways users ask for them: kept for more, of made gains, from offloaded maps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as fw
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.nn import functional as F

from normlab.norms import make

SOURCE = torch.Generator().manual_seed(0)
X, W = torch.randn(2, 6, 8, 4, 3, dtype=torch.float64, generator=SOURCE)


def gradients(y: Tensor, wanted: list[Tensor], *, create_graph: bool) -> list[Tensor]:
    total = (y.sin() * W).sum()
    return list(torch.autograd.grad(total, wanted, create_graph=create_graph))


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-9, atol=1e-9)


def batch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, weight, bias, training=True)


def layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.group_norm(x, 1, weight, bias)


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return weight[:, None, None] * x * torch.rsqrt(x.square().mean((1, 2, 3), keepdim=True) + 1e-5)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("kind", "defined"), [("torch_batch", batch), ("batch", batch), ("layer", layer), ("rms", rms)]
)
def test_gradients_of_fast_weights(
    kind: str, defined: Callable[..., Tensor], create_graph: bool
) -> None:
    made, x = make(kind, 8).double(), X.clone().requires_grad_()
    fast = {n: (p.detach() * 3 + 0.1).requires_grad_() for n, p in made.named_parameters()}
    wanted = [x, *fast.values()]
    y = torch.func.functional_call(made, fast, (x,))
    found = gradients(y, wanted, create_graph=create_graph)
    assert_same(found, gradients(defined(x, **fast), wanted, create_graph=False))


def to_eval(made: nn.Module) -> None:
    made.eval()


def moved_on(made: nn.Module) -> None:
    with torch.no_grad():
        made(2 * X + 1)


def another_eps(made: nn.Module) -> None:
    made.eps = 0.5  # type: ignore[assignment]


@pytest.mark.parametrize("change", [to_eval, moved_on, another_eps])
@pytest.mark.parametrize("kind", ["batch", "switchable", "batch_renorm", "batch_instance"])
def test_a_penalty_s_gradient_is_that_of_the_forward_whatever_came_after(
    kind: str, change: Callable[[nn.Module], None]
) -> None:
    found = []
    for late in (False, True):
        made, x = make(kind, 8).double(), X.clone().requires_grad_()
        if kind == "batch_renorm":
            made.progress = 0.9  # type: ignore[assignment]  # limits open: they read the statistics
        y = made(x)
        if late:
            change(made)
        found.append(gradients(y, [x], create_graph=late))
    assert_same(*found)


@pytest.mark.parametrize("kind", ["torch_batch", "batch", "switchable", "batch_renorm", "rms"])
def test_a_gain_made_by_another_net_passes_its_gradient_on(kind: str) -> None:
    own, x = make(kind, 8).double(), X.clone().requires_grad_()
    gain = own.get_parameter("weight")
    nn.init.constant_(gain, 2.0)
    (expected,) = gradients(own(x), [gain], create_graph=False)
    made, z = make(kind, 8).double(), torch.ones(8, dtype=torch.float64, requires_grad=True)
    del made.weight
    made.weight = z * 2
    assert_same(gradients(made(x), [z], create_graph=False), [2 * expected])


TORCHS: dict[str, tuple[dict[str, Any], nn.Module]] = {
    "torch_batch": ({}, nn.BatchNorm2d(8)),
    "batch": ({}, nn.BatchNorm2d(8)),
    "instance": ({}, nn.InstanceNorm2d(8)),
    "group": ({"groups": 4}, nn.GroupNorm(4, 8)),
    "layer": ({}, nn.GroupNorm(1, 8)),
}


@pytest.mark.parametrize("kind", TORCHS)
def test_channels_last_maps_kept_as_numpy_arrays_give_torch_s_gradient(kind: str) -> None:
    options, torchs = TORCHS[kind]
    x = X.float().contiguous(memory_format=torch.channels_last).requires_grad_()
    made = make(kind, 8, **options)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: t.detach().numpy().copy(), torch.from_numpy
    ):
        y = made(x)
    (found,) = gradients(y, [x], create_graph=False)
    exact = x.detach().double().contiguous().requires_grad_()
    (expected,) = gradients(torchs.double()(exact), [exact], create_graph=False)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["batch", "group", "layer"])
def test_maps_kept_in_half_precision_give_the_gradient(
    kind: str, dtype: torch.dtype, affine: bool
) -> None:
    """No loop is for such maps: the reference takes them."""
    x = X.to(dtype).requires_grad_()
    made = make(kind, 8, affine=affine, **({"groups": 4} if kind == "group" else {}))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t):
        kept = made(x)
    (found,) = gradients(kept, [x], create_graph=False)
    (expected,) = gradients(made(x), [x], create_graph=False)
    assert found.dtype is dtype
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.02, atol=0.02)


SMALL = X[:1, :, :2, :2].float().contiguous()
WAY_OUT = r"NORMLAB_BACKEND|reference|vectorize|torch\.func"


def assert_right_or_refused(run: Callable[[], Tensor], expected: Tensor) -> None:
    found, refused = None, ""
    try:
        found = run()
    except (RuntimeError, NotImplementedError) as error:
        refused = str(error)
    if found is None:
        assert re.search(WAY_OUT, refused), refused
    else:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["torch_batch", "batch", "layer", "rms"])
def test_a_vectorized_jacobian_is_the_one_without(kind: str) -> None:
    made = make(kind, 8).eval()
    assert_right_or_refused(
        lambda: jacobian(made, SMALL, vectorize=True),  # type: ignore[no-untyped-call]
        jacobian(made, SMALL),  # type: ignore[no-untyped-call]
    )


@pytest.mark.filterwarnings("ignore")  # forward mode is experimental
@pytest.mark.parametrize("kind", ["torch_batch", "batch", "layer", "rms"])
def test_a_dual_tensor_s_tangent_is_the_jacobian_times_its_own(kind: str) -> None:
    made = make(kind, 8).eval()

    def tangent() -> Tensor:
        with fw.dual_level():
            dual = fw.make_dual(SMALL, SMALL)  # type: ignore[no-untyped-call]
            found: Tensor = fw.unpack_dual(made(dual)).tangent  # type: ignore[no-untyped-call]
            return found

    matrix = jacobian(made, SMALL).flatten(4)  # type: ignore[no-untyped-call]
    assert_right_or_refused(tangent, (matrix @ SMALL.flatten()).view(SMALL.shape))

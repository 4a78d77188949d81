"""Each kind against its definition and, where torch has it, against torch's own layer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from normlab import norms
from normlab.errors import UserError
from normlab.norms import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, NoNorm

C = 6
PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "batch": (lambda: BatchNorm(C), lambda: nn.BatchNorm2d(C)),
    "instance": (lambda: InstanceNorm(C), lambda: nn.InstanceNorm2d(C, affine=True)),
    "group": (lambda: GroupNorm(C, groups=3), lambda: nn.GroupNorm(3, C)),
    "layer": (lambda: LayerNorm(C), lambda: nn.GroupNorm(1, C)),
}


def pair(kind: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Our layer and torch's, with the same random gain and bias moved by state dict."""
    ours, theirs = (make().to(dtype) for make in PAIRS[kind])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(C, generator=generator))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def images(dtype: torch.dtype, mean: float = 0.0, shape: tuple[int, ...] = (5, C, 4, 3)) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + mean
    return x.to(dtype).requires_grad_()


def error(ours: Tensor, theirs: Tensor) -> float:
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-30))


@pytest.mark.parametrize("mean", [0.0, 10.0])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 2e-6)])
@pytest.mark.parametrize("kind", PAIRS)
def test_output_and_gradients_equal_torch_s(
    kind: str, dtype: torch.dtype, bound: float, mean: float
) -> None:
    ours, theirs = pair(kind, dtype)
    x = images(dtype, mean)
    x_double = x.detach().double().requires_grad_()
    weights = torch.randn_like(x, requires_grad=False)
    reference = theirs.double()
    y, y_reference = ours(x), reference(x_double)
    assert error(y, y_reference) <= bound
    found = torch.autograd.grad((y * weights).sum(), [x, *ours.parameters()])
    expected = torch.autograd.grad(
        (y_reference * weights.double()).sum(), [x_double, *reference.parameters()]
    )
    for gradient, gradient_reference in zip(found, expected, strict=True):
        assert error(gradient, gradient_reference) <= bound


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("kind", PAIRS)
def test_second_derivatives_are_right(kind: str, mode: bool) -> None:
    layer = PAIRS[kind][0]().double().train(mode)
    x = images(torch.float64, shape=(3, C, 2, 2))

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"weight": weight, "bias": bias}
        if not mode or kind != "batch":
            return torch.func.functional_call(layer, parameters, (x,))
        return torch.func.functional_call(
            layer, {**parameters, **dict(layer.named_buffers())}, (x,)
        )

    inputs = (x, *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_running_buffers_follow_torch_s_over_many_steps() -> None:
    ours, theirs = pair("batch", torch.float64)
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        x = torch.randn(4, C, 3, 3, generator=generator, dtype=torch.float64) * 3 + 7
        ours(x), theirs(x)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer, rtol=1e-10, atol=0)
    x = images(torch.float64)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_an_image_s_eval_result_does_not_depend_on_its_companions() -> None:
    layer = BatchNorm(C)
    x = images(torch.float32)
    layer(x)
    layer.eval()
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]), rtol=0, atol=0)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_large_offset_costs_no_more_than_twice_torch_s_error(kind: str) -> None:
    ours, theirs = pair(kind, torch.float32)
    x = images(torch.float32, mean=1e4, shape=(8, C, 16, 16))
    reference = theirs(x)
    exact = theirs.double()(x.double())
    assert error(ours(x), exact) <= max(2 * error(reference, exact), 2e-6)


@pytest.mark.parametrize("kind", PAIRS)
def test_statistics_of_bfloat16_maps_are_float32(kind: str) -> None:
    ours, _ = pair(kind, torch.float32)
    x = images(torch.bfloat16)
    y = ours(x)
    assert y.dtype == torch.bfloat16
    exact = PAIRS[kind][1]().double()
    exact.load_state_dict(ours.state_dict())
    assert error(y, exact(x.double())) <= 1e-2


@pytest.mark.parametrize("kind", PAIRS)
def test_a_constant_map_gives_the_bias_and_finite_gradients(kind: str) -> None:
    ours, _ = pair(kind, torch.float32)
    x = torch.full((4, C, 3, 3), 5.0, requires_grad=True)
    y = ours(x)
    torch.testing.assert_close(y, ours.bias.view(1, C, 1, 1).expand_as(y))  # type: ignore[operator, union-attr]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.isfinite().all()


def test_one_group_is_layer_and_c_groups_are_instance() -> None:
    x = images(torch.float64)
    torch.testing.assert_close(GroupNorm(C, groups=1).double()(x), LayerNorm(C).double()(x))
    torch.testing.assert_close(GroupNorm(C, groups=C).double()(x), InstanceNorm(C).double()(x))


def test_channels_per_group_is_the_other_way_to_say_groups() -> None:
    assert GroupNorm(16, channels_per_group=4).groups == 4
    assert GroupNorm(8, channels_per_group=4).groups == 2


@pytest.mark.parametrize("kind", ["none", *PAIRS])
def test_the_activation_folds_in(kind: str) -> None:
    options = {"groups": 3} if kind == "group" else {}
    x = images(torch.float64)
    plain = norms.make(kind, C, **options).double()
    folded = norms.make(kind, C, activation="relu", **options).double()
    torch.testing.assert_close(folded(x), plain(x).relu(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", PAIRS)
def test_without_affine_there_are_no_parameters(kind: str) -> None:
    options = {"groups": 3} if kind == "group" else {}
    layer = norms.make(kind, C, affine=False, **options).double()
    assert not list(layer.parameters())
    x = images(torch.float64)
    torch.testing.assert_close(layer(x), norms.make(kind, C, **options).double()(x))


def test_one_value_per_channel_raises_in_training_as_in_torch() -> None:
    x = torch.randn(1, C, 1, 1)
    for layer in (BatchNorm(C), nn.BatchNorm2d(C)):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            layer(x)
    assert BatchNorm(C).eval()(x).shape == x.shape


def test_instance_norm_raises_on_1x1_maps_as_in_torch() -> None:
    x = torch.randn(4, C, 1, 1)
    for layer in (InstanceNorm(C), nn.InstanceNorm2d(C)):
        with pytest.raises(ValueError, match="more than 1 spatial element"):
            layer(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: norms.make("btach", 4), "'batch'"),
        (
            lambda: GroupNorm(6, groups=4),
            "does not divide 6 channels; the largest below it that does is 3",
        ),
        (lambda: GroupNorm(6), "exactly one"),
        (lambda: BatchNorm(0), "num_channels is 0"),
        (lambda: BatchNorm(4, activation="rleu"), "'relu'"),
        (
            lambda: BatchNorm(4)(torch.zeros(2, 3, 4, 4)),
            r"expects \(N, 4, H, W\), got \(2, 3, 4, 4\)",
        ),
        (lambda: BatchNorm(4)(torch.zeros(2, 4)), r"expects \(N, 4, H, W\)"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, UserError), match=message):
        call()


def test_none_is_the_identity() -> None:
    x = images(torch.float32)
    layer = NoNorm(C)
    assert layer(x) is x
    assert not layer.state_dict()

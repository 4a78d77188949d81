"""Norms that no new layer can stand in for are refused by name, and the model is as it was."""

from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

import normlab
from normlab.errors import UserError
from normlab.norms import BatchNorm, GroupNorm


class BatchNormAct2d(nn.BatchNorm2d):
    """Batch norm and ReLU in one module, as in model collections."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class GroupNormAct(nn.GroupNorm):
    """Group norm with dropout and activation behind, as in model collections."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)
        self.drop, self.act = nn.Dropout(0.1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.drop(super().forward(x)))
        return y


class AnyDimension(nn.BatchNorm2d):
    def _check_input_dim(self, x: Tensor) -> None:
        pass


class GainFromZero(nn.BatchNorm2d):
    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Coarse(nn.BatchNorm2d):
    eps = property(lambda self: 0.1, lambda self, value: None)  # type: ignore[assignment]


class Mixed:
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)  # type: ignore[misc]


class Negative(Mixed, nn.InstanceNorm2d):
    pass


class Ours(BatchNorm):
    """More than batch norm, by one of its parts."""

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        scale, shift = super().coefficients(mean, var, pixels)
        return 2 * scale, shift


class Helpful(GroupNorm):
    def gain(self) -> Tensor | None:
        return self.weight


class Extra(nn.BatchNorm2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("seen", torch.zeros(()))


class Frozen(nn.BatchNorm2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        gain = self.weight.detach()
        del self.weight
        self.register_buffer("weight", gain)


class OwnBatch(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, x: Tensor) -> None:
        pass


def with_forward(layer: nn.Module) -> nn.Module:
    layer.forward = MethodType(lambda self, x: x, layer)  # type: ignore[method-assign]
    return layer


def parametrized(layer: nn.Module) -> nn.Module:
    class Positive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.abs()

    parametrize.register_parametrization(layer, "weight", Positive())
    return layer


def with_state_hook(layer: nn.Module) -> nn.Module:
    layer.register_state_dict_pre_hook(lambda *_: None)
    return layer


def untracked(layer: nn.BatchNorm2d) -> nn.Module:
    layer.running_mean = layer.running_var = None
    return layer


def narrowed(layer: nn.BatchNorm2d) -> nn.Module:
    layer.weight = nn.Parameter(layer.weight[:2].detach())
    return layer


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "forward": (lambda: BatchNormAct2d(4), "BatchNormAct2d has forward of its own"),
    "forward and modules": (lambda: GroupNormAct(4), "GroupNormAct has forward of its own"),
    "check": (lambda: AnyDimension(4), "_check_input_dim of its own"),
    "reset": (lambda: GainFromZero(4), "reset_parameters of its own"),
    "property": (lambda: Coarse(4), "Coarse has eps of its own"),
    "mixed in": (lambda: Negative(4), "Negative has forward of its own"),
    "ours": (lambda: Ours(4), "Ours has coefficients of its own"),
    "a new method": (lambda: Helpful(4, groups=2), "Helpful has gain of its own"),
    "a buffer": (lambda: Extra(4), "Extra has 'seen', which a BatchNorm2d has not"),
    "a gain that is a buffer": (lambda: Frozen(4), "weight of this Frozen is no parameter"),
    "no class of torch's": (lambda: OwnBatch(4), "OwnBatch is a norm, but none of torch.nn's"),
    "the layer's forward": (lambda: with_forward(nn.BatchNorm2d(4)), "BatchNorm2d has forward of its own"),
    "parametrized": (lambda: parametrized(nn.GroupNorm(2, 4)), "weight of this GroupNorm is param"),
    "parametrized, ours": (lambda: parametrized(BatchNorm(4)), "weight of this BatchNorm is param"),
    "weight norm": (
        lambda: parametrizations.weight_norm(nn.BatchNorm2d(4), dim=None), "is parametrized",
    ),
    "pruned": (lambda: prune.l1_unstructured(nn.BatchNorm2d(4), "weight", 1), "weight of this"),
    "state hook": (lambda: with_state_hook(nn.BatchNorm2d(4)), "has hooks on its state dict"),
    "lazy": (nn.LazyBatchNorm2d, "LazyBatchNorm2d does not know its channels yet: run the model"),
    "batch statistics": (
        lambda: nn.BatchNorm2d(4, track_running_stats=False), "track_running_stats=False",
    ),
    "no statistics": (lambda: untracked(nn.BatchNorm2d(4)), "no running statistics that it moves"),
    "narrowed": (lambda: narrowed(nn.BatchNorm2d(4)), "weight has 2 values and num_features is 4"),
    "quantized": (
        lambda: torch.ao.nn.quantized.BatchNorm2d(4), "swap before it is quantized",
    ),
    "compiled": (lambda: torch.compile(nn.BatchNorm2d(4)), "is a compiled BatchNorm2d"),
    "scripted": (lambda: torch.jit.script(nn.Sequential(nn.BatchNorm2d(4))), "is a ScriptModule"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*quant.*")
def test_a_norm_that_does_more_is_refused_and_the_model_untouched(name: str) -> None:
    make, message = REFUSED[name]
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(make()))
    before = dict(model.named_modules())
    with pytest.raises(UserError, match=r"^1\.0.*") as caught:
        normlab.swap_norm(model, "batch")
    assert message in str(caught.value)
    assert dict(model.named_modules()) == before


def test_spectral_norm_s_weight_is_no_parameter() -> None:
    class Wide(nn.BatchNorm2d):
        def __init__(self) -> None:
            super().__init__(4)
            self.weight = nn.Parameter(torch.ones(4, 1))

    with pytest.raises(UserError, match="0: weight of this Wide is no parameter"):
        normlab.swap_norm(nn.Sequential(spectral_norm(Wide())), "batch")


class Initialized(nn.BatchNorm2d):
    """Other defaults and a note: what it computes is batch norm."""

    note = "stem"
    momentum_of_paper: float = 0.1

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3, momentum=0.01)
        nn.init.constant_(self.weight, 0.5)

    def extra_repr(self) -> str:
        return "stem"


def test_a_subclass_that_overrides_nothing_of_forward_is_taken() -> None:
    model, x = nn.Sequential(Initialized(4)).eval(), torch.randn(2, 4, 5, 5)
    expected = model(x)
    normlab.swap_norm(model, "batch")
    assert type(model[0]) is BatchNorm
    assert (model[0].eps, model[0].momentum) == (1e-3, 0.01)
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)


def test_instance_norm_that_evaluates_by_running_statistics_is_no_instance_norm() -> None:
    model = nn.Sequential(nn.InstanceNorm2d(4, affine=True, track_running_stats=True))
    with pytest.raises(UserError, match="0: this InstanceNorm2d uses running statistics in eval"):
        normlab.swap_norm(model, "instance")
    normlab.swap_norm(model, "batch")
    assert isinstance(model[0], BatchNorm)


def test_batch_statistics_in_eval_may_become_a_kind_without_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False))
    normlab.swap_norm(model, "group", groups=2)
    assert isinstance(model[0], GroupNorm)


class Listed(nn.Module):
    """Runs its layers from a plain list, which no swap can change."""

    def __init__(self, hold: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)
        self.steps = hold(self.bn)


@pytest.mark.parametrize(
    "hold", [lambda m: [m], lambda m: {"a": (1, m)}, lambda m: m.forward, lambda m: [[m]]]
)
def test_a_norm_held_past_the_submodules_is_refused(hold: Callable[[nn.Module], Any]) -> None:
    with pytest.raises(UserError, match=r"0\.bn: '0\.steps' holds this BatchNorm2d too"):
        normlab.swap_norm(nn.Sequential(Listed(hold)), "batch")


def test_norms_of_other_dimensions_stay() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(4),
        nn.BatchNorm3d(4),
        nn.InstanceNorm1d(4),
        nn.LazyBatchNorm1d(),
        nn.RMSNorm(4),
    )
    assert normlab.swap_norm(model, "batch") == []


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_scripted_part_without_norms_does_not_matter() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), torch.jit.script(nn.ReLU()))
    assert len(normlab.swap_norm(model, "batch")) == 1


def test_a_model_compiled_as_a_whole_is_swapped() -> None:
    model = torch.compile(nn.Sequential(nn.BatchNorm2d(4)), backend="eager")
    x = torch.randn(2, 4, 3, 3)
    model(x)
    normlab.swap_norm(model, "none")
    assert torch.equal(model(x), x)


def test_a_gain_without_bias_is_kept_or_refused() -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(0)
        layer = nn.BatchNorm2d(4, bias=False)
        nn.init.uniform_(layer.weight, 0.5, 2)
        return nn.Sequential(layer)

    x, model = torch.randn(3, 4, 5, 5), made()
    expected = made()(x)
    normlab.swap_norm(model, "batch")
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)
    assert set(model.state_dict()) == set(made().state_dict())
    with pytest.raises(UserError, match="0: this BatchNorm2d has a gain without a bias"):
        normlab.swap_norm(made(), "filter_response")


def test_a_norm_with_a_way_of_its_own_in_every_call_is_refused() -> None:
    class Sealed(BatchNorm):
        def __call__(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return -super().__call__(x)

    with pytest.raises(UserError, match="0: Sealed has __call__ of its own"):
        normlab.swap_norm(nn.Sequential(Sealed(4)), "batch")

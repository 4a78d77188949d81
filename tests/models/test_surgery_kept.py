"""What a norm has survives the swap: a kind for itself changes no bit, or only the last."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normlab
from normlab.errors import UserError
from normlab.models import head_of, roles
from normlab.models.roles import remember_head
from normlab.norms import NORMS, BatchNorm, BatchRenorm, GroupNorm, make

OPTIONS: dict[str, dict[str, Any]] = {
    "group": {"groups": 2},
    "torch_group": {"groups": 2},
    "evonorm_s0": {"groups": 2},
    "ghost_batch": {"splits": 2, "momentum": 0.3},
    "batch_renorm": {"rmax": 2.0, "eps": 1e-3},
    "filter_response": {"learned_eps": True},
    "batch": {"momentum": None},
    "rms": {"bias": True},
}
TORCH: dict[str, tuple[nn.Module, str]] = {
    "BatchNorm2d": (nn.BatchNorm2d(4, eps=1e-3, momentum=0.3), "batch"),
    "BatchNorm2d, mean": (nn.BatchNorm2d(4, momentum=None), "batch"),
    "BatchNorm2d, bare": (nn.BatchNorm2d(4, affine=False), "batch"),
    "BatchNorm2d, torch": (nn.BatchNorm2d(4), "torch_batch"),
    "SyncBatchNorm": (nn.SyncBatchNorm(4), "batch"),
    "GroupNorm": (nn.GroupNorm(2, 4), "group"),
    "GroupNorm, bare": (nn.GroupNorm(2, 4, affine=False), "torch_group"),
    "GroupNorm, one": (nn.GroupNorm(1, 4), "layer"),
    "InstanceNorm2d": (nn.InstanceNorm2d(4), "instance"),
    "InstanceNorm2d, affine": (nn.InstanceNorm2d(4, affine=True), "torch_instance"),
}


def worn(layer: nn.Module) -> nn.Module:
    """The layer with gains and statistics that are no defaults, and then no mode of its own."""
    torch.manual_seed(0)
    layer = copy.deepcopy(layer)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    for _ in range(3):
        layer.train()(torch.randn(4, 4, 6, 6) * 2 + 1)
    return layer


def held(layer: nn.Module, swapped: nn.Module, x: Tensor) -> None:
    """Both give the same output in both modes and move the same state."""
    for mode in (True, False, True):
        torch.testing.assert_close(
            swapped.train(mode)(x), layer.train(mode)(x), rtol=1e-5, atol=1e-5
        )
    theirs, mine = layer.state_dict(), swapped.state_dict()
    assert list(mine) == list(theirs)
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TORCH)
def test_a_layer_of_torch_s_becomes_the_same_kind(name: str) -> None:
    layer, kind = TORCH[name]
    expected = nn.Sequential(worn(layer))
    model = copy.deepcopy(expected)
    normlab.swap_norm(model, kind)
    assert type(model[0]) is NORMS[kind]
    held(expected, model, torch.randn(4, 4, 6, 6))


@pytest.mark.parametrize("kind", NORMS)
def test_a_kind_for_itself_stays_the_layer_it_is(kind: str) -> None:
    layer = worn(make(kind, 4, **OPTIONS.get(kind, {})))
    model = nn.Sequential(layer)
    (change,) = normlab.swap_norm(model, kind)
    assert model[0] is layer
    assert change.notes == ["is of this kind already: left as it is"]
    assert change.old == change.new


@pytest.mark.parametrize("kind", NORMS)
def test_a_subclass_that_adds_nothing_becomes_its_kind(kind: str) -> None:
    own = type("Own", (NORMS[kind],), {"__doc__": "No more than its base."})
    expected = nn.Sequential(worn(own(4, **OPTIONS.get(kind, {}))))
    model = copy.deepcopy(expected)
    normlab.swap_norm(model, kind)
    assert type(model[0]) is NORMS[kind]
    held(expected, model, torch.randn(4, 4, 6, 6))


def test_options_that_differ_make_a_new_layer() -> None:
    model = nn.Sequential(make("batch_renorm", 4, rmax=2.0, activation="relu"))
    old = model[0]
    assert isinstance(old, BatchRenorm)
    old.progress = 0.7
    normlab.swap_norm(model, "batch_renorm", momentum=0.3)
    new = model[0]
    assert isinstance(new, BatchRenorm)
    assert new is not old
    assert (new.momentum, new.rmax, new.progress) == (0.3, 2.0, 0.7)
    assert isinstance(new.activation, nn.ReLU)


def test_the_activation_in_a_norm_is_handed_on_as_it_is() -> None:
    model = nn.Sequential(make("batch", 4, activation="leaky_relu"))
    activation = model[0].activation
    assert isinstance(activation, nn.LeakyReLU)
    activation.negative_slope = 0.3
    normlab.swap_norm(model, "torch_layer")
    assert model[0].activation is activation


@pytest.mark.parametrize("kind", ["batch", "ghost_batch", "batch_instance", "torch_batch", "layer"])
def test_frozen_gains_stay_frozen(kind: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).requires_grad_(False))
    options = {"splits": 2} if kind == "ghost_batch" else {}
    normlab.swap_norm(model, kind, **options)
    assert not any(parameter.requires_grad for parameter in model[1].parameters())
    assert all(parameter.requires_grad for parameter in model[0].parameters())


def test_one_frozen_gain_stays_alone() -> None:
    layer = nn.BatchNorm2d(4)
    layer.weight.requires_grad_(False)
    model = nn.Sequential(layer)
    normlab.swap_norm(model, "batch_instance")
    frozen = {
        name for name, parameter in model[0].named_parameters() if not parameter.requires_grad
    }
    assert frozen == {"weight"}


def test_tied_gains_stay_tied() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 1))
    model[1].weight = model[0].weight
    model[2].bias = model[0].bias
    normlab.swap_norm(model, "layer")
    assert model[0].weight is model[1].weight
    assert model[0].bias is model[2].bias
    assert model[1].bias is not model[0].bias


def test_an_optimizer_goes_on_with_the_gains() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    normlab.swap_norm(model, "batch")
    (model(torch.randn(4, 4, 3, 3)) * 2).sum().backward()
    optimizer.step()
    assert torch.equal(model[0].bias, torch.full((4,), -2.0 * 4 * 9))


def test_hooks_run_on_and_can_be_removed() -> None:
    model, seen = nn.Sequential(nn.BatchNorm2d(4)), []
    layer = model[0]
    handles = [
        layer.register_forward_pre_hook(lambda m, x: seen.append("before")),
        layer.register_forward_hook(lambda m, x, kw, y: seen.append("after"), with_kwargs=True),
        layer.register_full_backward_pre_hook(lambda m, g: seen.append("back before")),
        layer.register_full_backward_hook(lambda m, g, h: seen.append("back after")),
    ]
    normlab.swap_norm(model, "batch")
    x = torch.randn(4, 4, 3, 3, requires_grad=True)
    model(x).sum().backward()
    assert seen == ["before", "after", "back before", "back after"]
    for handle in handles:
        handle.remove()
    model(x).sum().backward()
    assert len(seen) == 4


def test_a_hook_s_result_is_the_layer_s() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4))
    model[0].register_forward_hook(lambda m, x, y: 3 * y)
    x = torch.randn(4, 4, 3, 3)
    expected = copy.deepcopy(model)(x)
    normlab.swap_norm(model, "batch")
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("kind", ["batch", "group", "switchable", "filter_response"])
@pytest.mark.parametrize("layer", [nn.BatchNorm2d(4), nn.InstanceNorm2d(4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_dtype_is_that_of_the_norm_or_of_its_neighbours(
    kind: str, layer: nn.Module, dtype: torch.dtype
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), copy.deepcopy(layer)).to(dtype)
    normlab.swap_norm(model, kind, **({"groups": 2} if kind == "group" else {}))
    floating = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {dtype}


def test_parameters_and_buffers_may_differ_in_dtype() -> None:
    layer = nn.BatchNorm2d(4)
    layer.running_mean, layer.running_var = layer.running_mean.double(), layer.running_var.double()
    model = nn.Sequential(layer)
    normlab.swap_norm(model, "batch")
    assert {name: tensor.dtype for name, tensor in model[0].state_dict().items()} == {
        "weight": torch.float32,
        "bias": torch.float32,
        "running_mean": torch.float64,
        "running_var": torch.float64,
        "num_batches_tracked": torch.int64,
    }


@pytest.mark.parametrize("kind", NORMS)
def test_a_meta_model_stays_one(kind: str) -> None:
    with torch.device("meta"):
        model = nn.Sequential(
            nn.Conv2d(3, 4, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.InstanceNorm2d(4),
            nn.Conv2d(4, 4, 1),
        )
    options = OPTIONS.get(kind, {})
    normlab.swap_norm(model, kind, **options)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert isinstance(model[1], NORMS[kind])
    assert isinstance(model[3], NORMS[kind])


def test_modes_stay_layer_by_layer() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4).eval(), nn.BatchNorm2d(4))
    normlab.swap_norm(model, "batch")
    assert [layer.training for layer in model] == [False, True]


def test_running_deviations_and_variances_become_each_other() -> None:
    expected = nn.Sequential(worn(nn.BatchNorm2d(4))).eval()
    model, x = copy.deepcopy(expected), torch.randn(2, 4, 5, 5)
    normlab.swap_norm(model, "batch_renorm")
    torch.testing.assert_close(model(x), expected(x), rtol=1e-5, atol=1e-5)
    normlab.swap_norm(model, "batch")
    torch.testing.assert_close(model(x), expected(x), rtol=1e-5, atol=1e-5)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({"a": nn.ModuleList([nn.BatchNorm2d(3)])})
        self.blocks["b"] = self.blocks["a"]
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.blocks["b"][0](x).mean((2, 3)))
        return y


def test_head_and_roles_are_right_after_a_swap() -> None:
    model = Net()
    remember_head(model, model.last)
    (change,) = normlab.swap_norm(model, "group", groups=3)
    assert change.name == "blocks.a.0"
    assert isinstance(model.blocks["b"][0], GroupNorm)
    assert head_of(model) is model.last
    assert roles(model) == {
        "blocks.a.0.weight": "norm_gain",
        "blocks.a.0.bias": "norm_bias",
        "last.weight": "head_weight",
        "last.bias": "head_bias",
    }


def test_an_error_in_a_late_layer_leaves_early_ones() -> None:
    layers = [nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)]
    model, seen = nn.Sequential(*layers), []
    layers[0].register_forward_hook(lambda *_: seen.append(1))
    with pytest.raises(UserError, match="1: "):
        normlab.swap_norm(model, "batch")
    assert list(model) == layers
    assert isinstance(layers[0].weight, nn.Parameter)
    model(torch.randn(2, 4, 3, 3))
    assert seen == [1]
    assert not isinstance(model[0], BatchNorm)

"""swap_norm on models of different structure."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import normlab
from normlab.errors import UserError
from normlab.norms import BatchNorm, FilterResponseNorm, GhostBatchNorm, GroupNorm, NoNorm


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.shortcut = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))  # a functional ReLU
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Functional(nn.Module):
    """Only the norm is a module: convolution, ReLU and pooling are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3, 3, 3) / 5)
        self.norm = nn.InstanceNorm2d(8, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.norm(F.conv2d(x, self.weight))), 2)


class Patches(nn.Module):
    """A transformer with a BatchNorm stem; its LayerNorm is none of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.stem(x).flatten(2).transpose(1, 2))
        y: Tensor = self.attention(tokens, tokens, tokens)[0]
        return y


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.norm_a = nn.BatchNorm2d(8)
        self.norm_b = self.norm_a

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm_b(self.second(self.norm_a(self.first(x)).relu()))
        return y


class Own(BatchNorm):
    """A user's subclass of ours."""


class Nested(nn.Module):
    """Blocks within blocks, reachable by two paths."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleDict({"a": nn.Sequential(inner, nn.Sequential(nn.BatchNorm2d(8)))})
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), self.blocks["a"])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "residual": (Residual, 3),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 9, 3, groups=3), nn.GroupNorm(3, 9)), 1),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(3, 9, 3, groups=3), nn.BatchNorm2d(9), nn.ReLU6(), nn.Conv2d(9, 5, 1), nn.BatchNorm2d(5)), 2),
    "transformer": (Patches, 1),
    "sequential": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), 1),
    "shared": (Shared, 1),
    "functional": (Functional, 1),
    "nested": (Nested, 3),
    "own norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Own(8, activation="relu")), 1),
    "none": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), 0),
}  # fmt: skip
SAME = {
    nn.BatchNorm2d: ("batch", {}),
    nn.InstanceNorm2d: ("instance", {}),
    nn.GroupNorm: ("group", {"groups": 3}),
    Own: ("batch", {}),
}


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """The model with gains, biases and statistics that are no defaults."""
    torch.manual_seed(0)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d | nn.GroupNorm | BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.bias, -0.5, 0.5)  # type: ignore[arg-type]
    for _ in range(3):
        model(torch.randn(4, 3, 16, 16) + 1)
    return model


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", MODELS)
def test_a_swap_for_the_same_kind_changes_no_output(
    name: str, dtype: torch.dtype, bound: float
) -> None:
    make, count = MODELS[name]
    model = trained(make).to(dtype)
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    norm = next((type(m) for m in model.modules() if type(m) in SAME), nn.BatchNorm2d)
    before = {mode: model.train(mode)(x) for mode in (False, True)}
    model = trained(make).to(dtype)
    kind, options = SAME[norm]
    changes = normlab.swap_norm(model, kind, **options)
    assert len(changes) == count
    assert not any(type(m) in SAME for m in model.modules())
    for mode, expected in before.items():
        difference = (model.train(mode)(x) - expected).detach().abs().max()
        assert difference <= bound * expected.detach().abs().max().clamp_min(1)


@pytest.mark.parametrize(
    "kind",
    ["group", "layer", "instance", "none", "ghost_batch", "batch_instance", "rms", "batch_renorm"],
)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_runs_with_every_kind(name: str, kind: str) -> None:
    options = {"group": {"groups": 4}, "ghost_batch": {"splits": 2}}.get(kind, {})
    model = trained(MODELS[name][0])
    changes = normlab.swap_norm(model, kind, **options)
    assert len(changes) == MODELS[name][1]
    assert model(torch.randn(4, 3, 16, 16)).isfinite().all()


def test_a_shared_norm_stays_shared_and_is_named_with_its_places() -> None:
    model = Shared()
    (change,) = normlab.swap_norm(model, "layer")
    assert change.name == "norm_a, norm_b"
    assert model.norm_a is model.norm_b


def test_layer_norm_of_tokens_is_left_alone() -> None:
    model = Patches()
    changes = normlab.swap_norm(model, "group", groups=2)
    assert [change.name for change in changes] == ["stem.1"]
    assert isinstance(model.norm, nn.LayerNorm)


def test_illegal_group_counts_become_the_largest_that_fits_and_are_said() -> None:
    model = nn.Sequential(nn.BatchNorm2d(9), nn.BatchNorm2d(5), nn.BatchNorm2d(8))
    changes = normlab.swap_norm(model, "group", groups=4)
    assert [module.groups for module in model] == [3, 1, 4]
    assert "3 groups, the most that divide 9 channels" in changes[0].notes
    assert not any("most" in note for note in changes[2].notes)


def test_weights_and_statistics_move_where_the_kinds_allow() -> None:
    model = trained(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.3, eps=1e-3))
    )
    old = model[1]
    (change,) = normlab.swap_norm(model, "ghost_batch", splits=2)
    new = model[1]
    assert isinstance(new, GhostBatchNorm)
    assert (new.momentum, new.eps) == (0.3, 1e-3)
    for name, value in old.state_dict().items():
        assert torch.equal(value, new.state_dict()[name])
    assert change.notes == ["kept weight, bias, running_mean, running_var, num_batches_tracked"]
    (change,) = normlab.swap_norm(model, "layer")
    assert "lost running_mean, running_var, num_batches_tracked" in change.notes


def test_a_dry_run_lists_and_changes_nothing() -> None:
    model = Residual()
    before = dict(model.named_modules())
    changes = normlab.swap_norm(model, "instance", dry_run=True)
    assert [change.name for change in changes] == ["bn1", "bn2", "shortcut.1"]
    assert changes[0].old.startswith("BatchNorm2d(8")
    assert changes[0].new.startswith("InstanceNorm(8")
    assert dict(model.named_modules()) == before


def test_a_kind_with_its_own_activation_takes_the_relu_out_of_a_sequential() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.MaxPool2d(2),
    )
    changes = normlab.swap_norm(model, "filter_response")
    assert isinstance(model[1], FilterResponseNorm)
    assert isinstance(model[2], nn.Identity)
    assert "takes the place of ReLU" in changes[0].notes
    assert not any("takes the place" in note for note in changes[1].notes)


def test_where_the_activation_cannot_be_seen_it_is_refused_and_nothing_changed() -> None:
    model = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), Residual())
    before = dict(model.named_modules())
    with pytest.raises(UserError, match=r"1\.bn1: norm 'evonorm_b0' contains its activation"):
        normlab.swap_norm(model, "evonorm_b0")
    assert dict(model.named_modules()) == before


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("grop", {}, "'group'"),
        ("group", {}, "exactly one of groups"),
        ("layer", {"groups": 2}, "unexpected keyword argument 'groups'"),
        ("nosuch.module:Norm", {}, "cannot be imported"),
    ],
)
def test_mistakes_are_named_and_leave_the_model_untouched(
    kind: str, options: dict[str, int], message: str
) -> None:
    model = Residual()
    before = dict(model.named_modules())
    with pytest.raises(UserError, match=message):
        normlab.swap_norm(model, kind, **options)
    assert dict(model.named_modules()) == before


def test_device_dtype_and_mode_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).double().eval()
    normlab.swap_norm(model, "group", groups=2)
    norm = model[1]
    assert isinstance(norm, GroupNorm)
    assert norm.weight is not None
    assert norm.weight.dtype is torch.float64
    assert not norm.training


def test_no_norm_can_become_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), NoNorm(8, activation="relu"))
    normlab.swap_norm(model, "batch")
    assert isinstance(model[1], BatchNorm)
    assert isinstance(model[1].activation, nn.ReLU)


def test_a_bare_norm_cannot_be_replaced_in_place() -> None:
    with pytest.raises(UserError, match="norm itself"):
        normlab.swap_norm(nn.BatchNorm2d(3), "group", groups=1)

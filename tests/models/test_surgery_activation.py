"""swap_norm to a kind with its own activation: the one behind is found by what it computes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import normlab
from normlab.errors import UserError
from normlab.norms import FilterResponseNorm, make
from normlab.regularizers import DropBlock, Dropout


class Swish(nn.Module):
    """A user's activation."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Capped(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=6)


class Same(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Looks(nn.Module):
    """A forward that depends on values: no graph of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def stem(*behind: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), *behind)


RECTIFIERS = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.1), nn.SiLU(), nn.GELU(), nn.ELU(),
    nn.CELU(), nn.SELU(), nn.Mish(), nn.Hardswish(), nn.Softplus(), nn.RReLU(), Swish(), Capped(),
]  # fmt: skip


@pytest.mark.parametrize("activation", RECTIFIERS, ids=lambda module: type(module).__name__)
def test_an_activation_is_known_by_what_it_computes(activation: nn.Module) -> None:
    model = stem(activation, nn.Conv2d(8, 4, 1))
    (change,) = normlab.swap_norm(model, "filter_response")
    assert isinstance(model[2], nn.Identity)
    assert change.fitting == [f"takes the place of {type(activation).__name__}"]


class AtTheEnd(nn.Module):
    """The activation stands in another module than the norm."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.a, self.between = stem(), between
        self.b = nn.ModuleList([nn.Sequential(nn.Identity(), nn.ReLU())])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b[0](self.between(self.a(x)))
        return y


BETWEEN = [
    nn.Identity(), nn.Dropout(0.5), nn.Dropout2d(0.5), nn.MaxPool2d(2), nn.AvgPool2d(3, 1), Same(),
    Dropout(0.5), DropBlock(0.5, 3), nn.Sequential(nn.Identity(), nn.Sequential(nn.Dropout(0.1))), nn.ZeroPad2d(1), nn.Flatten(),
]  # fmt: skip


@pytest.mark.parametrize("between", BETWEEN, ids=lambda module: type(module).__name__)
def test_it_is_found_behind_what_passes_a_map_on(between: nn.Module) -> None:
    model = AtTheEnd(between)
    normlab.swap_norm(model, "evonorm_b0")
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())
    assert model(torch.randn(2, 3, 8, 8)).isfinite().all()


class Body(nn.Module):
    """Norm and then a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.bn, self.function = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), function
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.function(self.bn(self.conv(x))))
        return y


def in_place_and_forgotten(y: Tensor) -> Tensor:
    torch.relu_(y)
    return y


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "method": lambda y: y.relu(),
    "in place": torch.relu_,
    "forgotten": in_place_and_forgotten,
    "clamp": lambda y: y.clamp(min=0),
    "clamp_min": lambda y: torch.clamp_min(y, 0.0),
    "maximum": lambda y: torch.maximum(y, torch.zeros_like(y)),
    "where": lambda y: torch.where(y > 0, y, 0.0),
    "silu by hand": lambda y: y * torch.sigmoid(y),
    "dropout between": lambda y: F.relu(F.dropout(y, 0.5, True)),
    "scaled": lambda y: F.gelu(y * 2 + 1),
    "pooled": lambda y: F.leaky_relu(F.max_pool2d(y, 2)),
    "square": lambda y: y * y,
    "beside another map": lambda y: F.relu(torch.cat([y[:, :4], y[:, 4:] + 1], 1)),
    "its data": lambda y: (y.data.clamp_(min=0), y)[1],
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_behind_a_norm_is_refused_and_named(name: str) -> None:
    model = nn.Sequential(stem(nn.ReLU()), nn.Conv2d(8, 3, 1), Body(FUNCTIONS[name]))
    before = dict(model.named_modules())
    with pytest.raises(UserError, match=r"2\.bn: norm 'filter_response' contains its activation"):
        normlab.swap_norm(model, "filter_response")
    assert dict(model.named_modules()) == before


@pytest.mark.parametrize(
    "activation", [nn.Tanh(), nn.Sigmoid(), nn.PReLU(), nn.Softmax(1), nn.GLU(1)]
)
def test_other_nonlinear_modules_are_refused_and_named(activation: nn.Module) -> None:
    model = stem(activation)
    with pytest.raises(UserError, match=rf"'2' \({type(activation).__name__}\) follows"):
        normlab.swap_norm(model, "evonorm_b0")
    assert model[2] is activation


class Basic(nn.Module):
    """A residual block whose one ReLU is used behind a norm and behind the sum."""

    def __init__(self, *, one_relu: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU(inplace=True)
        self.relu2 = self.relu1 if one_relu else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        y: Tensor = self.relu2(out)
        return y


def test_a_relu_that_others_use_too_is_not_taken_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Basic(one_relu=True))
    before = dict(model.named_modules())
    with pytest.raises(UserError, match=r"1\.bn1: .*1\.relu1, 1\.relu2.*used at other places too"):
        normlab.swap_norm(model, "filter_response")
    assert dict(model.named_modules()) == before


def test_a_relu_behind_a_sum_belongs_to_the_sum() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Basic(one_relu=False))
    changes = normlab.swap_norm(model, "filter_response")
    block = model[1]
    assert isinstance(block, Basic)
    assert [change.fitting for change in changes] == [["takes the place of ReLU"], []]
    assert isinstance(block.relu1, nn.Identity)
    assert isinstance(block.relu2, nn.ReLU)


def test_one_relu_behind_two_norms_alone_goes_once() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(stem(relu), nn.Conv2d(8, 3, 1), stem(relu))
    normlab.swap_norm(model, "evonorm_b0")
    assert [type(model[0][2]), type(model[2][2])] == [nn.Identity, nn.Identity]


class Branches(nn.Module):
    """A pre-activation block: the shortcut takes the norm's output as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.relu = nn.BatchNorm2d(3), nn.ReLU()
        self.conv, self.short = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(x)
        z: Tensor = self.conv(self.relu(y)) + self.short(y)
        return z


def test_an_output_used_with_and_without_activation_is_refused() -> None:
    with pytest.raises(UserError, match="used with an activation and without one"):
        normlab.swap_norm(Branches(), "filter_response")


class InTraining(nn.Module):
    """An activation in one of the two modes."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(x)
        return y if self.training else F.relu(y)


@pytest.mark.parametrize("training", [True, False])
def test_both_modes_are_looked_at(training: bool) -> None:
    model = InTraining().train(training)
    with pytest.raises(UserError, match=r"relu\(\) in the forward of InTraining follows"):
        normlab.swap_norm(model, "filter_response")
    assert model.training is training


class Gate(nn.Module):
    """Squeeze and excitation of a norm's output: no activation behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.fc = nn.BatchNorm2d(3), nn.Linear(3, 3)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        y = self.bn(x)
        gate = torch.sigmoid(self.fc(y.mean((2, 3)))).view(y.size(0), -1, 1, 1)
        return F.conv2d(y * gate, torch.ones(1, 3, 1, 1)) * scale


def test_nothing_behind_a_norm_changes_nothing_but_the_norm() -> None:
    model = Gate()
    (change,) = normlab.swap_norm(model, "filter_response")
    assert change.fitting == []
    assert isinstance(model.bn, FilterResponseNorm)


def test_where_the_model_cannot_be_traced_its_parts_are_looked_at() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = stem(nn.ReLU(), nn.Conv2d(8, 8, 1)), nn.BatchNorm2d(8)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.body(x)
            return self.last(y) if y.sum() > 0 else F.relu(self.last(-y))

    model = Net()
    with pytest.raises(UserError, match=r"last: .* what follows this norm cannot be seen in Net"):
        normlab.swap_norm(model, "filter_response")
    model.last = nn.Identity()  # type: ignore[assignment]
    normlab.swap_norm(model, "filter_response")
    assert isinstance(model.body[2], nn.Identity)


def test_a_part_that_looks_at_values_is_refused_only_behind_the_norm() -> None:
    model = nn.Sequential(Looks(), stem(nn.ReLU()), nn.Conv2d(8, 8, 1), Looks())
    normlab.swap_norm(model, "filter_response")
    assert isinstance(model[1][2], nn.Identity)
    with pytest.raises(UserError, match=r"cannot be told what '2' \(Looks\) makes"):
        normlab.swap_norm(stem(Looks()), "filter_response")


@pytest.mark.parametrize("kind", ["filter_response", "evonorm_b0"])
def test_hooks_on_the_activation_that_goes_still_run(kind: str) -> None:
    model, seen = stem(nn.ReLU()), []
    handle = model[2].register_forward_hook(lambda module, inputs, y: seen.append(y))
    normlab.swap_norm(model, kind)
    y = model(torch.randn(2, 3, 8, 8))
    assert len(seen) == 1
    assert torch.equal(seen[0], y)
    handle.remove()
    model(torch.randn(2, 3, 8, 8))
    assert len(seen) == 1


def test_hooks_on_the_activation_in_a_norm_run_on_or_are_refused() -> None:
    model, seen = nn.Sequential(make("batch", 3, activation="silu")), []
    model[0].activation.register_forward_hook(lambda *_: seen.append(1))  # type: ignore[union-attr, operator]
    normlab.swap_norm(model, "rms")
    model(torch.randn(2, 3, 4, 4))
    assert seen == [1]
    with pytest.raises(UserError, match="0: SiLU in this RMSNorm has hooks"):
        normlab.swap_norm(model, "filter_response")


def test_the_activation_of_a_kind_that_goes_is_asked_for() -> None:
    model = nn.Sequential(make("filter_response", 3))
    with pytest.raises(UserError, match="FilterResponseNorm contains its activation and BatchNorm"):
        normlab.swap_norm(model, "batch")
    normlab.swap_norm(model, "batch", activation="relu")
    assert (model(torch.randn(2, 3, 4, 4)) >= 0).all()


def test_looking_leaves_no_trace_in_the_model() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.calls, self.last = stem(nn.ReLU()), 0, None

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = self.body(x)
            return self.last

    model, seen = Counts(), []
    model.register_forward_hook(lambda *_: seen.append(1))
    model.body.register_forward_hook(lambda *_: seen.append(2))
    state = torch.get_rng_state()
    normlab.swap_norm(model, "filter_response", dry_run=True)
    assert (model.calls, model.last, seen) == (0, None, [])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_meta_model_is_looked_at_as_well() -> None:
    with torch.device("meta"):
        model = AtTheEnd(nn.Dropout())
    normlab.swap_norm(model, "filter_response")
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_a_hook_behind_the_norm_may_be_an_activation() -> None:
    model = stem(nn.Conv2d(8, 8, 1))
    model[1].register_forward_hook(lambda module, inputs, y: y.relu())
    with pytest.raises(
        UserError, match=r"1: .* forward hooks of this norm may change what follows"
    ):
        normlab.swap_norm(model, "filter_response")


def test_an_activation_held_in_a_plain_list_is_not_taken_out() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn, self.act = nn.BatchNorm2d(3), nn.ReLU()
            self._steps = {"after": [self.act]}

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.act(self.bn(x))
            return y

    model = Net()
    with pytest.raises(UserError, match=r"act: '_steps' holds this ReLU too"):
        normlab.swap_norm(model, "evonorm_b0")
    assert isinstance(model.bn, nn.BatchNorm2d)


class Dense(nn.Module):
    """A map beside the block's input, and the activation on both."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.relu, self.out = nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.relu(torch.cat([self.bn(x), x], 1)))
        return y


def test_an_activation_on_other_maps_as_well_is_refused() -> None:
    with pytest.raises(UserError, match=r"'relu' \(ReLU\) follows, which cannot be taken out"):
        normlab.swap_norm(Dense(), "filter_response")

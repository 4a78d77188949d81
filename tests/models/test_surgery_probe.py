"""swap_norm(..., probe=x): what the model gives on a batch is held before the swap stands."""

import random

import pytest
import torch
from torch import Tensor, nn

import normlab
from normlab.errors import UserError
from normlab.norms import BatchNorm, GroupNorm, NoNorm

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    )
    for _ in range(3):
        model(X * 2 + 1)
    return model


def test_a_swap_for_itself_stands() -> None:
    model = net()
    normlab.swap_norm(model, "batch", probe=X)
    assert isinstance(model[1], BatchNorm)


def test_a_difference_is_found_and_its_layer_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: BatchNorm, x: Tensor) -> Tensor:
        return x

    monkeypatch.setattr(BatchNorm, "forward", forward)
    model = net()
    before = dict(model.named_modules())
    with pytest.raises(UserError, match=r"^1: with norm 'batch' the output on the probe is off by"):
        normlab.swap_norm(model, "batch", probe=X)
    assert dict(model.named_modules()) == before


@pytest.mark.parametrize("name", ["eps", "groups"])
def test_another_function_must_only_be_finite_and_of_the_same_shape(name: str) -> None:
    model = net()
    if name == "eps":
        normlab.swap_norm(model, "batch", eps=0.5, probe=X)
        assert isinstance(model[1], BatchNorm)
    else:
        normlab.swap_norm(model, "group", groups=4, probe=X)
        assert isinstance(model[1], GroupNorm)


def test_what_is_not_finite_is_refused() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    nn.init.constant_(model[1].weight, 1e19)
    model[0].running_var.fill_(1e30)
    with pytest.raises(UserError, match=r"^the model: with norm 'none' .* is not finite"):
        normlab.swap_norm(model, "none", probe=torch.full((2, 3, 4, 4), 1e25))
    assert isinstance(model[0], nn.BatchNorm2d)


def test_a_model_that_no_longer_runs_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 8), nn.BatchNorm2d(8))
    before = list(model)
    with pytest.raises(UserError, match="the probe does not run with norm 'instance': ValueError"):
        normlab.swap_norm(model, "instance", probe=X)
    assert list(model) == before


def test_maps_of_other_dimensions_are_refused_by_the_probe() -> None:
    model = nn.Sequential(nn.GroupNorm(1, 3))
    with pytest.raises(UserError, match="the probe does not run with norm 'layer'"):
        normlab.swap_norm(model, "layer", probe=torch.randn(2, 3, 7))
    assert isinstance(model[0], nn.GroupNorm)


def test_a_probe_that_the_model_itself_cannot_take_is_said() -> None:
    with pytest.raises(UserError, match="the probe does not run in the model as it is"):
        normlab.swap_norm(net(), "batch", probe=X[:, :2])


class Restless(nn.Module):
    """Everything that a run can change."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.drop, self.calls = nn.BatchNorm2d(3), nn.Dropout(), 0
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor, *, scale: Tensor | None = None) -> Tensor:
        self.calls += 1
        self.count += 1
        torch.rand(1), random.random()
        y: Tensor = self.drop(self.bn(x))
        return y


def test_the_probe_leaves_the_model_and_the_world_as_they_were() -> None:
    model, seen = Restless(), []
    model.drop.eval()
    model.register_forward_hook(lambda *_: seen.append(1))
    model.bn.register_forward_hook(lambda *_: seen.append(2))
    state, probe = torch.get_rng_state(), X.clone()
    python = random.getstate()
    normlab.swap_norm(model, "batch", probe=probe)
    assert (model.calls, float(model.count), seen) == (0, 0.0, [])
    assert (model.training, model.bn.training, model.drop.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert torch.equal(probe, X)
    assert int(model.bn.num_batches_tracked) == 0


def test_a_probe_may_be_the_arguments_of_the_forward() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(3)

        def forward(self, x: Tensor, y: Tensor) -> dict[str, list[Tensor]]:
            return {"sum": [self.bn(x) + y]}

    model = Two()
    normlab.swap_norm(model, "batch", probe=(X, X))
    assert isinstance(model.bn, BatchNorm)


def test_a_dry_run_changes_nothing_with_a_probe() -> None:
    model = net()
    normlab.swap_norm(model, "none", probe=X, dry_run=True)
    assert not any(isinstance(module, NoNorm) for module in model.modules())


def test_a_meta_model_is_probed_for_its_shapes() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    with pytest.raises(UserError, match="does not run in the model as it is"):
        normlab.swap_norm(model, "layer", probe=X[:, :1].to("meta"))
    normlab.swap_norm(model, "layer", probe=X.to("meta"))
    assert model[1].weight.is_meta


def test_weight_norm_in_the_model_does_not_stand_in_the_way() -> None:
    model = net()
    model[3] = nn.utils.parametrizations.weight_norm(model[3])
    model[0] = nn.utils.spectral_norm(model[0])
    model(X)
    normlab.swap_norm(model, "batch", probe=X)
    assert isinstance(model[4], BatchNorm)

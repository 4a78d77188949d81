import pytest
import torch
from torch import nn

from normlab.data import splits
from normlab.models import build, parameter_count
from normlab.recipe import Recipe
from normlab.train import EpochDone, Finished, diagnostics, train
from normlab.train.cost import flops

BASE: dict[str, object] = {
    "data": "digits",
    "model": "digits-small",
    "epochs": 2,
    "lr": 0.05,
    "batch_size": 64,
}


def run(values: dict[str, object]) -> tuple[list[EpochDone], Finished]:
    recipe = Recipe.parse({**BASE, **values})
    *epochs, end = train(recipe, 0, splits(recipe))
    return epochs, end  # type: ignore[return-value]


def test_weight_norm_is_that_of_all_parameters() -> None:
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[2.0, 3.0]]))
        net.bias.fill_(6.0)
    assert diagnostics.weight_norm(net) == pytest.approx(7.0)


def test_gates_are_shares_of_ten_bins() -> None:
    net = build(Recipe.parse({**BASE, "norm": "batch_instance"}), (1, 8, 8), 10).model
    with torch.no_grad():
        net.get_parameter("layers.norm1.rho").copy_(torch.tensor([0.0, 0.05, 0.55, 1.0] * 4))
    found = diagnostics.gates(net)
    assert found["layers.norm1.rho"] == pytest.approx([0.5, 0, 0, 0, 0, 0.25, 0, 0, 0, 0.25])
    assert len(found) == 3


def test_gates_of_a_softmax_are_shown_after_it() -> None:
    net = build(Recipe.parse({**BASE, "norm": "switchable"}), (1, 8, 8), 10).model
    assert diagnostics.gates(net)["layers.norm1.mean_weight"][3] == pytest.approx(1)  # 3 x 1/3


def test_sparsity_is_over_each_weight_s_own_largest_value() -> None:
    net = build(Recipe.parse({**BASE, "norm": "none"}), (1, 8, 8), 10).model
    with torch.no_grad():
        head = net.get_parameter("layers.head.weight")
        head.fill_(0.0)
        head[0, 0], head[1, 1] = -10.0, 0.05
    below = diagnostics.sparsity(net)["layers.head.weight"]
    assert below == pytest.approx([318 / 320, 319 / 320])


def test_activations_are_percentiles_of_each_norm_s_output() -> None:
    net = build(Recipe.parse({**BASE, "norm": "instance"}), (1, 8, 8), 10).model
    found = diagnostics.activations(net, torch.randn(50, 1, 8, 8))
    assert list(found) == ["layers.norm1", "layers.norm2", "layers.norm3"]
    for low, quarter, most, high in found.values():
        assert 0 == low <= quarter <= most < high < 6  # ReLU of standardized values


ALL = {"diagnostics": ["activations", "gradient_norm", "train"]}


def test_diagnostics_change_no_weight() -> None:
    plain, watched = run({"dropout": 0.1})[1], run({"dropout": 0.1, **ALL})[1]
    assert plain.result.weights_sha256 == watched.result.weights_sha256


def test_the_record_has_what_was_asked_for_and_what_is_free() -> None:
    epochs, end = run({**ALL, "agc": 0.02, "l1": 1e-4, "norm": "batch_instance"})
    details = epochs[-1].record.details
    assert set(details) == {
        "weight_norm",
        "agc_clipped",
        "gradient_norm",
        "gates",
        "sparsity",
        "activations",
        "train",
    }
    assert 0 < details["agc_clipped"] <= 1
    assert details["gradient_norm"] > 0
    assert end.result.final_train is not None
    assert details["train"]["accuracy"] == end.result.final_train.accuracy


def test_without_them_only_the_free_ones_are_there() -> None:
    assert set(run({})[0][0].record.details) == {"weight_norm"}


def test_the_predictions_are_the_final_weights() -> None:
    epochs, end = run({})
    recipe = Recipe.parse(BASE)
    labels = torch.from_numpy(splits(recipe).test.labels)
    accuracy = float((end.predictions == labels).double().mean())
    assert accuracy == pytest.approx(epochs[-1].record.test_accuracy)
    assert bool(((end.confidences >= 0.1) & (end.confidences <= 1)).all())


def test_flops_by_hand() -> None:
    # conv 1->16 and 16->16 on 8x8, 16->32 on 4x4 after the pool, linear 32->10; two a product.
    products = 64 * 9 * 16 + 64 * 9 * 16 * 16 + 16 * 9 * 16 * 32 + 32 * 10
    assert flops(Recipe.parse(BASE), (1, 8, 8), 10) == 2 * products


def test_the_result_says_what_it_cost() -> None:
    found = run({})[1].result
    assert found.flops == flops(Recipe.parse(BASE), (1, 8, 8), 10)
    assert found.peak_memory is None or found.peak_memory > 10 * 2**20
    net = build(Recipe.parse(BASE), (1, 8, 8), 10).model
    assert found.parameters == parameter_count(net)

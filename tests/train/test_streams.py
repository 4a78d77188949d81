import pytest
import torch

from normlab.data import splits
from normlab.models import build
from normlab.recipe import Recipe
from normlab.train import Finished, train
from normlab.train.streams import generator, glorot_bounds, initialize, order


def draw(seed: int, stream: str, part: object) -> float:
    return float(torch.rand((), generator=generator(seed, stream, part)))  # type: ignore[arg-type]


def test_seed_stream_and_part_each_make_another_stream() -> None:
    drawn = {draw(0, "order", 1), draw(1, "order", 1), draw(0, "dropout", 1), draw(0, "order", 2)}
    assert len(drawn) == 4


def test_global_state_moves_nothing() -> None:
    torch.manual_seed(1)
    first = draw(0, "order", 1), order(100, 0, 1)
    torch.manual_seed(2)
    assert draw(0, "order", 1) == first[0]
    assert torch.equal(order(100, 0, 1), first[1])


def test_an_order_is_a_permutation_and_changes_with_the_epoch() -> None:
    assert order(50, 0, 1).sort().values.equal(torch.arange(50))
    assert not order(50, 0, 1).equal(order(50, 0, 2))


def model(norm: object, seed: int) -> torch.nn.Module:
    recipe = Recipe.parse(
        {"data": "digits", "model": {"kind": "digits-small", "conv_bias": "never"}, "norm": norm}
    )
    net = build(recipe, (1, 8, 8), 10).model
    initialize(net, seed)
    return net


def test_arms_of_one_seed_start_from_the_same_weights() -> None:
    batch, none = model("batch", 3).state_dict(), model("none", 3).state_dict()
    for name, weight in none.items():
        assert torch.equal(weight, batch[name])


def test_seeds_differ() -> None:
    assert not torch.equal(*(model("none", s).state_dict()["layers.conv1.weight"] for s in (0, 1)))


def test_weights_have_torch_s_default_distribution() -> None:
    weight = model("batch", 0).state_dict()["layers.conv3.weight"]
    bound = (16 * 9) ** -0.5
    assert float(weight.abs().max()) <= bound
    assert float(weight.var()) == pytest.approx(bound**2 / 3, rel=0.05)


def test_norms_start_as_the_plain_normalization() -> None:
    state = model("batch", 0).state_dict()
    assert state["layers.norm1.weight"].eq(1).all()
    assert state["layers.norm1.bias"].eq(0).all()


def started(init: str) -> dict[str, torch.Tensor]:
    recipe = Recipe.parse({"data": "digits", "model": "digits-small", "norm": "none"})
    net = build(recipe, (1, 8, 8), 10).model
    initialize(net, 0, init)
    return net.state_dict()


def test_glorot_weights_are_uniform_within_the_bound_of_the_paper() -> None:
    weight = started("glorot")["layers.conv3.weight"]
    outputs, inputs, height, width = weight.shape
    # U(-b, b) with b = sqrt(6 / (fan_in + fan_out)) has variance 2 / (fan_in + fan_out).
    fans = (inputs + outputs) * height * width
    bound = (6 / fans) ** 0.5
    assert 0.99 * bound < float(weight.abs().max()) <= bound
    assert float(weight.var()) == pytest.approx(2 / fans, rel=0.05)


@pytest.mark.parametrize("shape", [(12, 4, 3, 5), (10, 32)])
def test_glorot_s_bound_is_that_of_torch_s_own_function(shape: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(7)
    theirs = torch.nn.init.xavier_uniform_(torch.empty(shape), generator=source)
    bound, bias = glorot_bounds(theirs)
    ours = torch.empty(shape).uniform_(-bound, bound, generator=source.manual_seed(7))
    assert torch.allclose(ours, theirs)
    assert bias == 0


def test_glorot_biases_are_zero_and_torch_s_are_not() -> None:
    biases = [name for name in started("torch") if name.endswith("bias")]
    assert biases
    for name in biases:
        assert started("glorot")[name].eq(0).all()
        assert started("torch")[name].ne(0).any()


@pytest.mark.parametrize("init", ["torch", "glorot"])
def test_a_training_starts_as_its_recipe_says(init: str) -> None:
    values = {"data": "digits", "model": "digits-small", "norm": "none", "epochs": 1, "lr": 1e-30}
    recipe = Recipe.parse({**values, "init": init})
    *_, end = train(recipe, 0, splits(recipe), probes=False)
    assert isinstance(end, Finished)
    for name, value in started(init).items():
        assert torch.allclose(end.weights[name], value, rtol=0, atol=1e-20), name

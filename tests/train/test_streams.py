import pytest
import torch

from normlab.models import build
from normlab.recipe import Recipe
from normlab.train.streams import generator, initialize, order


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

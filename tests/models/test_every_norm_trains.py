"""Every norm of the catalog in a real training: it builds, learns and resumes."""

import pytest

from normlab.data import splits
from normlab.models import build, roles
from normlab.norms import BatchInstanceNorm
from normlab.recipe import NORMS, Recipe
from normlab.train import EpochDone, Finished, train

OPTIONS = {
    "group": {"groups": 4},
    "torch_group": {"groups": 4},
    "evonorm_s0": {"groups": 4},
    "ghost_batch": {"splits": 4},
}


def recipe(kind: str, **values: object) -> Recipe:
    base = {"data": "digits", "model": "digits-small", "epochs": 4, "lr": 0.05, "batch_size": 64}
    return Recipe.parse({**base, "norm": {"kind": kind, **OPTIONS.get(kind, {})}, **values})


@pytest.mark.parametrize("kind", NORMS)
def test_it_learns_and_resumes_bit_for_bit(kind: str) -> None:
    made = recipe(kind)
    events = list(train(made, 0, splits(made)))
    end = events[-1]
    assert isinstance(end, Finished)
    losses = [event.record.train_loss for event in events if isinstance(event, EpochDone)]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0] - 0.01
    half = train(made, 0, splits(made))
    next(half)
    first = next(half)
    assert isinstance(first, EpochDone)
    rest = list(train(made, 0, splits(made), resume=first.checkpoint))
    assert isinstance(rest[-1], Finished)
    assert rest[-1].result.weights_sha256 == end.result.weights_sha256


def test_a_gate_moves_and_stays_in_its_range() -> None:
    made = recipe("batch_instance", lr=0.2)
    *_, end = train(made, 0, splits(made))
    assert isinstance(end, Finished)
    gates = [value for name, value in end.weights.items() if name.endswith("rho")]
    assert len(gates) == 3
    for gate in gates:
        assert gate.ne(1).any()
        assert gate.ge(0).all()
        assert gate.le(1).all()


def test_gates_have_a_role_and_a_learning_rate_of_their_own() -> None:
    from normlab.train.optimizer import Updater

    made = recipe("batch_instance")
    model = build(made, (1, 8, 8), 10).model
    assert sum(role == "gate" for role in roles(model).values()) == 3
    updater = Updater(made, model, 10)
    for parameter in model.parameters():
        parameter.grad = parameter.detach() * 0 + 1
    updater.step(0)
    factors = {group["lr_factor"]: group["lr"] for group in updater.optimizer.param_groups}
    assert factors == pytest.approx({1.0: made.lr, 10.0: 10 * made.lr})
    assert BatchInstanceNorm.gate_lr_factor == 10

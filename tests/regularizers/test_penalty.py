from collections.abc import Callable

import pytest
import torch
from torch import nn, optim

from normlab.regularizers import add_l1_gradient, add_l2_gradient, decay


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([3.0, -2.0, 0.0])), nn.Parameter(torch.tensor([[0.5]]))]


def test_gradients_equal_those_of_the_penalty_in_the_loss() -> None:
    direct, through_loss = weights(), weights()
    add_l1_gradient(direct, 0.1)
    add_l2_gradient(direct, 0.01)
    penalty = sum(0.1 * w.abs().sum() + 0.01 / 2 * (w**2).sum() for w in through_loss)
    penalty.backward()  # type: ignore[union-attr]
    for w, other in zip(direct, through_loss, strict=True):
        torch.testing.assert_close(w.grad, other.grad, rtol=1e-7, atol=0)


def test_one_sgd_step_with_l2_equals_torch_s_weight_decay() -> None:
    ours, theirs = weights(), weights()
    for w in (*ours, *theirs):
        w.grad = torch.full_like(w, 0.3)
    add_l2_gradient(ours, 0.05)
    optim.SGD(ours, lr=0.1).step()
    optim.SGD(theirs, lr=0.1, weight_decay=0.05).step()
    for w, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(w, other, rtol=1e-7, atol=0)


def test_one_adam_step_after_decay_equals_torch_s_adamw() -> None:
    ours, theirs = weights(), weights()
    for w in (*ours, *theirs):
        w.grad = torch.full_like(w, 0.3)
    decay(ours, 0.05, lr=0.1)
    optim.Adam(ours, lr=0.1).step()
    optim.AdamW(theirs, lr=0.1, weight_decay=0.05).step()
    for w, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(w, other, rtol=1e-7, atol=0)


def frozen_and_not() -> list[nn.Parameter]:
    parameters = weights()
    parameters[0].requires_grad_(False)
    return parameters


@pytest.mark.parametrize("add", [add_l1_gradient, add_l2_gradient])
def test_a_frozen_weight_gets_no_gradient(add: Callable[..., None]) -> None:
    frozen, trained = frozen_and_not()
    add([frozen, trained], 0.1)
    assert frozen.grad is None
    assert trained.grad is not None
    frozen.requires_grad_(True)  # thawed: from now on it is penalized
    add([frozen, trained], 0.1)
    assert frozen.grad is not None


def test_a_frozen_weight_does_not_decay() -> None:
    frozen, trained = frozen_and_not()
    decay([frozen, trained], 0.5, lr=0.1)
    assert torch.equal(frozen, weights()[0])
    assert not torch.equal(trained, weights()[1])


@pytest.mark.parametrize("add", [add_l1_gradient, add_l2_gradient])
def test_strength_0_touches_nothing(add: object) -> None:
    parameters = weights()
    add(parameters, 0.0)  # type: ignore[operator]
    assert all(w.grad is None for w in parameters)

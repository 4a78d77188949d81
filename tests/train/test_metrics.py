import pytest
import torch

from normlab.train.metrics import confusion, scores


def test_hand_values() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    predictions = torch.tensor([0, 0, 1, 1, 2, 2])
    matrix = confusion(labels, predictions, 3)
    assert matrix.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    found = scores(matrix)
    # F1: class 0: 2*2/(3+2), class 1: 2*1/(2+2), class 2: 2*1/(1+2)
    assert found.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert found.accuracy == found.micro_f1 == pytest.approx(4 / 6)


def test_classes_that_do_not_occur_do_not_count() -> None:
    found = scores(confusion(torch.tensor([0, 1]), torch.tensor([0, 1]), 10))
    assert found.macro_f1 == 1.0


def test_a_class_only_predicted_counts_as_zero() -> None:
    found = scores(confusion(torch.tensor([0, 0]), torch.tensor([0, 3]), 10))
    assert found.macro_f1 == pytest.approx((2 / 3 + 0) / 2)

import math

import pytest
import torch

from normlab.train.metrics import confusion, expected_calibration_error, scores


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


def test_calibration_error_by_hand() -> None:
    # Bins of a fifteenth: two images near 0.95 (one right), one at 0.5 (right), one at 1 (right).
    confidences = torch.tensor([0.94, 0.95, 0.5, 1.0])
    correct = torch.tensor([True, False, True, True])
    # 0.94 and 0.95 and 1.0 lie in the last bin (14/15 = 0.933), 0.5 in the eighth.
    expected = (abs((0.94 + 0.95 + 1.0) - 2) + abs(0.5 - 1)) / 4
    assert expected_calibration_error(confidences, correct) == pytest.approx(expected, abs=1e-6)


def test_opposite_gaps_in_one_bin_cancel_and_in_two_do_not() -> None:
    correct = torch.tensor([True, False])
    one_bin = expected_calibration_error(torch.tensor([0.51, 0.51]), correct)
    assert one_bin == pytest.approx(0.01, abs=1e-6)
    two_bins = expected_calibration_error(torch.tensor([0.41, 0.61]), correct)
    assert two_bins == pytest.approx((0.59 + 0.61) / 2, abs=1e-6)


def test_calibration_of_no_numbers_is_no_number() -> None:
    found = expected_calibration_error(torch.tensor([float("nan")]), torch.tensor([True]))
    assert math.isnan(found)

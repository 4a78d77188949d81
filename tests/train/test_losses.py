import math

import pytest
import torch

from normlab.train.losses import LOSSES


def test_cross_entropy_of_equal_logits_is_log_classes() -> None:
    loss = LOSSES["cross_entropy"](torch.zeros(4, 10), torch.tensor([0, 3, 5, 9]))
    assert float(loss) == pytest.approx(math.log(10))


def test_mse_of_zero_logits_is_one_over_classes() -> None:
    assert float(LOSSES["mse"](torch.zeros(4, 10), torch.tensor([0, 3, 5, 9]))) == pytest.approx(
        0.1
    )

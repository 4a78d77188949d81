import pytest
import torch

from normlab.regularizers import Dropout, dropout


def test_the_mean_is_kept_and_p_is_dropped() -> None:
    x = torch.ones(200_000)
    y = dropout(x, 0.3, torch.Generator().manual_seed(0))
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    assert float(y.mean()) == pytest.approx(1.0, abs=0.01)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.7])


def test_masks_come_from_the_layer_s_own_generator() -> None:
    layer, x = Dropout(0.5), torch.ones(100)
    layer.generator = torch.Generator().manual_seed(1)
    first = layer(x)
    torch.manual_seed(99)
    layer.generator = torch.Generator().manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_eval_and_p_0_are_the_identity(p: float, training: bool) -> None:
    x = torch.randn(10)
    assert Dropout(p).train(training)(x) is x


def test_p_of_1_is_refused() -> None:
    with pytest.raises(ValueError, match="p is 1"):
        Dropout(1.0)

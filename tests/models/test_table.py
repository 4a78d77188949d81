"""The layer table of models that are not normlab's own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.errors import UserError
from normlab.models import LayerRow, build, layer_table, parameter_count
from normlab.recipe import Recipe


def table(model: nn.Module, shape: tuple[int, int, int] = (1, 15, 15)) -> list[LayerRow]:
    return layer_table(model, shape)


class Branches(nn.Module):
    """Sums and functions between the layers, one branch wider than the other."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.thin = nn.Conv2d(1, 2, 5, stride=2, padding=2), nn.Conv2d(1, 2, 1, stride=2)
        self.behind = nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.thin(x))
        y += self.wide(x)
        z: Tensor = self.behind(torch.cat([y[:, :1], y[:, 1:]], dim=1))
        return z


def test_a_sum_sees_what_its_wider_branch_sees() -> None:
    fields = {row.name: row.receptive_field for row in table(Branches())}
    assert fields == {"thin": 1, "wide": 5, "behind": 5 + 2 * 2}
    assert {row.name: row.depth for row in table(Branches())} == {"thin": 1, "wide": 1, "behind": 2}


def test_dilation_widens_the_field() -> None:
    rows = table(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3)))
    assert [row.receptive_field for row in rows] == [5, 7]


@pytest.mark.parametrize(("dilation", "padding"), [(1, 2), (2, 4)])
def test_padding_by_word_is_shown_as_a_number(dilation: int, padding: int) -> None:
    (row,) = table(nn.Sequential(nn.Conv2d(1, 1, 5, padding="same", dilation=dilation)))
    assert (row.padding, row.map_size) == (padding, 15)


def test_an_average_to_several_pixels_has_windows() -> None:
    rows = table(nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Conv2d(1, 1, 3)))
    assert [(row.kernel, row.stride, row.receptive_field) for row in rows] == [(5, 5, 5), (3, 1, 15)]  # fmt: skip


def test_a_norm_of_one_s_own_is_one_layer() -> None:
    values = {"data": "digits", "model": "digits-small", "norm": "tests.norms.own:SharedDeviation"}
    model = build(Recipe.parse(values), (1, 8, 8), 10).model
    rows = table(model, (1, 8, 8))
    assert sum(row.kind == "SharedDeviation" for row in rows) == 3
    assert sum(row.parameters for row in rows) == parameter_count(model)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: dict[str, Tensor] = {"map": self.conv(x)}
        return y["mpa"]


def test_a_mistake_in_a_forward_is_said_with_the_last_layer() -> None:
    with pytest.raises(UserError, match=r"layer 'conv' cannot take a map of 1x15x15.*'mpa'"):
        table(Odd())


def test_the_model_stays_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
    table(model)
    assert not model.training
    assert model[1].num_batches_tracked == 0
    assert model[0].weight.device.type == "cpu"
    assert not model[0]._forward_hooks

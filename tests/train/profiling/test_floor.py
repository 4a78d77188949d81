"""What a layer must compute and move, by hand and beside torch's own count."""

import pytest
import torch
from tests.profiles import RATES
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from normlab.norms import BatchNorm, InstanceNorm
from normlab.train.profiling.floor import Work, backward_work, forward_work, update_work


def works(layer: nn.Module, x: Tensor) -> tuple[Work, Work]:
    y = layer(x)
    backward = backward_work(layer, [x], [y], reaches_input=x.requires_grad)
    return forward_work(layer, [x], [y]), backward


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, bias=False),
        nn.Conv2d(4, 6, (1, 3), dilation=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", bias=False),
        nn.ConvTranspose2d(4, 6, 2, stride=2, bias=False),
    ],
    ids=str,
)
def test_operations_are_those_that_torch_counts(layer: nn.Module) -> None:
    x = torch.zeros(2, 4, 9, 9, requires_grad=True)
    forward, backward = works(layer, x)
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    assert forward.flops == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert backward.flops == counter.get_total_flops()


def test_groups_share_the_channels() -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    x = torch.zeros(2, 4, 5, 5, requires_grad=True)
    once = 2 * 2 * 6 * 2 * 9 * 9  # torch counts that backward of grouped ones too high
    assert [work.flops for work in works(layer, x)] == [once, 2 * once]


def test_taps_that_meet_the_padding_are_no_work() -> None:
    layer = nn.Conv2d(5, 7, 3, padding=1, bias=False)
    # On a map of one pixel only the middle tap meets it; on 2 x 2 pixels four of nine do.
    assert works(layer, torch.zeros(2, 5, 1, 1))[0].flops == 2 * 2 * 5 * 7
    assert works(layer, torch.zeros(2, 5, 2, 2))[0].flops == 2 * 2 * 5 * 7 * 4 * 4
    same = nn.Conv2d(5, 7, 3, padding="same", bias=False)
    assert works(same, torch.zeros(2, 5, 2, 2))[0].flops == 2 * 2 * 5 * 7 * 4 * 4


def test_the_first_layer_has_no_gradient_of_its_input() -> None:
    layer = nn.Linear(8, 3, bias=False)
    x = torch.zeros(2, 8)
    once = 2 * 2 * 8 * 3
    assert [work.flops for work in works(layer, x)] == [once, once]
    assert works(layer, x.requires_grad_())[1].flops == 2 * once


@pytest.mark.parametrize(("kind", "passes"), [(InstanceNorm, (2, 3)), (BatchNorm, (3, 5))])
def test_a_norm_reads_and_writes_its_map_so_often(
    kind: type[nn.Module], passes: tuple[int, int]
) -> None:
    layer, x = kind(3), torch.zeros(2, 3, 4, 4, requires_grad=True)
    size = 4 * x.numel()
    parameters = 4 * 2 * 3
    forward, backward = works(layer, x)
    assert forward.moved == passes[0] * size + parameters
    assert backward.moved == passes[1] * size + parameters


def test_a_layer_that_hands_its_input_on_has_nothing_to_do() -> None:
    assert works(nn.Identity(), torch.zeros(2, 3)) == (Work(0, 0, 0), Work(0, 0, 0))


def test_an_update_reads_and_writes_what_the_optimizer_remembers() -> None:
    parameters = [torch.zeros(10), torch.zeros(5)]
    assert update_work(parameters, 0).moved == 3 * 60
    assert update_work(parameters, 2).moved == 7 * 60


def test_the_floor_is_the_larger_of_computing_and_moving() -> None:
    assert Work(1000, 10, 2000).seconds(RATES) == 10.0
    assert Work(1000, 200, 2000).seconds(RATES) == 20.0
    assert Work(0, 200, 500).seconds(RATES) == 5.0  # within half of the cache

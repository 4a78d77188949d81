"""Maps and state that do not belong together are refused by name, as torch refuses them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.norms import make

OPTIONS: dict[str, dict[str, Any]] = {
    "torch_batch": {}, "batch": {}, "ghost_batch": {"splits": 2}, "group": {"groups": 2},
    "layer": {}, "rms": {}, "switchable": {}, "batch_instance": {}, "filter_response": {},
}  # fmt: skip
ERRORS = (ValueError, TypeError, RuntimeError)


def maps(dtype: torch.dtype = torch.float32) -> Tensor:
    return (100 * torch.rand(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("kind", OPTIONS)
def test_maps_that_are_no_real_floats_are_refused(kind: str, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(ERRORS, match=f"{name}|dtype|type|Byte|Long|Bool|Complex|Half"):
        make(kind, 8, **OPTIONS[kind])(maps(dtype))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_layer_moved_to_another_device_refuses_a_map_left_behind(
    kind: str, training: bool
) -> None:
    # meta stands for any device whose memory a loop of the CPU cannot read.
    layer = make(kind, 8, **OPTIONS[kind]).train(training).to("meta")
    with pytest.raises(RuntimeError, match="device"):
        layer(maps())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [0, 1, 4, 9])
@pytest.mark.parametrize("kind", OPTIONS)
def test_gains_of_another_length_are_refused(kind: str, size: int, training: bool) -> None:
    layer = make(kind, 8, **OPTIONS[kind]).train(training)
    layer.weight = nn.Parameter(torch.ones(size))
    if getattr(layer, "bias", None) is not None:
        layer.bias = nn.Parameter(torch.zeros(size))
    with pytest.raises(ERRORS, match=r"weight|bias"):
        layer(maps())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [1, 4, 9])
@pytest.mark.parametrize("kind", ["torch_batch", "batch", "ghost_batch", "switchable"])
def test_running_statistics_of_another_length_are_refused_and_not_written(
    kind: str, size: int, training: bool
) -> None:
    layer = make(kind, 8, **OPTIONS[kind]).train(training)
    room = torch.full((2, 8 + 9), 7.0)  # what a loop would write behind too short a buffer shows
    layer.running_mean, layer.running_var = room[0, :size], room[1, :size]
    with pytest.raises(ERRORS, match=r"running_mean|running_var"):
        layer(maps())
    assert torch.equal(room[:, size:], torch.full((2, 17 - size), 7.0))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("batch_instance", "rho"), ("filter_response", "tau"), ("evonorm_s0", "v"),
        ("evonorm_b0", "v"), ("switchable", "mean_weight"),
    ],
)  # fmt: skip
def test_a_parameter_that_was_taken_away_is_asked_for_by_name(kind: str, name: str) -> None:
    layer = make(kind, 8, **({"groups": 2} if kind == "evonorm_s0" else {}))
    setattr(layer, name, None)
    with pytest.raises(ERRORS, match=name):
        layer(maps())

"""Running statistics as their sources and torch have them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from normlab.norms import make

RUNNING: dict[str, dict[str, Any]] = {
    "batch": {}, "ghost_batch": {"splits": 2}, "batch_renorm": {}, "batch_instance": {},
    "switchable": {}, "evonorm_b0": {},
}  # fmt: skip


@pytest.mark.parametrize("images", [4, 16, 64])
def test_batch_renorm_s_deviation_follows_the_biased_one(images: int) -> None:
    # Ioffe 2017, Algorithm 1: sigma_B = sqrt(eps + 1/m sum (x - mu_B)^2), of m values
    layer = make("batch_renorm", 3, momentum=1.0, eps=1e-12).double()
    x = torch.randn(images, 3, 1, 1, dtype=torch.float64)
    layer(x)
    mean = x.sum(0) / images
    sigma = (((x - mean) ** 2).sum(0) / images + 1e-12).sqrt().flatten()
    torch.testing.assert_close(layer.get_buffer("running_std"), sigma, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", RUNNING)
def test_a_state_dict_of_before_batches_were_counted_loads(kind: str) -> None:
    layer = make(kind, 3, **RUNNING[kind])
    state = {n: t + 1 for n, t in layer.state_dict().items() if n != "num_batches_tracked"}
    assert not any(layer.load_state_dict(state))
    for name, value in state.items():
        assert torch.equal(layer.state_dict()[name], value)
    assert int(layer.get_buffer("num_batches_tracked")) == 0


@pytest.mark.parametrize("kind", RUNNING)
@pytest.mark.parametrize("shape", [(0, 5, 2, 2), (4, 5, 0, 2)])
def test_an_empty_batch_is_counted_as_torch_counts_it(
    kind: str, shape: tuple[int, int, int, int]
) -> None:
    layer, torchs = make(kind, 5, **RUNNING[kind]), nn.BatchNorm2d(5)
    before = {n: b.clone() for n, b in layer.named_buffers() if n != "num_batches_tracked"}
    layer(torch.zeros(shape)), torchs(torch.zeros(0, 5, 2, 2))
    counted = layer.get_buffer("num_batches_tracked")
    assert counted == torchs.num_batches_tracked == 1
    for name, value in before.items():
        assert torch.equal(layer.get_buffer(name), value), name


@pytest.mark.parametrize("kind", RUNNING)
def test_a_mean_over_all_batches_works_on_meta(kind: str) -> None:
    layer = make(kind, 4, momentum=None, **RUNNING[kind]).to("meta")
    x = torch.empty(4, 4, 3, 3, device="meta", requires_grad=True)
    y = layer(x)
    assert (y.device.type, y.shape) == ("meta", x.shape)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.shape == x.shape

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from normlab import norms
from normlab.norms.scaled_ws import ScaledWSConv2d
from normlab.train.lanes.norms import LaneNorm, why_not

CHANNELS, SIDE, LANES, IMAGES = 6, 5, 4, 7

KINDS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: norms.BatchNorm(CHANNELS, eps=0.3),
    "batch, all batches": lambda: norms.BatchNorm(CHANNELS, momentum=None),
    "batch, fixed": lambda: norms.BatchNorm(CHANNELS, affine=False, momentum=0.0),
    "torch_batch": lambda: norms.TorchBatchNorm(CHANNELS, momentum=0.4, activation="relu"),
    "torch": lambda: nn.BatchNorm2d(CHANNELS, momentum=None, affine=False),
    "torch, untracked": lambda: nn.BatchNorm2d(CHANNELS, track_running_stats=False),
    "ghost": lambda: norms.GhostBatchNorm(CHANNELS, ghost_size=3),
    "ghost, each split": lambda: norms.GhostBatchNorm(CHANNELS, splits=3, running="per_split"),
    "ghost, all splits": lambda: norms.GhostBatchNorm(
        CHANNELS, ghost_size=2, running="per_split", momentum=None, affine=False
    ),
    "ghost of one": lambda: norms.GhostBatchNorm(CHANNELS, ghost_size=1),
    "ghost of all": lambda: norms.GhostBatchNorm(CHANNELS, splits=1, eps=0.1),
    "batch_instance": lambda: norms.BatchInstanceNorm(CHANNELS, eps=0.1),
    "batch_instance, fixed": lambda: norms.BatchInstanceNorm(CHANNELS, affine=False),
    "instance": lambda: norms.InstanceNorm(CHANNELS, eps=0.2),
    "torch_instance": lambda: norms.TorchInstanceNorm(CHANNELS),
    "group": lambda: norms.GroupNorm(CHANNELS, groups=2, eps=0.1),
    "group, fixed": lambda: norms.GroupNorm(CHANNELS, channels_per_group=2, affine=False),
    "torch_group": lambda: norms.TorchGroupNorm(CHANNELS, groups=3),
    "layer": lambda: norms.LayerNorm(CHANNELS),
    "torch_layer": lambda: norms.TorchLayerNorm(CHANNELS),
    "rms": lambda: norms.RMSNorm(CHANNELS, eps=0.1),
    "rms, bias": lambda: norms.RMSNorm(CHANNELS, bias=True),
}


def random_state(module: nn.Module, seed: int) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        values = torch.rand(p.shape, generator=draw)  # a gate lies in (0, 1)
        p.data = values if name == "rho" else 3 * values - 1
    return module.train()


def lanes_of(modules: list[nn.Module], names: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: np.stack([getattr(module, name).detach().numpy() for module in modules], -1)
        for name in names
    }


def maps(offset: float, images: int = IMAGES, lanes: int = LANES) -> np.ndarray[Any, Any]:
    draw = np.random.default_rng(5)
    away = offset * (1 + draw.random((1, CHANNELS, 1, lanes)))
    return (away + draw.normal(size=(images, CHANNELS, SIDE**2, lanes))).astype(np.float32)


def summed(*pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.stack([p.sum(2, dtype=np.float64) for p in pixels], 2).astype(np.float32)


def sums_of(y: np.ndarray[Any, Any], *, per_image: bool = True) -> np.ndarray[Any, Any]:
    pivot = y[:, :, :1] if per_image else np.broadcast_to(y[:1, :, :1], y[:, :, :1].shape)
    first, second = (summed((y - pivot).astype(np.float64) ** power) for power in (1, 2))
    return np.concatenate([pivot, first, second], 2)


def near(got: np.ndarray[Any, Any], exact: torch.Tensor, tolerance: float) -> None:
    wanted = exact.detach().numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * max(1, abs(wanted).max()))


@pytest.fixture(autouse=True)
def _modules_in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")  # nothing to compile


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("kind", KINDS)
def test_lane_equals_its_module_in_float64(kind: str, offset: float) -> None:
    modules = [random_state(KINDS[kind](), seed) for seed in range(LANES)]
    norm = LaneNorm(modules[0], SIDE**2)
    parameters, buffers = lanes_of(modules, norm.names), lanes_of(modules, norm.buffers)
    for images in (IMAGES, 4):  # the second batch is smaller, and meets statistics that have moved
        y = maps(offset, images)
        g = np.random.default_rng(3).normal(size=y.shape).astype(np.float32)
        coefs = norm.forward(sums_of(y, per_image=norm.per_image), parameters, buffers)
        assert len(coefs) == (images if norm.per_image else 1)
        m, a, b = (coefs[:, :, i, None] for i in range(3))
        dcoefs, gradients = norm.backward(summed(g, g * (y - m)))
        assert dcoefs.shape == coefs.shape
        slope, by_map, shift = (dcoefs[:, :, i, None] for i in range(3))
        view, dy = (y - m) * a + b, slope * g + by_map * (y - m) + shift
        assert {view.dtype, dy.dtype} == {np.dtype(np.float32)}
        assert set(gradients) == {name for name, _ in modules[0].named_parameters()}
        for lane, module in enumerate(modules):
            module.activation = None  # type: ignore[assignment]
            module.double().zero_grad()
            x = torch.from_numpy(y[..., lane].reshape(images, CHANNELS, SIDE, SIDE)).double()
            x.requires_grad_()
            exact = module(x)
            exact.backward(torch.from_numpy(g[..., lane]).reshape(x.shape).double())
            near(view[..., lane].reshape(x.shape), exact, 2e-6)
            assert x.grad is not None
            near(dy[..., lane].reshape(x.shape), x.grad, 2e-6)
            for name, p in module.named_parameters():
                assert p.grad is not None
                near(gradients[name][..., lane], p.grad, 2e-6)
            for name in norm.buffers:
                near(buffers[name][..., lane], getattr(module, name), 2e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_a_lane_depend_on_nothing_else(kind: str) -> None:
    modules = [random_state(KINDS[kind](), seed) for seed in range(16)]
    y = maps(3.0, lanes=16)
    sums, sums_g = sums_of(y), summed(y[:, ::-1], y**2)
    norm = LaneNorm(modules[0], SIDE**2)

    def run(order: list[int], diverged: tuple[int, ...] = ()) -> list[np.ndarray[Any, Any]]:
        chosen = [modules[lane] for lane in order]
        parameters, buffers = lanes_of(chosen, norm.names), lanes_of(chosen, norm.buffers)
        given = np.ascontiguousarray(sums[..., order])
        given[..., list(diverged)] = np.nan
        coefs = norm.forward(given, parameters, buffers)
        dcoefs, gradients = norm.backward(np.ascontiguousarray(sums_g[..., order]))
        return [coefs, dcoefs, *gradients.values(), *buffers.values()]

    whole = run(list(range(16)))
    for order in ([5, 2, 11, 0], [9, 8, 7, 6, 0, 1, 2, 15], list(reversed(range(16)))):
        for diverged in ((), (0, 3)):
            kept = [place for place in range(len(order)) if place not in diverged]
            for got, all_lanes in zip(run(order, diverged), whole, strict=True):
                wanted = all_lanes[..., order]
                np.testing.assert_array_equal(got[..., kept], wanted[..., kept])
                assert got.flags.c_contiguous


def test_every_kind_has_a_form_or_a_reason() -> None:
    reasons = {kind: why_not(made()) for kind, made in KINDS.items()}
    assert reasons == dict.fromkeys(KINDS)
    refused = {
        "batch_renorm": "follows the progress",
        "filter_response": "contains its activation",
        "evonorm_s0": "contains its activation",
        "switchable": "statistics of blocks alone",
    }
    for kind, reason in refused.items():
        options = {"groups": 2} if kind == "evonorm_s0" else {}
        assert reason in (why_not(norms.make(kind, CHANNELS, **options)) or "")
    assert "convolutions" in (why_not(ScaledWSConv2d(2, 2, 3)) or "")


class Doubled(norms.BatchNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_changed_layers_are_refused_with_the_reason() -> None:
    frozen, wide, untracked = (norms.BatchNorm(CHANNELS) for _ in range(3))
    assert frozen.bias is not None
    frozen.bias.requires_grad_(False)
    untracked.running_var = None  # type: ignore[assignment]
    changed = {
        "frozen": frozen,
        "float32": wide.double(),
        "blocks alone": Doubled(CHANNELS),
        "other statistics": untracked,
        "statistics than its kind": nn.InstanceNorm2d(CHANNELS, track_running_stats=True),
    }
    for reason, module in changed.items():
        assert reason in (why_not(module) or "")
        with pytest.raises(ValueError, match=reason):
            LaneNorm(module, 25)


def test_batch_too_small_raises_as_its_module_does() -> None:
    norm = LaneNorm(norms.TorchInstanceNorm(CHANNELS), 1)
    with pytest.raises(ValueError, match="more than 1 spatial"):
        norm.forward(np.ones((2, CHANNELS, 3, 4), np.float32), {}, {})


def test_gate_is_clamped_after_a_step() -> None:
    gate = np.array([[-0.5, 0.25, 1.5, np.nan]], np.float32)
    LaneNorm(norms.BatchInstanceNorm(1), 4).after_step({"rho": gate})
    np.testing.assert_array_equal(gate, np.array([[0, 0.25, 1, np.nan]], np.float32))

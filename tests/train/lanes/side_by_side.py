"""A step of a model in lanes beside torch's in float32 and in float64, from equal weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.regularizers import RandomLayer
from normlab.train.lanes.program import Program
from normlab.train.streams import random_layers

LANES = 4
ROOM = 1e-5
"""Error that is always allowed, as a share of the value's size."""


class Kept(nn.Module):
    """What a layer that drops does with given factors."""

    factors: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) times the factors."""
        return x * self.factors.to(x.dtype).view(*self.factors.shape[: x.ndim])


def random_state(model: nn.Module, seed: int) -> None:
    """Weights unlike those of a fresh model: gains and biases are no ones and zeros."""
    draw = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        values = torch.rand(p.shape, generator=draw)
        gate = name.endswith("rho")
        if p.ndim == 1:
            p.data = 0.25 + 0.5 * values if gate else values + 0.5 * (not name.endswith("bias"))
        else:
            p.data = (2 * values - 1) * (6 / p[0].numel()) ** 0.5


class Sides:
    """A model with other weights in each lane, as a program and as modules of torch.

    Args:
        model: Its structure.
        shape: (C, H, W) of an image.
        images: In a batch.
        classes: Of the logits.
    """

    def __init__(
        self, model: nn.Module, shape: tuple[int, int, int], images: int = 6, classes: int = 10
    ) -> None:
        model.train()
        layers = dict(random_layers(model))
        self.dropping = [name for name, layer in layers.items() if layer.p > 0]
        self.program = Program.of(model, shape, LANES, images, self.dropping)
        self.models = [copy.deepcopy(model) for _ in range(LANES)]
        draw = torch.Generator().manual_seed(1)
        self.images = [torch.randn((images, *shape), generator=draw) for _ in range(LANES)]
        soft = [torch.rand((images, classes), generator=draw) for _ in range(LANES)]
        self.targets = [each / each.sum(dim=1, keepdim=True) for each in soft]
        for lane, one in enumerate(self.models):
            random_state(one, lane)
        bits = np.random.default_rng(2)
        for name, kept in self.program.bits.items():
            layer = layers[name]
            self.program.scales[name][:] = 1 / (1 - layer.p)
            kept[...] = bits.integers(0, 1 << LANES, kept.shape)
            for lane, one in enumerate(self.models):
                self._put(one, name, (kept >> lane) & 1, 1 / (1 - layer.p))

    def _put(self, model: nn.Module, name: str, kept: np.ndarray, scale: float) -> None:
        """A layer that drops these instead of the layer itself."""
        given = Kept()
        if kept.ndim == 4:
            kept = kept.transpose(0, 2, 1, 3)
        wide = kept.reshape(kept.shape + (1,) * (4 - kept.ndim)) * scale
        given.factors = torch.from_numpy(np.ascontiguousarray(wide))
        parent, _, own = name.rpartition(".")
        assert isinstance(model.get_submodule(name), RandomLayer)
        setattr(model.get_submodule(parent), own, given)

    def in_lanes(self) -> list[dict[str, Tensor]]:
        """Loss, gradients and running statistics of a step, in each lane."""
        program = self.program
        for name, (first, last) in program.rows.items():
            rows = [m.get_parameter(name).detach().flatten().numpy() for m in self.models]
            program.parameters[first:last] = np.stack(rows, axis=-1)
        for name, norm in program.norms.items():
            program.buffers[name] = {
                short: np.stack(
                    [m.get_submodule(name).get_buffer(short).numpy() for m in self.models], -1
                )
                for short in norm.buffers
            }
        targets = np.stack([each.numpy() for each in self.targets], axis=-1)
        losses, self.predicted = program.step(self.images, targets)
        found = []
        for lane in range(LANES):
            made = {"loss": torch.tensor(losses[lane])}
            for name, (first, last) in program.rows.items():
                made[name] = torch.from_numpy(np.array(program.gradients[first:last, lane]))
            for name in program.norms:
                for short, values in program.buffers[name].items():
                    made[f"{name}.{short}"] = torch.from_numpy(np.array(values[..., lane]))
            found.append(made)
        return found

    def in_torch(self, lane: int, dtype: torch.dtype) -> dict[str, Tensor]:
        """The same of a lane's own model."""
        model = copy.deepcopy(self.models[lane]).to(dtype)
        logits = model(self.images[lane].to(dtype))
        loss = F.cross_entropy(logits, self.targets[lane].to(dtype))
        loss.backward()  # type: ignore[no-untyped-call]
        made = {"loss": loss.detach()}
        for name, p in model.named_parameters():
            made[name] = torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
        for name, norm in self.program.norms.items():
            for short in norm.buffers:
                made[f"{name}.{short}"] = model.get_submodule(name).get_buffer(short)
        return made


def misses(sides: Sides, lanes: Sequence[int] = (0, 3)) -> list[str]:
    """Where a lane is further from float64 than 5 times as far as torch in float32."""
    found = sides.in_lanes()
    missed = []
    for lane in lanes:
        exact, torchs = (sides.in_torch(lane, d) for d in (torch.float64, torch.float32))
        assert found[lane].keys() == exact.keys()
        named = sides.program.rows
        grads = [exact[name].norm() for name in named]
        whole = float(torch.stack(grads).norm())
        for name, value in exact.items():
            # A gradient that is 0 in truth, such as a bias's before a norm, is only rounding.
            size = float(value.double().norm())
            size = size if size > 1e-4 * whole else whole
            if name.endswith("running_mean"):  # what is averaged may be far from its mean
                size += 0.1 * float(exact[name.replace("mean", "var")].sqrt().norm())
            far = float((found[lane][name].double() - value.double()).norm()) / size
            allowed = 5 * float((torchs[name].double() - value.double()).norm()) / size + ROOM
            if not far <= allowed:
                missed.append(f"lane {lane}, {name}: {far:.2g}, allowed {allowed:.2g}")
    return missed


__all__ = ["Sides", "misses"]

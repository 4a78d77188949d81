"""What the layers that drop something keep, in all lanes: the masks of the torch path, packed.

A lane's bit is 1 where its trial keeps. The draws are those of `normlab.regularizers`, from the
generators that `reseed_dropout` gives a trial's own layers: maps are drawn pixel by pixel, so the
bits of all lanes are collected in that order and turned once, to rows of channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.regularizers import Dropout, RandomLayer, SpatialDropout, StochasticDepth
from normlab.regularizers.draws import bernoulli
from normlab.regularizers.dropout import RARE, hits
from normlab.train.loop import Trainer
from normlab.train.streams import reseed_dropout

Bits = NDArray[Any]
"""uint16 for 16 lanes, uint8 for 8 or 4; bit l is lane l's."""
_KINDS = (Dropout, SpatialDropout, StochasticDepth)


def why_not(layer: RandomLayer) -> str | None:
    """Why a layer's masks have no form in lanes; None if they have one."""
    if type(layer) in _KINDS:
        return None
    return f"{type(layer).__name__} has no form in lanes"


class LaneMasks:
    """Draws what is kept in each step.

    Args:
        trainers: One per lane; the lanes beyond them repeat the first.
        bits: Of each layer by name, what `draw` fills, for as many images as a step may have: of
            dropout (N, H, C, W), of spatial dropout (N, C), of stochastic depth (N,).
        scales: Of each layer, the factors of what is kept, (L,); 1 where a lane drops nothing.
            Filled here.
    """

    def __init__(
        self,
        trainers: Sequence[Trainer],
        bits: Mapping[str, Bits],
        scales: Mapping[str, NDArray[np.float32]],
    ) -> None:
        self.trainers, self.bits = list(trainers), dict(bits)
        self._layers = [{k: m for k, m in t.random if k in bits} for t in trainers]
        self._pixels: dict[str, Bits] = {}
        for name, kept in self.bits.items():
            if kept.ndim == 4:
                images, height, channels, width = kept.shape
                self._pixels[name] = np.empty((images, height, width, channels), kept.dtype)
            scales[name][:] = _scale(self._layers[0][name])
            for lane, layers in enumerate(self._layers):
                scales[name][lane] = _scale(layers[name])
        count = max((len(scale) for scale in scales.values()), default=0)
        self._flags = [1 << lane for lane in range(len(trainers))]
        self._flags[0] += sum(1 << lane for lane in range(len(trainers), count))

    def draw(self, steps: Sequence[int], images: int) -> None:
        """Fill the bits.

        Args:
            steps: Number of each trial's step, from 0 over all its epochs.
            images: In its batch, as the model sees it.
        """
        for trainer, layers, step in zip(self.trainers, self._layers, steps, strict=True):
            reseed_dropout(layers.items(), trainer.seed, step, trainer.device)
        for name, every in self.bits.items():
            kept = every[:images]
            drawn = self._pixels[name][:images] if name in self._pixels else kept
            drawn.fill(np.iinfo(drawn.dtype).max)
            for layers, flag in zip(self._layers, self._flags, strict=True):
                if layers[name].p:
                    _drop(layers[name], drawn.reshape(-1), drawn.dtype.type(flag))
            if name in self._pixels:
                np.copyto(kept, drawn.transpose(0, 1, 3, 2))


def _is_rare(layer: RandomLayer) -> bool:
    return isinstance(layer, Dropout) and layer.p <= RARE


def _drop(layer: RandomLayer, kept: Bits, flag: Any) -> None:
    """Clear a lane's bit in what the layer drops, of what is drawn in this order."""
    if _is_rare(layer):
        kept[hits(kept.size, layer.p, layer.generator).numpy()] ^= flag
    else:
        like = torch.empty(0, dtype=torch.float32)
        factors = bernoulli(like, kept.shape, layer.p, like.dtype, layer.generator)
        kept ^= (factors.numpy() == 0) * flag


def _scale(layer: RandomLayer) -> float:
    """What the layer multiplies by where it keeps, rounded as there."""
    return 1 / (1 - layer.p) if _is_rare(layer) else float(torch.ones(()).div_(1 - layer.p))

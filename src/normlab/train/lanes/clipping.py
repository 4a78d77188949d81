"""Gradients clipped in every lane, as `normlab.regularizers.clipping` does, and what records need.

Squares are summed in float64, row after row of an output unit, then unit after unit. The order is
the same whatever the lanes do: those clipped by the whole norm alone are summed by units, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.models import units
from normlab.recipe.training import Role
from normlab.regularizers.clipping import TINY
from normlab.train.loop import Trainer

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_ROWS = 2048
"""Rows squared at a time, unless a unit has more."""


class _Piece(NamedTuple):
    """Units of one parameter: their numbers, and their rows as (units, rows of each, L)."""

    at: slice
    p: Floats
    g: Floats
    wide: Doubles


class LaneClipping:
    """Clips the gradients of all lanes.

    Args:
        lanes: A trainer per lane. No recipe has both ways of clipping.
        rows: Rows of each parameter, by name, in the arrays.
        p: Parameters, (P, L).
        g: Gradients, as `p`.
    """

    def __init__(
        self, lanes: Sequence[Trainer], rows: Mapping[str, slice], p: Floats, g: Floats
    ) -> None:
        self.lanes = lanes
        recipes = [trainer.recipe for trainer in lanes]
        adaptive = [{id(unit.parameter) for unit in t.updater.adaptive} for t in lanes]
        clips: list[list[float]] = []
        cuts: list[tuple[slice, slice, int]] = []
        # The units of every parameter, not of those that some lane clips: see above.
        every = units(lanes[0].model, get_args(Role))
        for unit, (name, at) in zip(every, rows.items(), strict=True):
            count = 1 if unit.groups is None else unit.parameter.shape[0]
            size, done = (at.stop - at.start) // count, len(clips)
            clip = [
                t.recipe.agc.clip or np.inf if id(t.updater.named[name]) in ids else np.inf
                for t, ids in zip(lanes, adaptive, strict=True)
            ]
            clips += [clip] * count
            step = max(1, _ROWS // size)
            for first in range(0, count, step):
                last = min(first + step, count)
                area = slice(at.start + first * size, at.start + last * size)
                cuts.append((slice(done + first, done + last), area, size))
        wide = np.empty((max(area.stop - area.start for _, area, _ in cuts), len(lanes)))
        self._pieces = [
            _Piece(
                at,
                p[area].reshape(-1, size, len(lanes)),
                g[area].reshape(-1, size, len(lanes)),
                wide[: area.stop - area.start].reshape(-1, size, len(lanes)),
            )
            for at, area, size in cuts
        ]
        self._clip, self._eps = np.array(clips), np.array([r.agc.eps for r in recipes])
        self._limit = np.array([r.clip_grad_norm or np.inf for r in recipes], np.float32)
        of_each = np.add.reduce(np.isfinite(self._clip), axis=0, dtype=np.float32)
        self._adapts, self._clipped_units = bool(of_each.any()), np.maximum(of_each, 1)
        self._squares_p, self._squares_g = np.empty_like(self._clip), np.empty_like(self._clip)
        self._kept = {
            "clipped": [bool(r.agc.clip) for r in recipes],
            "scaled": [bool(r.clip_grad_norm) for r in recipes],
            "largest_norm": [bool(r.clip_grad_norm) for r in recipes],
            "gradient_norms": [trainer.updater.measures_gradients for trainer in lanes],
        }
        self._is_on = any(any(lane) for lane in self._kept.values())
        self._sums = {name: np.zeros(len(lanes), np.float32) for name in self._kept}

    def load(self) -> None:
        """Go on with the sums of the trainers' updaters."""
        for lane, trainer in enumerate(self.lanes):
            for name, sums in self._sums.items():
                value = getattr(trainer.updater, name)
                sums[lane] = 0.0 if value is None else float(value)

    def unload(self, lane: int) -> None:
        """Give a lane's updater its sums."""
        for name, sums in self._sums.items():
            if self._kept[name][lane]:
                setattr(self.lanes[lane].updater, name, torch.tensor(sums[lane]))

    def clip(self) -> None:
        """Clip the gradients in place."""
        if not self._is_on:
            return
        for piece in self._pieces:
            _sum_squares(piece.g, piece.wide, self._squares_g[piece.at])
        norm = np.sqrt(np.add.reduce(self._squares_g, axis=0)).astype(np.float32)
        is_large = norm > self._limit
        sums = self._sums
        sums["gradient_norms"] += norm
        sums["scaled"] += is_large
        np.maximum(sums["largest_norm"], norm, out=sums["largest_norm"])
        factors = np.where(is_large, self._limit / norm, 1.0).astype(np.float64)
        over = np.broadcast_to(is_large, self._clip.shape)
        if self._adapts:
            for piece in self._pieces:
                _sum_squares(piece.p, piece.wide, self._squares_p[piece.at])
            largest = self._clip * np.maximum(np.sqrt(self._squares_p), self._eps)
            norms = np.sqrt(self._squares_g)
            is_clipped = norms > largest
            factors = np.where(is_clipped, largest / np.maximum(norms, TINY), factors)
            sums["clipped"] += np.add.reduce(is_clipped, 0, np.float32) / self._clipped_units
            over = over | is_clipped
        factors = np.broadcast_to(factors.astype(np.float32), over.shape)
        for piece in self._pieces:
            if over[piece.at].any():
                np.multiply(piece.g, factors[piece.at, None], out=piece.g)


def _sum_squares(x: Floats, wide: Doubles, out: Doubles) -> None:
    """Sum the squares of x (units, rows of each, L) over rows into out (units, L)."""
    np.copyto(wide, x)
    np.multiply(wide, wide, out=wide)
    np.add.reduce(wide, axis=1, out=out)

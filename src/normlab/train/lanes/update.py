"""The update of one step in all lanes at once: what `normlab.train.optimizer.Updater` does.

All parameters of a model lie flat, one after another, in an array (P, L) with a trial per column.
Numbers that each lane has of its own, such as its learning rate, are repeated over some hundred
rows: numpy's loops are long then. Arrays are gone through in pieces of as many rows, which stay in
the cache from one operation to the next.

A lane's bits are its own: each operation is one on elements, or a sum over rows in an order that
the model alone decides. Where a lane takes no part in what others do, its numbers are multiplied by
1 or added -0.0, which leaves every number as it is: a NaN and the sign of a zero, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from normlab.norms import BatchInstanceNorm, Norm, is_norm
from normlab.recipe import Recipe
from normlab.recipe.training import Sgd
from normlab.train.lanes.clipping import LaneClipping
from normlab.train.loop import Trainer
from normlab.train.schedule import at_step

Floats = NDArray[np.float32]

_ROWS = 512
"""Rows of a piece: with 16 lanes 32 kB of each array."""


def why_not(recipe: Recipe, model: nn.Module) -> str | None:
    """What of a model's update has no form in lanes; None if all has one."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            return f"parameter '{name}' is frozen"
        if parameter.dtype != torch.float32:
            return f"parameter '{name}' is {parameter.dtype}"
    for name, module in model.named_modules():
        after = getattr(type(module), "after_step", None)
        if is_norm(module) and after not in {None, Norm.after_step, BatchInstanceNorm.after_step}:
            return f"'{name}' ({type(module).__name__}) has an after_step of its own"
        if is_parametrized(module):
            return f"'{name}' has a parametrization"
        if recipe.agc.clip and isinstance(module, _ConvTransposeNd):
            return f"'{name}', a transposed convolution, has output units for agc that are no rows"
    return None


def form(recipe: Recipe) -> str:
    """The form of the optimizer, which trials side by side must share."""
    optimizer = recipe.optimizer
    if isinstance(optimizer, Sgd):
        return "nesterov" if optimizer.nesterov else "sgd"
    return "adam"  # AdamW too: its decay is not the optimizer's here


class _Piece(NamedTuple):
    """Rows whose parameters have `key`, a number per lane, in the arrays of an update."""

    key: tuple[float, ...]
    p: Floats
    g: Floats
    memory: list[Floats]
    scratch: list[Floats]


class LaneUpdater:
    """Updates the parameters of up to L trials of one model.

    `load` takes over what the trials' updaters know, the sums of a begun epoch among it, and
    `unload` gives it back: between the two, theirs is out of date.

    Args:
        trainers: One per lane, of one `form`; the lanes beyond them repeat the first.
        p: Where the parameters are to be, (P, L) in the order of `named_parameters`.
        g: Where their gradients will be before each step, which overwrites them; as `p`.

    Attributes:
        rows: Rows of each parameter by its name.

    Raises:
        ValueError: Forms differ.
    """

    def __init__(self, trainers: Sequence[Trainer], p: Floats, g: Floats) -> None:
        self.trainers, self.p, self.g, lanes = list(trainers), p, g, p.shape[1]
        self._lanes = [*trainers, *[trainers[0]] * (lanes - len(trainers))]
        (self._form,) = {form(trainer.recipe) for trainer in trainers}
        first = trainers[0].updater
        ends = np.cumsum([0, *(each.numel() for each in first.named.values())]).tolist()
        self.rows = dict(zip(first.named, (slice(*at) for at in pairwise(ends)), strict=True))
        names = ["exp_avg", "exp_avg_sq"] if self._form == "adam" else ["momentum_buffer"]
        self._memory = {name: np.zeros_like(self.p) for name in names}
        self._scratch = [np.empty((_ROWS, lanes), np.float32) for _ in range(2)]
        groups = first.optimizer.param_groups
        factors = {id(each): group["lr_factor"] for group in groups for each in group["params"]}
        self._all = self._pieces([(factors[id(each)],) * lanes for each in first.named.values()])
        self._factors = {piece.key for piece in self._all}
        self._l1, self._l2 = self._acted("l1", "l1"), self._acted("l2", "l2")
        self._decayed = self._acted("decayed", "weight_decay")
        self._clipping = LaneClipping(self._lanes, self.rows, p, g)
        self._gates = [
            p[self.rows[f"{name}.rho"]]
            for name, module in trainers[0].model.named_modules()
            if isinstance(module, BatchInstanceNorm)
        ]
        self._spreads: dict[object, tuple[list[float], Floats]] = {}
        self._updates = [0] * lanes
        self._remembers = np.zeros(lanes, bool)
        self._steps: list[int] = []

    def load(self) -> None:
        """Take over the parameters and what is remembered of them."""
        for lane, trainer in enumerate(self._lanes):
            updater = trainer.updater
            for name, rows in self.rows.items():
                parameter = updater.named[name]
                state = updater.optimizer.state.get(parameter, {})
                self.p[rows, lane] = _flat(parameter)
                for key, memory in self._memory.items():
                    value = state.get(key)
                    self._remembers[lane] = value is not None
                    memory[rows, lane] = 0 if value is None else _flat(value)
                self._updates[lane] = int(state.get("step", 0))
        self._clipping.load()
        self._steps = []

    @torch.no_grad()
    def unload(self) -> None:
        """Leave everything as if the trainers had done the steps themselves."""
        for lane, trainer in enumerate(self.trainers):
            updater = trainer.updater
            for name, rows in self.rows.items():
                parameter = updater.named[name]
                _unflatten(self.p[rows, lane], parameter)
                if self._remembers[lane]:
                    state = updater.optimizer.state[parameter]
                    for key, memory in self._memory.items():
                        if state.get(key) is None:
                            state[key] = torch.zeros_like(parameter)
                        _unflatten(memory[rows, lane], state[key])
                    if self._form == "adam":
                        state["step"] = torch.tensor(float(self._updates[lane]))
            if self._steps:
                updater.set_rates(self._steps[lane])
                self._clipping.unload(lane)

    def step(self, steps: Sequence[int]) -> None:
        """Apply the gradients `g`.

        Args:
            steps: Number of each trial's step, from 0 over all its epochs.
        """
        self._steps = [*steps, *[steps[0]] * (len(self._lanes) - len(steps))]
        rates = [
            at_step(trainer.recipe, step, trainer.steps_per_epoch)
            for trainer, step in zip(self._lanes, self._steps, strict=True)
        ]
        lr, momentum = [rate for rate, _ in rates], [momentum for _, momentum in rates]
        with np.errstate(all="ignore"):  # a trial may diverge
            self._penalize(self._l1, is_l1=True)
            self._penalize(self._l2, is_l1=False)
            self._clipping.clip()
            for key, p, *_ in self._decayed:
                left = [1 - rate * strength for rate, strength in zip(lr, key, strict=True)]
                np.multiply(p, self._spread(("decay", key), left)[: len(p)], out=p)
            (self._adam if self._form == "adam" else self._sgd)(lr, momentum)
            for gates in self._gates:
                np.minimum(np.maximum(gates, 0, out=gates), 1, out=gates)

    def _penalize(self, pieces: list[_Piece], *, is_l1: bool) -> None:
        for key, p, g, _, (t, _) in pieces:
            factor = np.sign(p, out=t) if is_l1 else p
            np.multiply(factor, self._spread(key, list(key))[: len(p)], out=t)
            if 0.0 in key:
                np.copyto(t, -0.0, where=np.array(key) == 0)
            np.add(g, t, out=g)

    def _sgd(self, lr: list[float], momentum: list[float]) -> None:
        rates = {key: self._rates(lr, key) for key in self._factors}
        decay = self._spread("momentum", momentum)
        on = np.array(momentum) != 0
        moves, is_mixed = bool(on.any()), bool(on.any() and not on.all())
        # A lane's momentum may be 0 in single steps of its schedule: they leave its memory alone.
        for key, p, g, (buffer,), (t, new) in self._all:
            n, by = len(p), g
            if moves:
                by = new if is_mixed else buffer
                np.add(np.multiply(buffer, decay[:n], out=by), g, out=by)
                if is_mixed:
                    np.copyto(buffer, by, where=on)
                if self._form == "nesterov":
                    by = np.add(g, np.multiply(by, decay[:n], out=t), out=t)
                if is_mixed:
                    np.copyto(by, g, where=~on)
            np.subtract(p, np.multiply(by, rates[key][:n], out=t), out=p)
        self._remembers |= on

    def _adam(self, lr: list[float], beta1: list[float]) -> None:
        self._updates = [count + 1 for count in self._updates]
        self._remembers[:] = True
        options = [trainer.updater.optimizer.param_groups[0] for trainer in self._lanes]
        beta2, eps = [each["betas"][1] for each in options], [each["eps"] for each in options]
        new1, new2 = [1 - b for b in beta1], [1 - b for b in beta2]
        biases = [[1 - b**k for b, k in zip(x, self._updates, strict=True)] for x in (beta1, beta2)]
        root = [b**0.5 for b in biases[1]]
        lr = [-rate / bias for rate, bias in zip(lr, biases[0], strict=True)]
        rates = {key: self._rates(lr, key) for key in self._factors}
        numbers = enumerate((beta1, new1, beta2, new2, root, eps))
        spreads = [self._spread(f"adam {i}", values) for i, values in numbers]
        for key, p, g, (mean, square), (t, u) in self._all:
            b1, n1, b2, n2, root_, eps_, rate = (x[: len(p)] for x in (*spreads, rates[key]))
            np.add(np.multiply(mean, b1, out=mean), np.multiply(g, n1, out=t), out=mean)
            np.multiply(np.multiply(g, n2, out=t), g, out=t)
            np.add(np.multiply(square, b2, out=square), t, out=square)
            np.add(np.divide(np.sqrt(square, out=t), root_, out=t), eps_, out=t)
            np.add(p, np.divide(np.multiply(mean, rate, out=u), t, out=u), out=p)

    def _rates(self, lr: list[float], key: tuple[float, ...]) -> Floats:
        rates = [rate * factor for rate, factor in zip(lr, key, strict=True)]
        return self._spread(("lr", key), rates)

    def _spread(self, name: object, values: list[float]) -> Floats:
        """Numbers of the lanes, repeated over the rows of a piece."""
        known, rows = self._spreads.get(name, ([], self.p))
        if values != known:
            rows = np.tile(np.array(values).astype(np.float32), (_ROWS, 1))
            self._spreads[name] = values, rows
        return rows

    def _acted(self, key: str, penalty: str) -> list[_Piece]:
        """Where a penalty acts in some lane: the pieces, with its strength in each lane."""
        strengths = []
        for trainer in self._lanes:
            acted = {id(parameter) for parameter in getattr(trainer.updater, key)}
            strength = getattr(trainer.recipe, penalty).strength
            named = trainer.updater.named.values()
            strengths.append([strength if id(p) in acted else 0.0 for p in named])
        pieces = self._pieces(list(zip(*strengths, strict=True)))
        return [piece for piece in pieces if any(piece.key)]

    def _pieces(self, keys: list[tuple[float, ...]]) -> list[_Piece]:
        """All rows, cut where the key of their parameter changes and after `_ROWS`."""
        found = []
        for key, run in groupby(zip(keys, self.rows.values(), strict=True), lambda pair: pair[0]):
            areas = [area for _, area in run]
            for start in range(areas[0].start, areas[-1].stop, _ROWS):
                at = slice(start, min(start + _ROWS, areas[-1].stop))
                memory = [x[at] for x in self._memory.values()]
                scratch = [x[: at.stop - at.start] for x in self._scratch]
                found.append(_Piece(key, self.p[at], self.g[at], memory, scratch))
        return found


def _flat(x: Tensor) -> Floats:
    """The values of x in the order of its dimensions, however it lies in memory."""
    values: Floats = x.detach().reshape(-1).numpy()
    return values


def _unflatten(column: Floats, into: Tensor) -> None:
    into.copy_(torch.from_numpy(column).view(into.shape))

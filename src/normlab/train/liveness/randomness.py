"""Do the layers that drop something drop it in training, anew each step, and not in evaluation?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from normlab.recipe import Recipe
from normlab.records import Check
from normlab.regularizers import DropBlock, RandomLayer, SpatialDropout, StochasticDepth
from normlab.train.liveness.watcher import Watcher

_STEPS = 2
"""Steps in which forward and backward are compared with each other."""

_CERTAIN = 25.0
"""What was seen is no chance if its probability is below e^-25."""


@dataclass
class _Seen:
    """What one layer did.

    Attributes:
        alive: Units (values, or the maps or images that go as a whole) that were not 0 before the
            layer, over the steps looked at.
        kept: Those of them that were not 0 after it.
        first: Of the first step, which units were not 0 before the layer and which were 0 after.
        compared: Units that were not 0 before the layer in both of the first two steps. Few, where
            the activations in front are mostly 0: only there can two masks be told apart.
        fresh: Whether the second step's mask differed from the first's.
        evaluated: It was seen in evaluation, where `changed` says that it was not the identity.
        masks: Of each forward in the current step, which values were not 0 before the layer and
            which were 0 after; None once there are some of which this is not known.
        repeated: Forwards that were run again in the backward pass, by activation checkpointing.
        differs: One of them, or a gradient, had another mask than the forward.
    """

    alive: int = 0
    kept: int = 0
    steps: int = 0
    in_eval_mode: bool = False
    first: tuple[Tensor, Tensor] | None = None
    compared: int = 0
    fresh: bool | None = None
    evaluated: bool = False
    changed: bool = False
    masks: list[tuple[Tensor, Tensor]] | None = field(default_factory=list)
    repeated: int = 0
    differs: bool = False


class RandomnessWatcher(Watcher):
    """Looks at dropout in all its kinds and at stochastic depth."""

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        self.recipe = recipe
        self.layers = {
            name: layer
            for name, layer in model.named_modules()
            if isinstance(layer, RandomLayer) and layer.p > 0
        }
        self.seen = {name: _Seen() for name in self.layers}
        self.is_training = True
        self.steps = 0
        self.hooks = [
            hook
            for name, layer in self.layers.items()
            for hook in (
                layer.register_forward_pre_hook(self._alone, with_kwargs=True),
                layer.register_forward_hook(self._hook(name), with_kwargs=True),
            )
        ]

    def gradients(self) -> None:
        """Backward is done, and with it what it ran again."""
        self.steps += 1
        for seen in self.seen.values():
            seen.masks = [] if self.steps < _STEPS else None

    def evaluating(self) -> None:
        """From now on every layer must be the identity."""
        self.is_training = False

    def conclude(self) -> Iterator[Check]:
        """One finding for dropout and one for stochastic depth, if they are declared."""
        p = self.recipe.dropout.p
        if max(p) if isinstance(p, tuple) else p:
            names = [n for n, m in self.layers.items() if not isinstance(m, StochasticDepth)]
            yield self._check("dropout", f"p {p} in the chosen slots", names)
        if self.recipe.stochastic_depth.p:
            names = [n for n, m in self.layers.items() if isinstance(m, StochasticDepth)]
            declared = f"p {self.recipe.stochastic_depth.p} in the last block"
            yield self._check("stochastic_depth", declared, names)
        yield from self._recomputation()

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()

    def _alone(
        self, layer: RandomLayer, args: tuple[Tensor, ...], named: dict[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]] | None:
        # A view has the layer's gradient alone, where x itself may go to other layers too.
        x = args[0] if args else named["x"]
        return ((x.view_as(x),), {}) if self.is_training and self.steps < _STEPS else None

    def _hook(
        self, name: str
    ) -> Callable[[RandomLayer, tuple[Tensor, ...], dict[str, Tensor], Tensor], None]:
        def look(
            layer: RandomLayer, args: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor
        ) -> None:
            given = args[0] if args else named["x"]
            seen, x, y = self.seen[name], given.detach(), output.detach()
            if not self.is_training:
                if not seen.evaluated:
                    seen.evaluated, seen.changed = True, not torch.equal(x, y)
                return
            if torch._C._current_graph_task_id() != -1:  # within the backward pass
                self._look_again(seen, x, y)
                return
            if seen.masks is not None:
                seen.masks.append((x != 0, y == 0))
                if output.requires_grad and given.grad_fn is not None:
                    _watch_gradient(seen, given, output)
            seen.steps += 1
            seen.in_eval_mode |= not layer.training
            # Stochastic depth drops whole images: it may take many steps to see one go.
            if seen.steps > 2 and not isinstance(layer, StochasticDepth):
                return
            alive, gone = _units(layer, x != 0), ~_units(layer, y != 0)
            seen.alive += int(alive.sum())
            seen.kept += int((alive & ~gone).sum())
            if seen.steps <= 2:
                if seen.first is not None and seen.first[0].shape == alive.shape:
                    comparable = alive & seen.first[0]
                    seen.compared = int(comparable.sum())
                    seen.fresh = bool((comparable & (gone ^ seen.first[1])).any())
                seen.first = (alive, gone) if seen.steps == 1 else None

        return look

    def _look_again(self, seen: _Seen, x: Tensor, y: Tensor) -> None:
        """A forward that is run again has to show the mask of one of the step's forwards."""
        seen.repeated += 1
        if seen.masks is not None:
            seen.differs |= not any(
                alive.shape == x.shape and torch.equal((y == 0) & alive, gone & alive)
                for alive, gone in seen.masks
            )

    def _recomputation(self) -> Iterator[Check]:
        """Said where a step ran a forward twice: only there can a mask differ from itself."""
        names = [name for name, seen in self.seen.items() if seen.repeated or seen.differs]
        other = [name for name in names if self.seen[name].differs]
        if names:
            yield Check(
                name="dropout",
                declared="one mask in the forward and in the backward pass",
                found=f"{other[0]} has another mask where the backward pass recomputes it"
                if other
                else f"the same mask in all {len(names)} layers that are recomputed",
                live=not other,
            )

    def _check(self, name: str, declared: str, layers: list[str]) -> Check:
        wrong = {layer: text for layer in layers if (text := self._wrong(layer))}
        if not layers:
            found = "no layer of the model drops anything"
        elif wrong:
            layer, text = next(iter(wrong.items()))
            found = f"{layer} {text}" + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        else:
            shares = ", ".join(f"{self._dropped(layer):.3f}" for layer in layers[:4])
            more = ", ..." if len(layers) > 4 else ""
            found = (
                f"{len(layers)} layers dropped {shares}{more} in training, "
                "anew each step; none in evaluation"
            )
        return Check(name=name, declared=declared, found=found, live=bool(layers) and not wrong)

    def _dropped(self, name: str) -> float:
        seen = self.seen[name]
        return 1 - seen.kept / seen.alive if seen.alive else 0.0

    def _wrong(self, name: str) -> str | None:
        """What is wrong with a layer, in words."""
        seen = self.seen[name]
        if not seen.steps:
            return "never ran in training"
        if seen.in_eval_mode:
            return "ran in eval mode in the training step: it dropped nothing"
        return "was on in evaluation" if seen.changed else self._wrong_share(name)

    def _wrong_share(self, name: str) -> str | None:
        seen, layer = self.seen[name], self.layers[name]
        share, p = self._dropped(name), layer.p
        if not share and -math.log1p(-p) * _draws(layer, seen.alive) > _CERTAIN:
            return "dropped nothing in training"
        # DropBlock's p is approximate by definition, and its blocks are no independent draws.
        spread = 6 * math.sqrt(p * (1 - p) / max(seen.alive, 1))
        if not isinstance(layer, DropBlock) and abs(share - p) > spread + 0.01:
            return f"dropped {share:.3f} where p is {p}"
        alike = math.log1p(-2 * p * (1 - p))  # of a unit: dropped twice or kept twice
        if seen.fresh is False and -alike * _draws(layer, seen.compared) > _CERTAIN:
            return "dropped the same in two steps"
        return None


def _watch_gradient(seen: _Seen, x: Tensor, y: Tensor) -> None:
    """Hold the gradient that leaves the layer against the zeros of its output.

    A recomputation may end before the layer's hooks run: the gradient is what it was made for.
    """
    alive, gone = x.detach() != 0, y.detach() == 0
    came: list[Tensor] = []

    def look(gradient: Tensor) -> None:
        wanted = came[-1] != 0
        seen.differs |= bool((alive & wanted & ((gradient == 0) ^ gone)).any())

    y.register_hook(came.append)  # type: ignore[no-untyped-call]
    x.register_hook(look)  # type: ignore[no-untyped-call]


def _draws(layer: RandomLayer, units: int) -> float:
    """Independent draws behind the units, at least: a block has one for all its values."""
    return units / layer.block_size**2 if isinstance(layer, DropBlock) else units


def _units(layer: RandomLayer, values: Tensor) -> Tensor:
    """What is dropped as one: values, maps of (N, C, ...) or images; True where any value is."""
    if isinstance(layer, StochasticDepth):
        return values.flatten(1).any(dim=1)
    if isinstance(layer, SpatialDropout):
        return values.flatten(2).any(dim=2)
    return values

"""Are the declared norms in the model, and do they compute what their kind defines?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from normlab.models.surgery import MAP_NORMS
from normlab.norms import GhostBatchNorm, NoNorm, class_of, is_norm, legal_groups, traits
from normlab.norms.conformance.definitions import DEFINITIONS
from normlab.recipe import Recipe
from normlab.recipe.models import OwnModel
from normlab.records import Check
from normlab.train.liveness.watcher import Watcher

_OTHER_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
_TOLERANCE = {"float32": 1e-3, "float64": 1e-8, "bfloat16": 5e-2}
"""Largest distance from the definition over the largest value: far above rounding, far below what
other statistics would give."""


class NormWatcher(Watcher):
    """Counts the norms by kind, and holds each one's first training output to its definition.

    Args:
        recipe: What was declared.
        model: The model that trains.
        declared: How many norms the recipe's model asked for.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, declared: int) -> None:
        self.recipe, self.kind = recipe, recipe.norm.kind
        cls = self.cls = class_of(self.kind)
        # In a model of the user's, norms over tokens and of other dimensions stay as they are.
        is_own = isinstance(recipe.model, OwnModel)
        everything = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, (cls, *(MAP_NORMS if is_own else _OTHER_NORMS)))
            or (is_norm(module) and not is_own)
        ]
        self.declared = 0 if cls is NoNorm else declared
        self.layers = {} if cls is NoNorm else {n: m for n, m in everything if type(m) is cls}
        found = [m for _, m in everything if not isinstance(m, NoNorm)]
        self.others = Counter(type(m).__name__ for m in found if type(m) is not cls)
        self.steps = 0
        self.errors: dict[str, float] = {}
        self.splits: dict[str, tuple[int, ...]] = {}
        self.hooks = [
            layer.register_forward_hook(self._hook(name)) for name, layer in self.layers.items()
        ]

    def gradients(self) -> None:
        """Count the steps."""
        self.steps += 1

    def conclude(self) -> Iterator[Check]:
        """Their number, what they compute, and the splits of a ghost batch norm."""
        yield self._count()
        if self.kind in DEFINITIONS and self.layers:
            yield self._definition()
        if issubclass(self.cls, GhostBatchNorm):
            options: dict[str, Any] = self.recipe.norm.options
            splits, size = options.get("splits"), options.get("ghost_size")
            if splits or size:
                yield self._realized_splits(splits, size)
        if traits(self.cls).follows_progress:
            yield self._progress()

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def look(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if name not in self.errors:
                self._look(name, layer, args[0].detach(), output.detach())

        return look

    @torch.no_grad()
    def _look(self, name: str, layer: nn.Module, x: Tensor, output: Tensor) -> None:
        self.errors[name] = 0.0
        if isinstance(layer, GhostBatchNorm):
            self.splits[name] = layer.sizes(len(x), x.shape[2] * x.shape[3])
        definition = DEFINITIONS.get(self.kind)
        if definition is None:
            return
        parameters, buffers = (
            {key: value.detach().double() for key, value in pairs}
            for pairs in (layer.named_parameters(recurse=False), layer.named_buffers(recurse=False))
        )
        options = self._options(x.shape[1])
        # In training, whatever mode the layer itself is in: this is a training step.
        expected = definition.forward(x.double(), parameters, options, buffers, True)
        activation = getattr(layer, "activation", None)
        if isinstance(activation, nn.Module) and not definition.contains_activation:
            expected = activation(expected)
        largest = expected.abs().max().clamp_min(1e-12)
        self.errors[name] = float((output.double() - expected).abs().max() / largest)

    def _options(self, num_channels: int) -> dict[str, object]:
        given: dict[str, Any] = self.recipe.norm.options
        options = {key: value for key, value in given.items() if value is not None}
        wanted = options.get("groups") or options.get("channels_per_group")
        if wanted:
            groups = options.get("groups") or max(1, num_channels // wanted)
            options = {**options, "groups": legal_groups(num_channels, groups)}
        return options

    def _count(self) -> Check:
        left = [f"{count} {name}" for name, count in self.others.items()]
        found = ", ".join([f"{len(self.layers)} of this kind", *left])
        live = len(self.layers) == self.declared and not self.others
        return Check(name="norm", declared=f"{self.declared} {self.kind}", found=found, live=live)

    def _definition(self) -> Check:
        limit = _TOLERANCE[self.recipe.precision]
        # NaN is another matter: a training that diverges in its first step.
        wrong = [name for name, error in self.errors.items() if error > limit]
        unseen = [name for name in self.layers if name not in self.errors]
        found = f"{len(self.errors) - len(wrong)} of {len(self.layers)} do in the first step"
        if wrong:
            found += f"; not {wrong[0]} (off by {self.errors[wrong[0]]:.2g} of its largest value)"
        if unseen:
            found += f"; {unseen[0]} never ran"
        return Check(
            name="norm",
            declared=f"each computes: {DEFINITIONS[self.kind].words}",
            found=found,
            live=not wrong and not unseen,
        )

    def _progress(self) -> Check:
        progress = {getattr(layer, "progress", math.nan) for layer in self.layers.values()}
        expected = (self.steps - 1) / max(self.steps * self.recipe.epochs, 1)
        return Check(
            name="norm",
            declared=f"each follows the training's progress, {expected:.4f} after an epoch",
            found=f"progress {max(progress, default=0.0):.4f}",
            live=len(progress) == 1 and math.isclose(max(progress), expected, abs_tol=1e-9),
        )

    def _realized_splits(self, splits: int | None, size: int | None) -> Check:
        sizes = sorted(set(self.splits.values()))
        if splits is not None:
            declared, live = f"{splits} splits", all(len(s) == splits for s in sizes)
        else:
            declared = f"splits of {size} images"
            live = all(s[0] == size for s in sizes)
        texts = [f"{len(s)} of {' and '.join(map(str, dict.fromkeys(s)))} images" for s in sizes]
        return Check(
            name="norm", declared=declared, found="; ".join(texts), live=live and bool(sizes)
        )

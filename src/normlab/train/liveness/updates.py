"""Do the gradients and the update reach what the recipe says, and nothing else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from normlab.models import roles
from normlab.recipe import Recipe
from normlab.recipe.training import Role
from normlab.records import Check
from normlab.train.liveness.watcher import Watcher

_LEARNED: tuple[Role, ...] = ("gate", "norm_gain", "norm_bias")
"""Roles whose parameters an arm's norm brings: without a gradient it would be another norm."""


class GradientWatcher(Watcher):
    """Are a norm's parameters in the optimizer, and do they get a gradient that is not 0?

    Gains and biases that the model itself has frozen (`requires_grad` False) are counted apart: the
    norm is what it is without learning them. Gates that are all frozen are no learned gates.
    """

    def __init__(self, model: nn.Module, trained: list[nn.Parameter]) -> None:
        of = roles(model)
        self.learned = {n: p for n, p in model.named_parameters() if of[n] in _LEARNED}
        self.gates = {name for name in self.learned if of[name] == "gate"}
        self.unseen = dict(self.learned)
        self.absent = set(self.learned)
        self.frozen = set(self.learned)
        self.steps = 0
        counts = [sum(p is other for other in trained) for p in self.learned.values()]
        self.once = all(count == 1 for count in counts)

    def gradients(self) -> None:
        """Strike off what has a gradient; only what never had one is looked at again."""
        self.steps += 1
        self.frozen -= {name for name in self.frozen if self.learned[name].requires_grad}
        for name, parameter in list(self.unseen.items()):
            if parameter.grad is not None:
                self.absent.discard(name)
                if bool(parameter.grad.any()):
                    del self.unseen[name]

    def conclude(self) -> Iterator[Check]:
        """One finding for gains and biases, one for gates, where the model has them."""
        for what, names in (
            ("gates", self.gates),
            ("gains and biases", set(self.learned) - self.gates),
        ):
            if not names:
                continue
            frozen = names & self.frozen
            # In a single step a gradient may be 0 with reason: behind a gain that starts at 0.
            unseen = set(self.unseen) if self.steps > 1 else self.absent
            without = sorted((names & unseen) - frozen)
            found = f"{len(names) - len(frozen) - len(without)} of {len(names)} get a gradient"
            found += f"; {len(frozen)} of {len(names)} frozen" if frozen else ""
            found += f"; not {without[0]}" if without else ""
            found += "" if self.once else "; not each is in the optimizer once"
            learned = what != "gates" or names > frozen
            yield Check(
                name="norm",
                declared=f"its {what} are learned",
                found=found,
                live=not without and learned and self.once,
            )


class UpdateWatcher(Watcher):
    """Holds each stage of one whole update against what it should do to every parameter.

    Args:
        recipe: What was declared.
        model: The model that trains.
        lr: The learning rate of the current step.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, lr: Callable[[], float]) -> None:
        self.recipe, self.lr = recipe, lr
        self.parameters = dict(model.named_parameters())
        self.roles = roles(model)
        self.owners: dict[int, nn.Module] = {}
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                self.owners.setdefault(id(parameter), module)
        self.frozen: set[str] = set()
        self.before: dict[str, Tensor] = {}
        self.wrong: dict[str, list[str]] = {}
        self.finite = True
        self.total = 0.0

    def updated(self, stage: str) -> None:
        """Note the parameters whose gradient (or value, by the decay) is not as declared."""
        after = self._weights() if stage in {"decay", "step"} else self._gradients()
        if stage == "loss":
            self.frozen = {n for n, p in self.parameters.items() if not p.requires_grad}
            self.finite = all(bool(gradient.isfinite().all()) for gradient in after.values())
        if stage in {"l1", "l2", "clip", "decay"}:
            self.wrong[stage] = [
                name
                for name, value in after.items()
                if not _agree(value, self._expected(stage, name), self.before[name])
            ]
        if stage == "clip":
            squares = [float(g.double().square().sum()) for g in after.values()]
            self.total = sum(squares) ** 0.5
        # What the next stage starts from: the decay acts on weights.
        self.before = self._weights() if stage == "clip" else after

    def conclude(self) -> Iterator[Check]:
        """A finding for every penalty, the decay and the clipping that are declared."""
        for stage, name, penalty in (
            ("l1", "l1", self.recipe.l1),
            ("l2", "l2", self.recipe.l2),
            ("decay", "weight_decay", self.recipe.weight_decay),
        ):
            if penalty.strength:
                yield self._check(stage, name, penalty.strength, penalty.roles)
        if self.recipe.agc.clip:
            yield self._check("clip", "agc", self.recipe.agc.clip, self.recipe.agc.roles)
        if self.recipe.clip_grad_norm:
            limit = self.recipe.clip_grad_norm
            yield Check(
                name="clip_grad_norm",
                declared=f"at most {limit}",
                found=f"{self.total:.4g} after clipping",
                live=self.total <= limit * (1 + 1e-4) or not self.finite,
            )

    def _check(self, stage: str, name: str, strength: float, wanted: tuple[Role, ...]) -> Check:
        having = [n for n in self.parameters if self.roles[n] in wanted]
        declared = [n for n in having if n not in self.frozen]
        wrong = self.wrong.get(stage, declared)
        outside = [n for n in wrong if n not in declared]
        missed = [n for n in wrong if n in declared]
        text = f"acts on {len(declared) - len(missed)} of {len(having)} parameters of these roles"
        text += self._frozen_by_role(having)
        text += f"; not as declared on {missed[0]}" if missed else ""
        text += f"; also on {outside[0]}" if outside else ""
        live = bool(declared) and not wrong
        if not self.finite:  # a training that diverges says nothing of its update
            text, live = "not told: the gradients of the watched step are not finite", True
        where = f"{strength:g} on {', '.join(wanted)}"
        return Check(name=name, declared=where, found=text, live=live)

    def _frozen_by_role(self, having: list[str]) -> str:
        """How many parameters of each role are frozen, in words; nothing where none is."""
        of = Counter(self.roles[n] for n in having)
        frozen = Counter(self.roles[n] for n in having if n in self.frozen)
        each = [f"{count} of {of[role]} {role}" for role, count in sorted(frozen.items())]
        return f"; frozen: {', '.join(each)}" if each else ""

    def _expected(self, stage: str, name: str) -> Tensor:
        """What a stage should leave of what it found, written once more from the definitions."""
        before, weight = self.before[name], self.parameters[name].detach()
        recipe, role = self.recipe, None if name in self.frozen else self.roles[name]
        if stage == "l1":
            on = recipe.l1.strength if role in recipe.l1.roles else 0.0
            return before + on * weight.sign()
        if stage == "l2":
            on = recipe.l2.strength if role in recipe.l2.roles else 0.0
            return before + on * weight
        if stage == "decay":
            on = recipe.weight_decay.strength if role in recipe.weight_decay.roles else 0.0
            return before * (1 - self.lr() * on)
        if recipe.agc.clip and role in recipe.agc.roles:
            owner = self.owners[id(self.parameters[name])]
            axes = _unit_axes(weight, owner, is_weight=role in ("weight", "head_weight"))
            return _clipped(before, weight, axes, recipe.agc.clip, recipe.agc.eps)
        if recipe.clip_grad_norm:
            norm = sum(float(g.double().square().sum()) for g in self.before.values()) ** 0.5
            return before * min(1.0, recipe.clip_grad_norm / norm) if norm else before
        return before

    def _gradients(self) -> dict[str, Tensor]:
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in self.parameters.items()
        }

    def _weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.parameters.items()}


def _agree(value: Tensor, expected: Tensor, before: Tensor) -> bool:
    """Equal to rounding: that of the sum's parts, which may nearly cancel."""
    eps = torch.finfo(value.dtype).eps
    parts = before.abs() + (expected - before).abs()
    allowed = 1e-4 * expected.abs() + 16 * eps * parts + 1e-12
    return bool(((value - expected).abs() <= allowed).all())


def _unit_axes(weight: Tensor, owner: nn.Module, *, is_weight: bool) -> tuple[list[int], list[int]]:
    """A shape for the parameter, and the axes of it over which the norm of one unit goes.

    Rows are the units of a weight. A transposed convolution's weight is (in, out / groups, ...):
    a unit is one group's column. Anything else (gains, biases, gates) is one vector.
    """
    if not is_weight or weight.ndim < 2:
        return [weight.numel()], [0]
    if isinstance(owner, _ConvTransposeNd):
        return [owner.groups, -1, weight.shape[1], weight[0, 0].numel()], [1, 3]
    return [weight.shape[0], -1], [1]


def _clipped(
    gradient: Tensor, weight: Tensor, axes: tuple[list[int], list[int]], clip: float, eps: float
) -> Tensor:
    """AGC by its definition, unit by unit."""
    shape, over = axes
    largest = clip * weight.reshape(shape).norm(dim=over, keepdim=True).clamp_min(eps)
    size = gradient.reshape(shape).norm(dim=over, keepdim=True)
    factor = torch.where(size > largest, largest / size.clamp_min(1e-6), 1.0)
    return (gradient.reshape(shape) * factor).reshape(gradient.shape)

"""Do the gradients and the update reach what the recipe says, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normlab.models import roles
from normlab.recipe import Recipe
from normlab.recipe.training import Penalty, Role
from normlab.records import Check
from normlab.regularizers.clipping import unit_norms
from normlab.train.liveness.watcher import Watcher

_LEARNED: tuple[Role, ...] = ("gate", "norm_gain", "norm_bias")
"""Roles whose parameters an arm's norm brings: without a gradient it would be another norm."""


class GradientWatcher(Watcher):
    """Are a norm's parameters in the optimizer, and do they get a gradient that is not 0?"""

    def __init__(self, model: nn.Module, trained: list[nn.Parameter]) -> None:
        of = roles(model)
        self.learned = {n: p for n, p in model.named_parameters() if of[n] in _LEARNED}
        self.gates = {name for name in self.learned if of[name] == "gate"}
        self.unseen = dict(self.learned)
        counts = [sum(p is other for other in trained) for p in self.learned.values()]
        self.once = all(count == 1 for count in counts)

    def gradients(self) -> None:
        """Strike off what has a gradient; only what never had one is looked at again."""
        for name, parameter in list(self.unseen.items()):
            if parameter.grad is not None and bool(parameter.grad.any()):
                del self.unseen[name]

    def conclude(self) -> Iterator[Check]:
        """One finding for gains and biases, one for gates, where the model has them."""
        for what, names in (
            ("gates", self.gates),
            ("gains and biases", set(self.learned) - self.gates),
        ):
            if not names:
                continue
            without = sorted(names & set(self.unseen))
            found = f"{len(names) - len(without)} of {len(names)} get a gradient"
            found += f"; not {without[0]}" if without else ""
            found += "" if self.once else "; not each is in the optimizer once"
            yield Check(
                name="norm",
                declared=f"its {what} are learned",
                found=found,
                live=not without and self.once,
            )


class UpdateWatcher(Watcher):
    """Compares gradients and weights before and after each stage of one whole update."""

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        self.recipe = recipe
        self.parameters = dict(model.named_parameters())
        self.roles = roles(model)
        self.before: dict[str, Tensor] = {}
        self.changed: dict[str, set[str]] = {}
        self.movable: set[str] = set()
        self.over: list[str] = []
        self.total = 0.0

    def updated(self, stage: str) -> None:
        """Note which gradients (or weights, by the decay) the stage changed."""
        if stage == "loss":  # a penalty cannot act on a parameter that is still 0
            self.movable = {n for n, p in self.parameters.items() if bool(p.detach().any())}
        if stage == "clip":
            self._look_at_clipping()
        after = self._gradients() if stage in {"loss", "l1", "l2", "clip"} else self._weights()
        if stage in {"l1", "l2", "clip", "decay"}:
            self.changed[stage] = {
                name for name, value in after.items() if not torch.equal(value, self.before[name])
            }
        # What the next stage starts from: the decay acts on weights.
        self.before = self._weights() if stage == "clip" else after

    def conclude(self) -> Iterator[Check]:
        """A finding for every penalty and every clipping that is declared."""
        for stage, name, penalty in (
            ("l1", "l1", self.recipe.l1),
            ("l2", "l2", self.recipe.l2),
            ("decay", "weight_decay", self.recipe.weight_decay),
        ):
            if penalty.strength:
                yield self._penalty(stage, name, penalty)
        if self.recipe.agc.clip:
            yield self._adaptive_clipping(self.recipe.agc.roles)
        if self.recipe.clip_grad_norm:
            limit = self.recipe.clip_grad_norm
            yield Check(
                name="clip_grad_norm",
                declared=f"at most {limit}",
                found=f"{self.total:.4g} after clipping",
                live=self.total <= limit * (1 + 1e-4),
            )

    def _penalty(self, stage: str, name: str, penalty: Penalty) -> Check:
        changed = self.changed.get(stage, set())
        declared = {n for n in self.parameters if self.roles[n] in penalty.roles}
        outside, missed = changed - declared, (declared & self.movable) - changed
        text = f"{len(changed)} of {len(declared)} parameters of these roles"
        text += f"; also {sorted(outside)[0]}" if outside else ""
        text += f"; not {sorted(missed)[0]}" if missed else ""
        live = bool(changed) and not outside and not missed
        return Check(
            name=name,
            declared=f"{penalty.strength:g} on {', '.join(penalty.roles)}",
            found=f"acts on {text}",
            live=live,
        )

    def _look_at_clipping(self) -> None:
        gradients = self._gradients()
        squares = [float(g.double().square().sum()) for g in gradients.values()]
        self.total = sum(squares) ** 0.5
        clip, eps = self.recipe.agc.clip, self.recipe.agc.eps
        if clip is None:
            return
        for name in self._clipped_roles(self.recipe.agc.roles):
            limit = clip * unit_norms(self.parameters[name].detach()).clamp_min(eps)
            if bool((unit_norms(gradients[name]) > limit * 1.001 + 1e-12).any()):
                self.over.append(name)

    def _adaptive_clipping(self, wanted: tuple[Role, ...]) -> Check:
        outside = self.changed.get("clip", set()) - set(self._clipped_roles(wanted))
        text = f"changed the gradients of {len(self.changed.get('clip', ()))} parameters"
        text += f"; {self.over[0]} is above the limit" if self.over else ""
        text += f"; also {sorted(outside)[0]}" if outside else ""
        return Check(
            name="agc",
            declared=f"clip {self.recipe.agc.clip:g} on {', '.join(wanted)}",
            found=text,
            live=not self.over and not outside and "clip" in self.changed,
        )

    def _clipped_roles(self, wanted: tuple[Role, ...]) -> list[str]:
        return [name for name in self.parameters if self.roles[name] in wanted]

    def _gradients(self) -> dict[str, Tensor]:
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in self.parameters.items()
        }

    def _weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.parameters.items()}

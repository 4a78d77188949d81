"""The update of one step: penalties, clipping, decoupled decay, then torch's optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn, optim

from normlab.errors import UserError
from normlab.models import select, units
from normlab.norms import Norm, is_norm
from normlab.recipe import Recipe
from normlab.recipe.training import Adam, AdamW, Sgd
from normlab.regularizers import (
    add_l1_gradient,
    add_l2_gradient,
    clip_adaptively,
    clip_by_norm,
    decay,
)
from normlab.train.fused import FusedStep, can_fuse, lay_out_state
from normlab.train.schedule import at_step


class Updater:
    """Updates a model's parameters from their gradients, as the recipe says.

    The order is the one of the definitions: gradients of the penalties join the loss's, the whole
    is clipped, then weights decay by the current learning rate, then the optimizer steps. All of it
    leaves parameters alone that are frozen (`requires_grad` False) when the step begins; a model
    may freeze and thaw them as it trains.

    Attributes:
        lr: Learning rate of the last step.
        clipped: Sum over steps of the share of units that AGC clipped; None without AGC.
        scaled: Number of steps in which `clip_grad_norm` scaled the gradient; None without it.
        largest_norm: Largest norm of the whole gradient that it saw, before scaling.
        gradient_norms: Sum over steps of the norm of the whole gradient before clipping, where
            it is asked for.

    Raises:
        UserError: Every parameter is frozen, or agc finds two ways in which a weight's output units
            lie.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        is_fused = can_fuse(model.parameters())
        self.optimizer = _optimizer(recipe, model, is_fused=is_fused)
        self.apply = FusedStep(self.optimizer) if is_fused else self.optimizer.step
        self.l1 = select(model, recipe.l1.roles)
        self.l2 = select(model, recipe.l2.roles)
        self.decayed = select(model, recipe.weight_decay.roles)
        self.named = dict(model.named_parameters())
        self.parameters = list(self.named.values())
        if self.parameters and not any(p.requires_grad for p in self.parameters):
            raise UserError(
                f"all {len(self.parameters)} parameters of the model are frozen (requires_grad is "
                "False): leave at least one to train"
            )
        self.adaptive = units(model, recipe.agc.roles) if recipe.agc.clip else []
        self.measures_gradients = "gradient_norm" in recipe.diagnostics
        self.clipped: Tensor | None = None
        self.scaled: Tensor | None = None
        self.largest_norm: Tensor | None = None
        self.gradient_norms: Tensor | None = None
        self.after_step = [after for m in model.modules() if (after := _after_step(m))]
        self.lr = recipe.lr

    def step(self, step: int, watch: Callable[[str], None] = lambda stage: None) -> None:
        """Apply the gradients of step number `step` (from 0, over all epochs).

        Args:
            step: Its number.
            watch: Called as each stage is done: `loss`, `l1`, `l2`, `clip`, `decay`, `step`.
        """
        self.set_rates(step)
        for parameter in self.parameters:
            if not parameter.requires_grad:
                parameter.grad = None  # frozen since its gradient was made
        watch("loss")
        add_l1_gradient(self.l1, self.recipe.l1.strength)
        watch("l1")
        add_l2_gradient(self.l2, self.recipe.l2.strength)
        watch("l2")
        self._clip()
        watch("clip")
        decay(self.decayed, self.recipe.weight_decay.strength, self.lr)
        watch("decay")
        self.apply()
        for after_step in self.after_step:
            after_step()
        watch("step")
        # Not kept and zeroed: the next backward pass hands its own tensors over without a copy.
        for parameter in self.parameters:
            parameter.grad = None

    def set_rates(self, step: int) -> None:
        """Set learning rate and momentum to those of a step."""
        self.lr, momentum = at_step(self.recipe, step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["lr_factor"]
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum

    def begin_epoch(self) -> None:
        """Start the sums of an epoch anew."""
        self.clipped = self.scaled = self.largest_norm = self.gradient_norms = None

    def _clip(self) -> None:
        recipe = self.recipe
        if self.measures_gradients:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            norms = torch._foreach_norm(gradients)
            norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
            self.gradient_norms = (
                norm if self.gradient_norms is None else self.gradient_norms + norm
            )
        if recipe.agc.clip:
            rows = [row for unit in self.adaptive for row in unit.rows()]
            share = clip_adaptively(rows, recipe.agc.clip, recipe.agc.eps)
            self.clipped = share if self.clipped is None else self.clipped + share
        if recipe.clip_grad_norm:
            norm = clip_by_norm(self.parameters, recipe.clip_grad_norm)
            over = (norm > recipe.clip_grad_norm).to(torch.float32)
            self.scaled = over if self.scaled is None else self.scaled + over
            largest = self.largest_norm
            self.largest_norm = norm if largest is None else torch.maximum(largest, norm)

    def state_dict(self) -> dict[str, Any]:
        """What the optimizer remembers between steps, and which parameters are frozen by now."""
        frozen = [name for name, p in self.named.items() if not p.requires_grad]
        return {**self.optimizer.state_dict(), "frozen": frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember again."""
        for name, parameter in self.named.items():
            parameter.requires_grad_(name not in state["frozen"])
        self.optimizer.load_state_dict({k: v for k, v in state.items() if k != "frozen"})
        lay_out_state(self.optimizer)


def _optimizer(recipe: Recipe, model: nn.Module, *, is_fused: bool) -> optim.SGD | optim.Adam:
    parameters, spec = _groups(model), recipe.optimizer
    # On a CPU torch's own default is the slowest form; elsewhere it chooses foreach itself.
    form: dict[str, Any] = {"fused": True} if is_fused else {"foreach": True}
    match spec:
        case Sgd():
            nesterov, momentum = spec.nesterov, recipe.momentum
            return optim.SGD(parameters, lr=recipe.lr, momentum=momentum, nesterov=nesterov, **form)
        case Adam() | AdamW():
            # The decay of AdamW is ours (see `step`): over roles, and the same for every optimizer.
            betas = (recipe.momentum, spec.beta2)
            return optim.Adam(parameters, lr=recipe.lr, betas=betas, eps=spec.eps, **form)


def _after_step(layer: nn.Module) -> Callable[[], None] | None:
    """What a norm does after each step, where it does anything."""
    if not is_norm(layer) or getattr(type(layer), "after_step", None) in {None, Norm.after_step}:
        return None
    return cast("Callable[[], None]", layer.after_step)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """All parameters, those of one learning-rate factor together: gates may have their own."""
    factors = {
        id(parameter): float(getattr(module, "gate_lr_factor", 1.0))
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if getattr(module, "parameter_roles", {}).get(name) == "gate"
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": group, "lr_factor": factor} for factor, group in groups.items()]

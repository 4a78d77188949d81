"""The update of one step: penalties, decoupled decay, then torch's optimizer."""

from __future__ import annotations

from typing import Any

from torch import nn, optim

from normlab.models import select
from normlab.norms import BatchInstanceNorm, Norm
from normlab.recipe import Recipe
from normlab.recipe.training import Adam, AdamW, Sgd
from normlab.regularizers import add_l1_gradient, add_l2_gradient, decay
from normlab.train.schedule import at_step


class Updater:
    """Updates a model's parameters from their gradients, as the recipe says.

    The order is the one of the definitions: gradients of the penalties join the loss's, then
    weights decay by the current learning rate, then the optimizer steps.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.optimizer = _optimizer(recipe, model)
        self.l1 = select(model, recipe.l1.roles)
        self.l2 = select(model, recipe.l2.roles)
        self.decayed = select(model, recipe.weight_decay.roles)
        self.clamped = [m for m in model.modules() if isinstance(m, BatchInstanceNorm)]
        self.lr = recipe.lr

    def step(self, step: int) -> None:
        """Apply the gradients of step number `step` (from 0, over all epochs)."""
        self.lr, momentum = at_step(self.recipe, step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["lr_factor"]
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
        add_l1_gradient(self.l1, self.recipe.l1.strength)
        add_l2_gradient(self.l2, self.recipe.l2.strength)
        decay(self.decayed, self.recipe.weight_decay.strength, self.lr)
        self.optimizer.step()
        for layer in self.clamped:
            layer.after_step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What the optimizer remembers between steps."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember again."""
        self.optimizer.load_state_dict(state)


def _optimizer(recipe: Recipe, model: nn.Module) -> optim.Optimizer:
    parameters, spec = _groups(model), recipe.optimizer
    match spec:
        case Sgd():
            return optim.SGD(
                parameters, lr=recipe.lr, momentum=recipe.momentum, nesterov=spec.nesterov
            )
        case Adam() | AdamW():
            # The decay of AdamW is ours (see `step`): over roles, and the same for every optimizer.
            betas = (recipe.momentum, spec.beta2)
            return optim.Adam(parameters, lr=recipe.lr, betas=betas, eps=spec.eps)


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """All parameters, those of one learning-rate factor together: gates may have their own."""
    factors = {
        id(parameter): module.gate_lr_factor
        for module in model.modules()
        if isinstance(module, Norm)
        for name, parameter in module.named_parameters(recurse=False)
        if module.parameter_roles[name] == "gate"
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": group, "lr_factor": factor} for factor, group in groups.items()]

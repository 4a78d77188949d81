"""Diagnostics of an epoch beyond its scores: cheap ones always, costly ones if the recipe asks.

Always, where the recipe has what they are about:

    weight_norm     2-norm of all parameters after the epoch
    agc_clipped     share of units clipped by AGC, mean over the epoch's steps
    norm_clipped    share of steps in which clip_grad_norm scaled the gradient
    largest_norm    largest norm of the whole gradient that it saw, before scaling
    gates           by layer: shares of gate values in 10 equal parts of [0, 1]
    sparsity        under L1 (elsewhere on request), by weight: shares below 1e-3 and 1e-2 of its
                    largest value

On request (`diagnostics`):

    gradient_norm   of the loss, penalties included, before clipping: mean over the epoch's steps
    activations     by norm layer, eval mode, 256 validation images (of training where there are
                    none): percentiles 1, 20, 80 and 99 of its output
    train           the training images scored in eval mode, after each epoch and not only the last
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from normlab.models import roles
from normlab.norms import is_norm
from normlab.recipe import Recipe
from normlab.train.evaluation import finite

_PERCENTILES = (0.01, 0.20, 0.80, 0.99)
_THRESHOLDS = (1e-3, 1e-2)
_BINS = 10
_IMAGES = 256
_SAMPLE = 1 << 20  # values of a layer that a percentile is taken over, evenly spaced


def collect(
    recipe: Recipe, model: nn.Module, images: Tensor, means: Mapping[str, float]
) -> dict[str, object]:
    """The diagnostics of an epoch but `train`; leaves the model in eval mode if it ran it.

    Args:
        recipe: What it asks for.
        model: After the epoch.
        images: Those whose activations are looked at.
        means: What was averaged over the epoch's steps, by name.
    """
    found: dict[str, Any] = {"weight_norm": finite(weight_norm(model))}
    found |= {name: finite(value) for name, value in means.items()}
    if shares := gates(model):
        found["gates"] = shares
    if recipe.l1.strength or "sparsity" in recipe.diagnostics:
        found["sparsity"] = sparsity(model)
    if "activations" in recipe.diagnostics:
        found["activations"] = activations(model, images[:_IMAGES])
    return found


@torch.no_grad()
def weight_norm(model: nn.Module) -> float:
    """2-norm of all parameters."""
    norms = torch._foreach_norm(list(model.parameters()))
    return float(torch.linalg.vector_norm(torch.stack([n.double() for n in norms])))


@torch.no_grad()
def gates(model: nn.Module) -> dict[str, list[float]]:
    """Histogram of every gate by its name: shares in 10 equal parts of [0, 1].

    Weights for a softmax (a norm's `softmax_gates`) are shown after it.
    """
    of, found = roles(model), {}
    for name, parameter in model.named_parameters():
        if of[name] == "gate":
            owner, _, own = name.rpartition(".")
            is_softmax = own in getattr(model.get_submodule(owner), "softmax_gates", ())
            values = parameter.softmax(0) if is_softmax else parameter
            counts = torch.histc(values.float().clamp(0, 1).cpu(), bins=_BINS, min=0, max=1)
            found[name] = (counts / counts.sum()).tolist()
    return found


@torch.no_grad()
def sparsity(model: nn.Module) -> dict[str, list[float]]:
    """Shares of each weight's values below 1e-3 and 1e-2 of its largest one."""
    of, found = roles(model), {}
    for name, parameter in model.named_parameters():
        if of[name] in {"weight", "head_weight"}:
            size = parameter.detach().abs()
            largest = size.max()
            found[name] = [float((size <= t * largest).float().mean()) for t in _THRESHOLDS]
    return found


@torch.no_grad()
def activations(model: nn.Module, images: Tensor) -> dict[str, list[float]]:
    """Percentiles 1, 20, 80 and 99 of what each norm layer gives, by its name.

    The model is left in eval mode.
    """
    found: dict[str, list[float]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def look(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            values = output.detach().float().flatten()
            values = values[:: -(-len(values) // _SAMPLE)]
            wanted = torch.tensor(_PERCENTILES, device=values.device)
            found[name] = torch.quantile(values, wanted).tolist()

        return look

    hooks = [
        layer.register_forward_hook(hook(name))
        for name, layer in model.named_modules()
        if is_norm(layer)
    ]
    try:
        model.eval()
        model(images)
    finally:
        for handle in hooks:
            handle.remove()
    return found

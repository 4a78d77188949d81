"""What a swap did to the output of a model, on a batch of the user's.

Both models run as stand-ins, in eval and without gradients: buffers, modes, random states and hooks
of the model itself see nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from normlab.errors import UserError
from normlab.models.surgery.finding import kind_of
from normlab.models.surgery.stand_in import stand_in, undisturbed
from normlab.norms import BatchNorm, GroupNorm, InstanceNorm

# Of the largest value: what the order of sums in one layer costs, grown through a deep model.
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@dataclass
class Run:
    """Outputs of a model and of its norms.

    Attributes:
        outputs: The tensors that the model returned.
        norms: Name -> first output of the norm there.
    """

    outputs: list[Tensor]
    norms: dict[str, Tensor]


def run(model: nn.Module, probe: object, names: list[str], when: str) -> Run:
    """Run a stand-in of the model on the probe: a tensor, or a tuple of the forward's arguments.

    Raises:
        UserError: The model cannot be copied, or does not run.
    """
    try:
        copied = stand_in(model).eval()
    except Exception as error:
        raise UserError(
            f"the probe needs a copy of the model, which copy.deepcopy does not make: {error}. "
            "Call swap_norm without probe"
        ) from error
    norms: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            norms.setdefault(name, output.clone())

        return hook

    for name in names:
        copied.get_submodule(name).register_forward_hook(watch(name))
    arguments = probe if isinstance(probe, tuple) else (probe,)
    arguments = pytree.tree_map_only(Tensor, torch.clone, arguments)
    try:
        with torch.no_grad(), undisturbed(copied):
            torch.manual_seed(0)
            output = copied(*arguments)
    except Exception as error:
        raise UserError(
            f"the probe does not run {when}: {type(error).__name__}: {error}"
        ) from error
    return Run([leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)], norms)


def compare(before: Run, after: Run, *, same: bool, kind: str) -> None:
    """Hold a swapped model's outputs to those before.

    Args:
        before: The run of the model as it was.
        after: The run with the new norms.
        same: Whether each new norm computes what the old one did; else shapes and finiteness count.
        kind: The kind's name, for messages.

    Raises:
        UserError: They differ; names the first norm where they do.
    """
    pairs = [*((name, y, after.norms.get(name)) for name, y in before.norms.items())]
    pairs += [("the model", y, z) for y, z in zip(before.outputs, after.outputs, strict=False)]
    if len(before.outputs) != len(after.outputs):
        raise UserError(f"with norm '{kind}' the model returns another number of tensors")
    for name, y, z in pairs:
        if problem := _difference(y, z, same=same):
            raise UserError(
                f"{name}: with norm '{kind}' the output on the probe {problem}; the model is as "
                "it was. What this layer does beyond its class must be replaced by hand"
            )


def _difference(y: Tensor, z: Tensor | None, *, same: bool) -> str | None:
    if z is None:
        return "is missing: the new layer does not run"
    if y.shape != z.shape:
        return f"has shape {tuple(z.shape)} instead of {tuple(y.shape)}"
    if y.is_meta or not y.is_floating_point():
        return None
    if y.isfinite().all() and not z.isfinite().all():
        return "is not finite"
    if same:
        largest = float(y.abs().max().clamp_min(1)) if y.numel() else 1.0
        off = float((y.double() - z.double()).abs().max()) if y.numel() else 0.0
        if off > _TOLERANCE.get(y.dtype, 1e-4) * largest:
            return f"is off by {off:.2g}, its largest value being {largest:.2g}"
    return None


def computes(norm: nn.Module) -> tuple[object, ...]:
    """A key that two norms share if they compute the same of the same state."""
    kind, fields = kind_of(norm), vars(norm)
    plain = {name: v for name, v in fields.items() if isinstance(v, int | float | str)}
    shared = type(getattr(norm, "activation", None)), plain.get("eps")
    if issubclass(kind, nn.BatchNorm2d | nn.SyncBatchNorm) or kind is BatchNorm:
        return "batch", *shared
    if issubclass(kind, nn.InstanceNorm2d) or kind is InstanceNorm:
        channels = plain.get("num_channels", plain.get("num_features"))
        return (
            "tracked instance" if plain.get("track_running_stats") else "group",
            channels,
            *shared,
        )
    if issubclass(kind, nn.GroupNorm | GroupNorm):
        return "group", plain.get("groups", plain.get("num_groups")), *shared
    return kind, *shared, *sorted((n, v) for n, v in plain.items() if n != "training")

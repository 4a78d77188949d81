"""`swap_norm`: plan all changes, make them, and take them back if the probe says no."""

from __future__ import annotations

from torch import nn

from normlab.models.surgery import probing
from normlab.models.surgery.behind import Behind
from normlab.models.surgery.change import Change
from normlab.models.surgery.finding import Found, norms
from normlab.models.surgery.keeping import contains_activation, hand_on_hooks
from normlab.models.surgery.replacing import Wanted, replacement
from normlab.norms import by_name


def swap_norm(
    model: nn.Module, kind: str, *, dry_run: bool = False, probe: object = None, **options: object
) -> list[Change]:
    """Replace every norm over maps in a model, in place.

    Found by type: torch's `BatchNorm2d`, `SyncBatchNorm`, `InstanceNorm2d` and `GroupNorm`, and
    normlab's. `LayerNorm`, `RMSNorm` and norms of other dimensions belong to token models and stay.
    A module used in several places is replaced by one module in all of them. A norm that is what is
    asked for already is left as it is.

    Kept are the parameter and buffer objects, where the new kind has them (so frozen, tied and meta
    ones stay so), eps, momentum and `affine=False` unless `options` say otherwise, the activation
    inside one of normlab's norms, hooks, mode, device and dtype.

    Args:
        model: Any module; a norm itself cannot be replaced in place.
        kind: A norm's name, or the import path of a class.
        dry_run: Only report what would change.
        probe: A batch, or a tuple of the arguments of `forward`. Copies of the model run on it in
            evaluation mode, before and after, without your hooks. If every new norm computes what
            the old one did, the output of each norm and of the model must stay the same, up to
            rounding; otherwise they must keep their shapes and be finite.
        **options: Of the new norm; `groups` may be too large, and is lowered to what fits.

    Returns:
        The changes, in the order of the model.

    Raises:
        UserError: Unknown kind or option; a norm that does more than its class (overridden methods,
            parametrized gains, state of its own) or uses other statistics in evaluation than the
            new kind; an activation that cannot be removed; a probe that fails. The model is then
            unchanged.
    """
    wanted = Wanted(kind, options)
    by_name(kind)  # a wrong name is an error where there is no norm, too
    plan: list[tuple[Found, nn.Module]] = []
    changes: list[Change] = []
    behind: Behind | None = None
    for found in norms(model):
        change = Change(found.name, "", "")
        new = replacement(model, found, wanted, change)
        if _needs_place(found.module, new):
            behind = behind or Behind(model, kind)
            change.fitting += [
                f"takes the place of {type(activation).__name__}"
                for activation in behind.look(found)
            ]
        change.old, change.new = _text(found.module), _text(new)
        changes.append(change)
        if new is not found.module:
            plan.append((found, new))
    if behind:
        plan += [(taken, nn.Identity()) for taken in behind.taken()]
    for found, new in plan:
        hand_on_hooks(found.module, new)
        new.training = found.module.training
    if not dry_run:
        _exchange(model, plan, probe, kind)
    return changes


def _needs_place(old: nn.Module, new: nn.Module) -> bool:
    """Whether an activation may stand behind the old norm that the new one brings itself."""
    inside = contains_activation(old) or getattr(old, "activation", None) is not None
    return contains_activation(new) and not inside


def _exchange(
    model: nn.Module, plan: list[tuple[Found, nn.Module]], probe: object, kind: str
) -> None:
    names = [place.name for found, _ in plan for place in found.places[:1]]
    before = None if probe is None else probing.run(model, probe, names, "in the model as it is")
    same = all(probing.computes(found.module) == probing.computes(new) for found, new in plan)
    for found, new in plan:
        for place in found.places:
            place.parent._modules[place.attribute] = new
    if before is None:
        return
    try:
        after = probing.run(model, probe, names, f"with norm '{kind}'")
        probing.compare(before, after, same=same, kind=kind)
    except BaseException:
        for found, _ in plan:
            for place in found.places:
                place.parent._modules[place.attribute] = found.module
        raise


def _text(module: nn.Module) -> str:
    extra = module.extra_repr()
    return f"{type(module).__name__}({extra})"

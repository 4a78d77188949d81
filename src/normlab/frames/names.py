"""Arms and sides of claims in words that need no study file: "BatchNorm at batch size 64"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from normlab.arms import level_text
from normlab.recipe import value_text
from normlab.recipe.norms import NORMS
from normlab.records.plan import ArmRecord, PlanRecord

_KEYS = {
    "agc.clip": "AGC clip {}",
    "batch_size": "batch size {}",
    "dropout.p": "dropout {}",
    "dropout.slots": "{} dropout layers",
    "epochs": "{} epochs",
    "lr": "learning rate {}",
    "l1": "L1 {}",
    "l2": "L2 {}",
    "model.norm_slots": "{} norm layers",
    "norm.splits": "{} splits",
}
"""How a factor's level is said; others by their key."""
_NONE = {"l1": "no L1", "l2": "no L2", "dropout.p": "no dropout", "agc": "no AGC"}
"""How a level is said that turns something off."""


class SideNames(NamedTuple):
    """The sides of a claim in words.

    Attributes:
        sides: Each by what tells it from the others.
        place: What all of them share, as " at batch size 64"; empty for nothing.
    """

    sides: tuple[str, ...]
    place: str


def arm_words(plan: PlanRecord, arm: ArmRecord) -> str:
    """An arm in words: the label that its author wrote, or the levels that make it."""
    return arm.label if _is_written(plan, arm) else _levels_words(plan, arm.levels)


def side_names(plan: PlanRecord, sides: Sequence[Sequence[str]]) -> SideNames:
    """A claim's sides in words: what they share is said once, behind them."""
    arms = plan.arm
    within = [[arms[label] for label in side] for side in sides]
    every = [arm for side in within for arm in side]
    if any(_is_written(plan, arm) for arm in every):
        return SideNames(tuple(_mean_of([arm.label for arm in side]) for side in within), "")
    shared = _common(every) if len(within) > 1 else {}
    told = {key: level for key, level in shared.items() if _varies(plan, key)}
    words = []
    for side in within:
        own = {k: v for k, v in _common(side).items() if k not in shared}
        if not own:
            words.append(_mean_of([arm_words(plan, arm) for arm in side]))
            continue
        rest = {key for arm in side for key in arm.levels} - set(own) - set(shared)
        wanted = {**shared, **own}
        alike = [arm for arm in plan.arms if _has(arm, wanted)]
        if len(alike) == len(side):
            words.append(_levels_words(plan, own) + (" on average" if rest else ""))
            continue
        # Other arms have these levels too: what is a mean over some of them says which.
        apart = [{k: v for k, v in arm.levels.items() if k not in wanted} for arm in side]
        mean = _mean_of([_levels_words(plan, levels) for levels in apart])
        words.append(f"{mean} at {_levels_words(plan, own)}")
    place = f" {'with' if 'norm' in told else 'at'} {_levels_words(plan, told)}" if told else ""
    return SideNames(tuple(words), place)


def _is_written(plan: PlanRecord, arm: ArmRecord) -> bool:
    """Whether the author of the study wrote the label: those of a grid are made of levels."""
    parts = [f"{key}={level_text(v, _levels(plan, key))}" for key, v in arm.levels.items()]
    single = [level_text(v, _levels(plan, key)) for key, v in arm.levels.items()]
    made = [", ".join(parts), *(single if len(single) == 1 else [])]
    return not arm.levels or arm.label not in made


def _has(arm: ArmRecord, levels: Mapping[str, object]) -> bool:
    return all(key in arm.levels and arm.levels[key] == v for key, v in levels.items())


def _levels(plan: PlanRecord, key: str) -> Sequence[object]:
    return plan.levels.get(key, ())


def _varies(plan: PlanRecord, key: str) -> bool:
    return len(_levels(plan, key)) > 1


def _common(arms: Sequence[ArmRecord]) -> dict[str, object]:
    """The levels that all of the arms have alike."""
    first, *others = arms
    return {
        key: level
        for key, level in first.levels.items()
        if all(key in arm.levels and arm.levels[key] == level for arm in others)
    }


def _levels_words(plan: PlanRecord, levels: Mapping[str, object]) -> str:
    return ", ".join(_level_words(plan, key, level) for key, level in levels.items())


def _level_words(plan: PlanRecord, key: str, level: object) -> str:
    if key == "norm":
        return norm_words(level, among=_levels(plan, key))
    if key in _NONE and level in (0, None):
        return _NONE[key]
    words = _KEYS.get(key, f"{key} {{}}")
    one = level == 1 and words.startswith("{} ")
    return (words.removesuffix("s") if one else words).format(level_text(level, _levels(plan, key)))


def norm_words(level: object, among: Sequence[object] = ()) -> str:
    """A norm by the name that the field has for it; options where the kind alone is not enough."""
    kind = level.get("kind") if isinstance(level, Mapping) else level
    spec = NORMS.get(str(kind))
    if spec is None:
        return value_text(level)
    same = [one for one in among if (one.get("kind") if isinstance(one, Mapping) else one) == kind]
    if not isinstance(level, Mapping) or len(same) < 2:
        return spec.called
    options = ", ".join(f"{key} {value}" for key, value in level.items() if key != "kind")
    return f"{spec.called} ({options})"


def _mean_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"the mean of {', '.join(names[:-1])} and {names[-1]}"

"""Which parameters of runs are the factors of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from normlab.frames.epoch_rows import FACTS, OF_ARMS
from normlab.trackers.names import flat, may_be_seed, ours

MOST_LEVELS = 20
"""Of a factor; what has more values counts or names runs."""
_EXPORTED = "normlab."
"""Begins what an export of normlab says of a trial beside its recipe."""
_LABELS = {"arm", "group", "job_type", "label", "name"}
"""Last words of parameters that name an arm and do not say what is different in it."""


def varying_parameters(said: Sequence[Mapping[str, str]], seed: str | None) -> list[str]:
    """Parameters with several values, each in several runs where there are enough.

    Args:
        said: The parameters of each run.
        seed: The one that is the seed, where there is one.
    """
    names = dict.fromkeys(name for values in said for name in values)
    found = []
    of_seed = [values.get(seed, "") for values in said] if seed else []
    for name in names:
        if name == seed or may_be_seed(name) or name in {"state", "epoch"} or ours(name):
            continue
        if name.startswith(_EXPORTED) or flat(name) in {*FACTS, *OF_ARMS}:
            continue  # of a trial or its model, and no part of a recipe
        texts = [values.get(name, "") for values in said]
        if not 1 < len(set(texts)) <= MOST_LEVELS or len(set(texts)) == len(texts) > 2:
            continue
        if of_seed and len(set(zip(texts, of_seed, strict=True))) == len(set(of_seed)):
            continue  # another name of the seed
        found.append(name)
    return found


def telling_parameters(names: Sequence[str], said: Sequence[Mapping[str, str]]) -> list[str]:
    """Of parameters those that make the arms: none that another one of them tells.

    A tracker has the same thing under several names: a component and its keys (`norm`,
    `norm.kind`), the label of an arm, a count that follows from the model. The arms are the same
    without them. What only several others tell together stays: in a fractional design nobody knows
    which of them was meant to follow.

    Args:
        names: Parameters that vary.
        said: The parameters of each run.
    """
    # Of the many runs of an arm one says it all.
    arms = dict.fromkeys(tuple(values.get(name, "") for name in names) for values in said)
    texts = dict(zip(names, zip(*arms, strict=True), strict=True))

    def tells(others: Iterable[str], name: str) -> bool:
        """Whether runs that have the same in `others` have the same in `name`."""
        found: dict[tuple[str, ...], str] = {}
        alike = zip(*(texts[other] for other in others), strict=True)
        return all(
            found.setdefault(cells, text) == text
            for cells, text in zip(alike, texts[name], strict=True)
        )

    def tells_alone(one: str, name: str) -> bool:
        return all(texts[one]) and tells([one], name)  # what is unset tells a reader nothing

    def is_part_or_copy(name: str, others: list[str]) -> bool:
        return any(
            tells_alone(one, name) and (name.startswith(f"{one}.") or tells_alone(name, one))
            for one in others
        )

    def is_label(name: str, others: list[str]) -> bool:
        return tells(others, name) and all(tells_alone(name, one) for one in others)

    def follows(name: str, others: list[str]) -> bool:
        return any(tells_alone(one, name) for one in others)

    left = list(names)
    for is_needless in (is_part_or_copy, is_label, follows):
        left = _without(left, is_needless)
    return left


def _without(names: Sequence[str], is_needless: Callable[[str, list[str]], bool]) -> list[str]:
    """Names but those that the others make needless, labels and parts of components first."""

    def least_wanted(name: str) -> tuple[bool, int, int, int]:
        is_label = flat(name.rpartition(".")[2]) in _LABELS
        return is_label, name.count("."), len(name), names.index(name)

    left = list(names)
    for name in sorted(names, key=least_wanted, reverse=True):
        others = [one for one in left if one != name]
        if others and is_needless(name, others):
            left = others
    return left

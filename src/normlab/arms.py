"""Arms by their labels and levels, and how claims, figures and constraints pick them.

A selector is an arm's label, or factors with the levels wanted (``{norm: batch}``,
``{norm: [batch, layer]}``). One that fits several arms means all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Annotated

from pydantic import BeforeValidator

from normlab.errors import UserError, listing, unknown
from normlab.recipe import value_text
from normlab.recipe.component import Component, listed

_SHOWN = 4  # arms in a message; `plan` lists them all


def _selects(value: object) -> object:
    if not isinstance(value, str | dict):
        text = "an arm's label or levels, {factor: level}, are needed"
        raise ValueError(text)  # noqa: TRY004 (pydantic's word for a value that it refuses)
    return value


def one_or_several(value: object) -> object:
    """A validator that reads one as a list of one, and refuses an empty list."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError("leave it out, or name at least one")
    return (value,) if isinstance(value, str | dict | Component) else listed(value)


Selector = Annotated[str | dict[str, object], BeforeValidator(_selects)]
Selectors = Annotated[tuple[Selector, ...], BeforeValidator(one_or_several)]


def _selects_side(value: object) -> object:
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("a list of arms names at least one")
        found = tuple(_selects(one) for one in value)
        return found if len(found) > 1 else found[0]
    return _selects(value)


SideSelector = Annotated[
    str | dict[str, object] | tuple[str | dict[str, object], ...], BeforeValidator(_selects_side)
]
"""What picks a side of a claim: a selector, or a list of them for the mean over all they fit."""


class Arms:
    """The arms of a plan, to pick from.

    Args:
        levels: Every arm's levels by its label, in the plan's order.
        strict: Whether each of several levels wanted must be there: a variant may lack some.
        fixed: Factors that a variant has at one level in every arm. A selector may name them: it
            fits where it wants that level.
    """

    def __init__(
        self,
        levels: Mapping[str, Mapping[str, object]],
        *,
        strict: bool = True,
        fixed: Mapping[str, object] | None = None,
    ) -> None:
        self.levels, self.strict, self.fixed = levels, strict, dict(fixed or {})

    def __iter__(self) -> Iterator[str]:
        return iter(self.levels)

    def pick(self, selector: str | Mapping[str, object]) -> tuple[str, ...]:
        """Labels of the arms that a selector fits, in the plan's order.

        Raises:
            UserError: No such label, no arm with such a factor or level, or no arm that fits.
        """
        if isinstance(selector, str):
            if selector not in self.levels:
                raise UserError(unknown("arm", selector, self.levels))
            return (selector,)
        if not selector:
            raise UserError("{} picks every arm: name levels, or an arm's label")
        free = {key: wanted for key, wanted in selector.items() if key not in self.fixed}
        for key, wanted in selector.items():
            if key in free:
                self._check_levels(key, wanted)
            elif not _fits(self.fixed, {key: wanted}):
                fixed = value_text(self.fixed[key])
                raise UserError(f"{key} is set to {fixed}, and {value_text(wanted)} is needed")
        found = tuple(label for label, levels in self.levels.items() if _fits(levels, free))
        if not found:
            shown = [*self][:_SHOWN] + (["..."] if len(self.levels) > _SHOWN else [])
            raise UserError(f"no arm has {value_text(selector)}; the arms are: {listing(shown)}")
        return found

    def pick_side(
        self, selector: str | Mapping[str, object] | Sequence[str | Mapping[str, object]]
    ) -> tuple[str, ...]:
        """Labels of the arms of a claim's side: of one selector, or of several together."""
        if isinstance(selector, str | Mapping):
            return self.pick(selector)
        return self.pick_any(selector)

    def within(self, levels: Mapping[str, object]) -> Arms:
        """The arms that have these levels, to pick from.

        Raises:
            UserError: No such factor or level, or no arm has them.
        """
        labels = self.pick(levels) if levels else tuple(self)
        return Arms(
            {label: self.levels[label] for label in labels}, strict=self.strict, fixed=self.fixed
        )

    def pick_any(self, selectors: Iterable[str | Mapping[str, object]] | None) -> tuple[str, ...]:
        """Labels that any of the selectors fits, in the plan's order; of None all."""
        if selectors is None:
            return tuple(self)
        picked = {label for one in selectors for label in self.pick(one)}
        return tuple(label for label in self if label in picked)

    def pick_one(self, selector: str | Mapping[str, object]) -> str:
        """The one arm that a selector fits.

        Raises:
            UserError: It fits none, or several.
        """
        found = Arms(self.levels, strict=False, fixed=self.fixed).pick(selector)
        if len(found) > 1:
            text = f"{value_text(selector)} fits {len(found)}: {listing(found)}"
            raise UserError(f"one arm is needed, and {text}")
        return found[0]

    def levels_of(self, factor: str, within: Mapping[str, object]) -> list[object]:
        """The different levels of a factor in the arms that have the levels `within`.

        Raises:
            UserError: No such factor or level.
        """
        arms = self.within(within).levels if within else self.levels
        if factor not in self.factors:
            raise self.no_factor(factor)
        found: list[object] = []
        for levels in arms.values():
            if factor in levels and levels[factor] not in found:
                found.append(levels[factor])
        return found

    def combinations(self, factors: Sequence[str]) -> list[dict[str, object]]:
        """The different levels of these factors that arms have together, in the plan's order.

        Raises:
            UserError: No such factor.
        """
        for factor in factors:
            if factor not in self.factors:
                raise self.no_factor(factor)
        found: list[dict[str, object]] = []
        for levels in self.levels.values():
            if factors and all(factor in levels for factor in factors):
                cell = {factor: levels[factor] for factor in factors}
                if cell not in found:
                    found.append(cell)
        return found

    @property
    def factors(self) -> tuple[str, ...]:
        """Every key that some arm has a level of."""
        return tuple(dict.fromkeys(key for levels in self.levels.values() for key in levels))

    def no_factor(self, key: str) -> UserError:
        """What to raise where a key is none of the factors."""
        if key in self.fixed:
            return UserError(f"{key} is set to {value_text(self.fixed[key])} in every arm")
        return UserError(unknown("factor", key, self.factors))

    def _check_levels(self, key: str, wanted: object) -> None:
        """A factor's name, and in a list of levels each of them, is one that arms have."""
        if key not in self.factors:
            raise self.no_factor(key)
        there = [levels[key] for levels in self.levels.values() if key in levels]
        if (
            not self.strict
            or not isinstance(wanted, list | tuple)
            or any(is_level(level, wanted) for level in there)
        ):
            return
        for one in wanted:
            if not any(is_level(level, one) for level in there):
                texts = dict.fromkeys(value_text(level) for level in there)
                raise UserError(f"{key} has no level {value_text(one)}; it has {', '.join(texts)}")


def selector_text(
    selector: str | Mapping[str, object] | Sequence[str | Mapping[str, object]],
) -> str:
    """A selector in words."""
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, Mapping):
        return " and ".join(map(selector_text, selector))
    return " ".join(f"{key}={value_text(value)}" for key, value in selector.items())


def is_level(level: object, wanted: object) -> bool:
    """Whether a factor's level is the one wanted; a bare name means every level of that kind."""
    kind = level.get("kind") if isinstance(level, Mapping) else None
    numbers = is_number(level) and is_number(wanted)
    same = (numbers or type(level) is type(wanted)) and level == wanted
    return same or (isinstance(wanted, str) and kind == wanted)


def is_number(level: object) -> bool:
    """Whether a level is a number; a truth value is none."""
    return isinstance(level, Real) and not isinstance(level, bool)


def level_text(level: object, among: Sequence[object]) -> str:
    """A level in few words: the kind alone where that tells it from the factor's other levels."""
    if not isinstance(level, Mapping):
        return value_text(level)
    kind = str(level.get("kind", ""))
    same_kind = [v for v in among if is_level(v, kind)]
    options = ", ".join(f"{key}={option}" for key, option in level.items() if key != "kind")
    if kind and len(same_kind) == 1:
        return kind
    return f"{kind}({options})"


def _fits(levels: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    return all(
        key in levels
        and (
            is_level(levels[key], value)
            or (
                isinstance(value, list | tuple) and any(is_level(levels[key], one) for one in value)
            )
        )
        for key, value in wanted.items()
    )

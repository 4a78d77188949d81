"""The study: a base recipe, factors and seeds, as written in a study file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from normlab.recipe import Seed, Spec
from normlab.study.files import find, read

Levels = Annotated[list[Any], Field(min_length=1)]
Values = dict[str, Any]
"""Recipe keys, dotted where they go into a component, and their values."""


def _count_to_list(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return list(range(value)) if is_count else value


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds) or not seeds:
        raise ValueError("a number of seeds above 0 or a list of different seeds")
    return seeds


Seeds = Annotated[
    tuple[Seed, ...],
    Field(strict=False),
    BeforeValidator(_count_to_list),
    AfterValidator(_distinct),
]
"""A number of seeds n, which stands for 0 to n - 1, or a list of them."""


class ArmSpec(Spec):
    """An arm written out instead of being a cell of the grid."""

    title: ClassVar[str] = "an arm"
    label: Annotated[str, Field(min_length=1)]
    set: Values = {}


class Constraint(Spec):
    """Cells that the grid leaves out, or a factor that exists only within levels of another.

    Either ``exclude: {norm: batch, batch_size: 1}``: cells that match every key are left out; or
    ``nest: dropout.p`` with ``within: {model.dropout_slots: [1, 2]}``: outside of these levels
    the factor `dropout.p` does not vary and stays as the base recipe has it. A list of levels
    matches any of them.
    """

    title: ClassVar[str] = "a constraint"
    exclude: Values = {}
    nest: str | None = None
    within: Values = {}

    def matches(self, levels: Mapping[str, Any]) -> bool:
        """Whether a cell of the grid has the levels of `exclude` or `within`."""
        wanted = self.exclude or self.within
        return all(
            levels[key] == value or (isinstance(value, list) and levels[key] in value)
            for key, value in wanted.items()
        )


class Quick(Spec):
    """What `--quick` changes: fewer seeds, other recipe values, fewer levels of a factor."""

    title: ClassVar[str] = "quick"
    seeds: Seeds | None = None
    set: Values = {}
    factors: dict[str, Levels] = {}


class Study(Spec):
    """A base recipe, factors that vary over it, and seeds."""

    title: ClassVar[str] = "a study"

    name: str
    question: Annotated[str, Field(min_length=1)]
    base: Values
    factors: dict[str, Levels] = {}
    arms: list[ArmSpec] = []
    constraints: list[Constraint] = []
    seeds: Seeds
    quick: Quick = Quick()
    claims: list[Any] = []
    published: list[Any] = []
    figures: list[Any] = []
    overrides: Values = {}
    """Recipe values that hold in every arm, whatever base, factors and arms say."""

    @field_validator("claims", "published", "figures")
    @classmethod
    def _not_yet(cls, value: list[Any]) -> list[Any]:
        if value:
            raise ValueError("this version of normlab cannot do this yet: leave it empty")
        return value

    @field_validator("constraints")
    @classmethod
    def _one_kind(cls, constraints: list[Constraint]) -> list[Constraint]:
        for constraint in constraints:
            if bool(constraint.exclude) == bool(constraint.nest and constraint.within):
                raise ValueError("a constraint is either 'exclude' or 'nest' with 'within'")
        return constraints

    @classmethod
    def load(cls, reference: str | Path) -> Self:
        """The study of that bundled name or file; its name is the file's.

        Raises:
            UserError: No such study, or a mistake in the file.
        """
        path = find(reference)
        return cls.parse({**read(path), "name": path.stem}, where=path.name)

    def vary(
        self,
        *,
        quick: bool = False,
        overrides: Mapping[str, Any] | None = None,
        seeds: int | None = None,
    ) -> Self:
        """This study as the options of a run change it.

        Args:
            quick: Apply the study's quick variant.
            overrides: Recipe values for every arm; a factor among them no longer varies.
            seeds: Use seeds 0 to seeds - 1.

        Raises:
            UserError: No valid number of seeds.
        """
        changed: dict[str, Any] = self.model_dump()
        if quick:
            changed["overrides"] = {**changed["overrides"], **self.quick.set}
            changed["factors"] = {**changed["factors"], **self.quick.factors}
            changed["seeds"] = self.quick.seeds or self.seeds
        if overrides:
            changed["overrides"] = {**changed["overrides"], **overrides}
            changed["factors"] = {
                key: levels for key, levels in changed["factors"].items() if key not in overrides
            }
        if seeds is not None:
            changed["seeds"] = seeds
        return type(self).parse(changed, where=self.name)

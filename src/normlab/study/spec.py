"""The study: a base recipe, factors and seeds, as written in a study file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
)

from normlab.arms import is_level
from normlab.errors import UserError, unknown
from normlab.figures import FIGURES, Figure
from normlab.recipe import Seed, Spec, value_text
from normlab.recipe.component import chosen_from
from normlab.study.analysis import Analysis, ClaimSpec
from normlab.study.files import bundled, content_of, find, read_text
from normlab.study.published import Published, PublishedSpec
from normlab.study.ranges import Range, read_factor
from normlab.study.trust import digest_of, modules_named, packages, require
from normlab.text import one_form


def _different(levels: list[object]) -> list[object]:
    """Levels of a factor, each there once: a level twice is a slip for another."""
    texts = [json.dumps(level, sort_keys=True, default=str) for level in levels]
    for level, text in zip(levels, texts, strict=True):
        if texts.count(text) > 1:
            raise ValueError(
                f"the level {value_text(level)} is there twice: is one of them a slip?"
            )
    return levels


def _factor(value: object) -> list[object] | Range:
    found = read_factor(value)
    return found if isinstance(found, Range) else _different(found)


Factor = Annotated[
    list[object] | Range,
    PlainValidator(_factor),
    PlainSerializer(lambda value: value, return_type=object),
]
"""Levels of a factor, written out or drawn from a range."""
FigureSpec = Annotated[SerializeAsAny[Figure], BeforeValidator(chosen_from(FIGURES))]
"""A figure as a study file has it, by its kind."""

Values = dict[str, object]
"""Recipe keys, dotted where they go into a component, and their values."""


_MOST_SEEDS = 100_000


def _as_seeds(value: object, info: ValidationInfo) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_SEEDS:
        first: int = info.data.get("first_seed", 0)
        return tuple(range(first, first + value))
    if isinstance(value, list | tuple) and value and len(set(map(str, value))) == len(value):
        return tuple(value)
    raise ValueError(f"a number of seeds from 1 to {_MOST_SEEDS} or a list of different seeds")


Seeds = Annotated[
    tuple[Seed, ...],
    BeforeValidator(_as_seeds),
]
"""A number of seeds n, which stands for n from the study's `first_seed` on, or a list of them."""


_NAME = re.compile(r"\w[\w .+-]*")
_LONGEST_NAME = 200  # bytes: a folder's, and a file's with an ending


def as_name(name: str) -> str:
    """A study's name, in the composed form of its accents (NFC), fit for a folder."""
    name = one_form(name)
    if not _NAME.fullmatch(name) or len(name.encode()) > _LONGEST_NAME:
        raise ValueError(
            "a study's name is its folder's: up to 200 letters, digits, blanks and . + - _ , the "
            "first of them a letter, digit or _"
        )
    return name


def check_name(path: Path) -> None:
    """Refuse a study file whose name cannot be that of its folder under `runs`.

    Raises:
        UserError: The message has a name that could.
    """
    try:
        as_name(path.stem)
    except ValueError as error:
        better = re.sub(r"[^\w .+-]+", " ", path.stem).strip(" .+-")[:60]
        better = re.sub(r" +", " ", better) or "study"
        raise UserError(
            f"{path.name}: {error}. Rename the file, for example to '{better}{path.suffix}'"
        ) from None


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

    @property
    def wanted(self) -> Values:
        """The levels a cell must have, of `exclude` or `within`."""
        return self.exclude or self.within

    def matches(self, levels: Mapping[str, object]) -> bool:
        """Whether a cell of the grid has the levels wanted."""
        return all(
            any(is_level(levels[key], v) for v in (value if isinstance(value, list) else [value]))
            for key, value in self.wanted.items()
        )


class Quick(Spec):
    """What `--quick` changes: fewer seeds, other recipe values, fewer levels of a factor."""

    title: ClassVar[str] = "quick"
    seeds: Seeds | None = None
    set: Values = {}
    factors: dict[str, Factor] = {}


class Study(Spec):
    """A base recipe, factors that vary over it, and seeds."""

    title: ClassVar[str] = "a study"
    internal: ClassVar[frozenset[str]] = frozenset(
        {
            "name",
            "sequential",
            "varied",
            "rehearsal",
            "file",
            "digest",
            "trusted",
            "bundled",
            "stopped",
        }
    )

    name: Annotated[str, AfterValidator(as_name)]
    """The study's file name without ending: also its folder's under `runs`."""
    question: Annotated[str, Field(min_length=1)]
    base: Values
    factors: dict[str, Factor] = {}
    arms: list[ArmSpec] = []
    constraints: list[Constraint] = []
    first_seed: Seed = 0
    """Seeds below it were seen by the author of claims that say when they were `declared`."""
    seeds: Seeds
    code: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    """Files that count as code of own data, an own model or norm beside the modules it imports."""
    quick: Quick = Quick()
    analysis: Analysis = Analysis()
    claims: list[ClaimSpec] = []
    published: PublishedSpec = Published()
    figures: list[FigureSpec] = []
    sequential: tuple[int, ...] = ()
    """Looks at which seeds are added until claims are settled; `--until-settled` sets them."""
    stopped: dict[str, tuple[Seed, ...]] = {}
    """Seeds of the arms, by label, that got no more of them: no open claim is about them."""
    varied: bool = False
    """Whether this is a variant: claims about arms that it leaves out are no mistake."""
    rehearsal: bool = False
    """Whether this is the quick variant, which answers nothing."""
    overrides: Values = {}
    """Recipe values that hold in every arm, whatever base, factors and arms say."""
    file: str | None = None
    """Where it was read from, absolute; None for a study made in Python."""
    digest: str | None = None
    """SHA-256 of the file's content."""
    bundled: bool = False
    """Whether it came with normlab, whose release declared its claims."""
    trusted: tuple[str, ...] | None = None
    """Modules that may be imported beside those of a trusted file; None for a study made in Python:
    what that names, the user's own code named. See `normlab.study.trust`."""

    @field_validator("constraints")
    @classmethod
    def _one_kind(cls, constraints: list[Constraint]) -> list[Constraint]:
        for constraint in constraints:
            if bool(constraint.exclude) == bool(constraint.nest and constraint.within):
                raise ValueError("a constraint is either 'exclude' or 'nest' with 'within'")
        return constraints

    @classmethod
    def load(cls, reference: str | Path, *, trust: Iterable[str] = ()) -> Self:
        """The study of that bundled name or file; its name is the file's.

        Args:
            reference: Bundled name, or path.
            trust: Packages that may be imported if the file names them; see
                `normlab.study.trust`.

        Raises:
            UserError: No such study, or a mistake in the file.
        """
        path = find(reference)
        text = read_text(path)
        content = content_of(text, path)
        if "name" in content:
            raise UserError(f"{path.name}: a study is named by its file: leave 'name' out")
        for key in content.keys() & cls.internal:  # how it is run, not what it is
            known = cls.model_fields.keys() - cls.internal
            raise UserError(f"{path.name}: {unknown('key of a study', key, known)}")
        check_name(path)
        internal = {
            "name": path.stem,
            "file": str(path.resolve()),
            "digest": digest_of(text),
            "trusted": packages(trust),
            "bundled": path in bundled().values(),
        }
        return cls.parse({**content, **internal}, where=path.name)

    def modules(self) -> frozenset[str]:
        """Every module of the user's that the study names, in its quick variant too."""
        levels = [
            {key: level}
            for factors in (self.factors, self.quick.factors)
            for key, values in factors.items()
            if not isinstance(values, Range)  # numbers, which name nothing
            for level in values
        ]
        sets = [arm.set for arm in self.arms]
        every = [self.base, self.overrides, self.quick.set, *sets, *levels]
        return frozenset(module for values in every for module in modules_named(values))

    def require_trust(self, modules: Iterable[str]) -> None:
        """Refuse to import what the study's file alone named.

        Raises:
            UntrustedError: One of the modules is not trusted.
        """
        require(modules, self.trusted, self.file, self.digest)

    def at_look(
        self,
        seeds: int,
        looks: tuple[int, ...],
        stopped: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Self:
        """This study with so many seeds, one of the looks at which seeds are added.

        Args:
            seeds: Of every arm that is not stopped.
            looks: All of them.
            stopped: Arms by label that keep the seeds they have.
        """
        changed = {"seeds": seeds, "sequential": looks, "stopped": dict(stopped or {})}
        return type(self).parse({**self.model_dump(), **changed}, where=self.name)

    def vary(
        self,
        *,
        quick: bool = False,
        overrides: Mapping[str, object] | None = None,
        seeds: int | None = None,
    ) -> Self:
        """This study as the options of a run change it.

        Args:
            quick: Apply the study's quick variant.
            overrides: Recipe values for every arm; a factor among them no longer varies.
            seeds: Use so many, from the study's first seed on.

        Raises:
            UserError: No valid number of seeds.
        """
        changed = self.model_dump()
        if quick:
            changed["overrides"] = {**changed["overrides"], **self.quick.set}
            changed["factors"] = {**changed["factors"], **self.quick.factors}
            changed["seeds"] = self.quick.seeds or self.seeds
        if overrides:
            changed["overrides"] = {**changed["overrides"], **overrides}
            if self.trusted is not None:  # who typed these, or wrote the script, named the code
                changed["trusted"] = (*self.trusted, *modules_named(overrides))
        if seeds is not None:
            changed["seeds"] = seeds
        changed["varied"] = self.varied or quick or bool(overrides) or seeds is not None
        changed["rehearsal"] = self.rehearsal or quick
        return type(self).parse(changed, where=self.name)

"""What reproduces a sentence that is no claim: part of a study, a model, a norm, a command, a page.

Each kind is told by its first key: ``{study: mnist-norms, figure: curves}``, ``{norm: group}``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from normlab.errors import UserError, unknown
from normlab.recipe import DATA, MODELS, NORMS, value_text
from normlab.recipe.component import Spec, listed
from normlab.sentences.bundle import Bundle

Name = Annotated[str, Field(min_length=1)]


class Shown(Spec, ABC):
    """What reproduces a sentence that is no claim."""

    key: ClassVar[str]
    """The key that only this kind has."""

    @property
    def study_name(self) -> str | None:
        """The study that it is part of, if it is."""
        return None

    @abstractmethod
    def text(self) -> str:
        """In a few words."""

    @abstractmethod
    def check(self, bundle: Bundle) -> None:
        """Refuse what is not there.

        Raises:
            UserError: The message has the nearest name.
        """


class StudyShown(Shown):
    """A bundled study, or a part of it.

    Attributes:
        study: Its name.
        figure: The name of one of its figures.
        arm: The label of one of its arms.
        set: Recipe keys with the values that at least one arm has, all of them.
        published: Columns of the source's numbers that stand beside ours.
    """

    title: ClassVar[str] = "what a study shows"
    key: ClassVar[str] = "study"
    study: Name
    figure: Name | None = None
    arm: Name | None = None
    set: dict[Name, object] = {}
    published: Annotated[tuple[Name, ...], BeforeValidator(listed)] = ()

    @property
    def study_name(self) -> str:
        """The study itself."""
        return self.study

    def text(self) -> str:
        """The study, then what of it."""
        parts = [
            self.figure and f"figure {self.figure}",
            self.arm and f"arm {self.arm}",
            _values(self.set),
            self.published and f"published {', '.join(self.published)}",
        ]
        return ", ".join([self.study, *(str(part) for part in parts if part)])

    def check(self, bundle: Bundle) -> None:
        """Its study, figure, arm, values and columns are there."""
        outline = bundle.outline(self.study)
        _among("figure", self.figure, [figure.name for figure in outline.figures], self.study)
        _among("arm", self.arm, [arm.label for arm in outline.arms], self.study)
        columns = {column for row in outline.published for column in row.values}
        for column in self.published:
            _among("column of the published numbers", column, columns, self.study)
        if not any(
            all(bundle.has_value(recipe, key, value) for key, value in self.set.items())
            for recipe in bundle.recipes(self.study)
        ):
            raise UserError(f"{self.study}: no arm has {_values(self.set)}")


class ModelShown(Shown):
    """A network, with its number of parameters under BatchNorm."""

    title: ClassVar[str] = "a model shown"
    key: ClassVar[str] = "model"
    model: Name
    parameters: int | None = None

    def text(self) -> str:
        """The command that shows it."""
        size = "" if self.parameters is None else f" ({self.parameters:,} parameters)"
        return f"normlab show model {self.model}{size}"

    def check(self, bundle: Bundle) -> None:
        """The model is in the catalog; its parameters are counted where torch is."""
        _among("model", self.model, MODELS)


class NormShown(Shown):
    """A norm of normlab's."""

    title: ClassVar[str] = "a norm shown"
    key: ClassVar[str] = "norm"
    norm: Name

    def text(self) -> str:
        """The command that checks it; its card has the formulas."""
        return f"normlab check norm {self.norm}"

    def check(self, bundle: Bundle) -> None:
        """The norm is in the catalog."""
        _among("norm", self.norm, NORMS)


class DataShown(Shown):
    """A data set of normlab's."""

    title: ClassVar[str] = "data shown"
    key: ClassVar[str] = "data"
    data: Name

    def text(self) -> str:
        """Its name."""
        return f"data {self.data}"

    def check(self, bundle: Bundle) -> None:
        """The data set is in the catalog."""
        _among("data", self.data, DATA)


class CommandShown(Shown):
    """A command, with an option."""

    title: ClassVar[str] = "a command shown"
    key: ClassVar[str] = "command"
    command: Name
    option: Name | None = None

    def text(self) -> str:
        """As it is typed."""
        return " ".join(filter(None, ["normlab", self.command, self.option]))

    def check(self, bundle: Bundle) -> None:
        """Nothing: the command line stands above this package; a test has it there."""


class PageShown(Shown):
    """A page of the documentation, which is not in the package."""

    title: ClassVar[str] = "a page shown"
    key: ClassVar[str] = "page"
    page: Name

    def text(self) -> str:
        """Its path in the repository."""
        return self.page

    def check(self, bundle: Bundle) -> None:
        """Nothing: the pages are not in the package; a test has them there."""


SHOWN: dict[str, type[Shown]] = {
    kind.key: kind
    for kind in (StudyShown, ModelShown, NormShown, DataShown, CommandShown, PageShown)
}
"""Every kind, by the key that only it has."""


def shown_from(value: object) -> object:
    """A validator: the kind that a mapping's keys tell."""
    if isinstance(value, Mapping):
        for key, kind in SHOWN.items():
            if key in value:
                return kind.model_validate(value)
    raise PydanticCustomError(
        "shown", "{message}", {"message": f"{value!r}: one of {', '.join(SHOWN)} is needed"}
    )


def _values(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value_text(value)}" for key, value in values.items())


def _among(what: str, name: str | None, known: Iterable[str], study: str = "") -> None:
    names = list(known)
    if name is not None and name not in names:
        where = f"{study}: " if study else ""
        raise UserError(f"{where}{unknown(what, name, names)}")

"""What a study's source printed: numbers by arm, and how the source measured them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from normlab.arms import Arms, Selector, one_or_several
from normlab.errors import UserError, unknown
from normlab.metrics import BEST_TEST, METRICS
from normlab.recipe.component import Spec
from normlab.records.plan import PublishedRecord
from normlab.stats.claims.keys import At, Name
from normlab.wording import counted

_JUDGED_AT: TypeAdapter[int | str] = TypeAdapter(At)


def _epoch(value: object) -> object:
    """An epoch as claims name it, or `best_test`, which no claim may have."""
    if value is None or value == BEST_TEST:
        return value
    try:
        return _JUDGED_AT.validate_python(value)
    except ValidationError as error:
        said = str(error.errors()[0].get("ctx", {}).get("error", error))
        raise ValueError(f"{said}; or {BEST_TEST}, if the source took the best epoch") from None


SourceAt = Annotated[int | str | None, BeforeValidator(_epoch)]
Divisors = dict[str, Annotated[float, Field(gt=0)]]


class Measured(Spec):
    """How a source measured what it printed.

    Attributes:
        source: Where it is printed: "Source C, its table of seven arms".
        at: The epoch that the source took; left out, the study's `analysis.at`. `best_test` is the
            epoch at which each number was best: biased on test images, shown and never judged.
        split: Whose accuracy a published time (`seconds_to_0.87`) is until.
        divided_by: Metric -> what the source divided it by before it printed it: a loss that was
            divided by the batch size once too often.
    """

    source: Name | None = None
    at: SourceAt = None
    split: Literal["validation", "train"] | None = None
    divided_by: Divisors = {}

    @field_validator("divided_by")
    @classmethod
    def _of_metrics(cls, value: Divisors) -> Divisors:
        for name in value:
            if name not in METRICS:
                raise ValueError(unknown("metric", name, METRICS))
            if METRICS[name].points:
                raise ValueError(f"{name} is in percent: what is divided is a loss or a time")
        return value


class PublishedRow(Measured):
    """Numbers that the source printed for an arm, shown beside ours.

    Attributes:
        arm: Which.
        run: What tells this row from others of the same arm, in words.
        values: Metric or column of the source -> what it printed; accuracies in percent.
        note: What a reader of the numbers must know.
    """

    title: ClassVar[str] = "a published row"
    arm: Selector
    run: Name | None = None
    values: Annotated[dict[str, float | str], Field(min_length=1)]
    note: Name | None = None

    @field_validator("values")
    @classmethod
    def _as_printed(cls, values: dict[str, float | str]) -> dict[str, float | str]:
        for name, value in values.items():
            if name not in METRICS:
                # A column of the source's own may have any name, but hardly one letter off.
                if difflib.get_close_matches(name, METRICS, n=1, cutoff=0.9):
                    raise ValueError(unknown("metric", name, METRICS))
            elif isinstance(value, int | float) and not METRICS[name].signed:
                if METRICS[name].points and (0 < value < 1 or not 0 <= value <= 100):
                    raise ValueError(f"{name} is {value:g}: percent, 0 to 100, is needed")
                if value < 0:
                    raise ValueError(f"{name} is {value:g}: at least 0 is needed")
        return values

    @model_validator(mode="after")
    def _divides_what_is_there(self) -> Self:
        for name in self.divided_by:
            if name not in self.values:
                raise ValueError(f"divided_by has '{name}', which is none of the values")
        return self


def _as_mapping(value: object) -> object:
    """A bare list is the rows."""
    return {"rows": value} if isinstance(value, list | tuple) else value


def _notes(value: object) -> object:
    return () if value in ((), []) else one_or_several(value)


class Published(Measured):
    """Everything that the source printed for a study's arms; what is said here holds for all rows.

    Attributes:
        rows: The numbers.
        note: What a reader of the table must know: a sentence or several.
    """

    title: ClassVar[str] = "published"
    rows: list[PublishedRow] = []
    note: Annotated[tuple[Name, ...], BeforeValidator(_notes)] = ()

    @model_validator(mode="after")
    def _divides_what_is_printed(self) -> Self:
        printed = {name for row in self.rows for name in row.values}
        for name in self.divided_by:
            if name not in printed:
                raise ValueError(f"divided_by has '{name}', which no row prints")
        return self

    def records(self, arms: Arms) -> Iterator[PublishedRecord]:
        """Every row with the labels of its arms, in our units; a variant may lack some.

        Raises:
            UserError: A row is about arms that are not there.
        """
        for row in self.rows:
            try:
                labels = arms.pick(row.arm)
            except UserError as error:
                if arms.strict:
                    raise UserError(f"published: {error}") from None
                continue
            divided = {**self.divided_by, **row.divided_by}
            printed = {
                name: value
                for name, value in row.values.items()
                if name in divided and not isinstance(value, str)
            }
            # The product's last bits are noise.
            ours = {name: round(value * divided[name], 10) for name, value in printed.items()}
            yield PublishedRecord(
                arms=labels,
                run=row.run,
                values={**row.values, **ours},
                printed=printed,
                divided_by={name: divided[name] for name in printed},
                at=self.at if row.at is None else row.at,
                split=row.split or self.split,
                source=row.source or self.source,
                note=row.note,
            )

    def notes(self, shown: int) -> tuple[str, ...]:
        """What a reader must know, of so many rows whose arms a variant has."""
        lacking = len(self.rows) - shown
        if not lacking:
            return self.note
        rows = counted(len(self.rows), "published row")
        return (*self.note, f"This variant leaves out the arms of {lacking} of {rows}")


PublishedSpec = Annotated[Published, BeforeValidator(_as_mapping)]
"""`published` as a study file has it: a list of rows, or a mapping with what holds for all."""

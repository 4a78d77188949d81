"""What every model of a recipe or study file shares: frozen, strict, and helpful when wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from normlab.errors import UserError, nearest, unknown


class Spec(BaseModel):
    """A frozen model that refuses unknown keys and names the nearest valid one.

    Strict: a string is no number and a truth value is no integer, so that a slip in a YAML
    file is refused instead of turned into something else.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    title: ClassVar[str] = "mapping"
    """What the messages call this model."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        "{message}",
                        {"message": unknown(f"key of {cls.title}", str(key), cls.model_fields)},
                    )
        return value

    @classmethod
    def parse(cls, value: Any, where: str = "") -> Self:
        """Validate plain data; a mistake becomes a `UserError` that names field and value."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise UserError(explain(error, where)) from None


class Component(Spec):
    """A part of a recipe chosen by `kind`, with the options of that kind.

    The first line of a subclass's docstring is its description in `normlab list`. The
    options have the names and defaults of the arguments of the class they configure.
    """

    kind: str

    @property
    def options(self) -> dict[str, Any]:
        """Every field but `kind`, as keyword arguments."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}

    @classmethod
    def describe(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def shorthand(field: str, *types: type) -> Callable[[Any], Any]:
    """A validator that reads a bare value of one of `types` as ``{field: value}``."""

    def expand(value: Any) -> Any:
        bare = isinstance(value, types) and not isinstance(value, bool)
        return {field: value} if bare else value

    return expand


def kinds(*specs: type[Component]) -> dict[str, type[Component]]:
    """The catalog of a component: kind -> its options, in the order given."""
    return {spec.model_fields["kind"].annotation.__args__[0]: spec for spec in specs}  # type: ignore[union-attr]


def explain(error: ValidationError, where: str = "") -> str:
    """One line per mistake: the field, the value, what is allowed, the nearest valid name."""
    lines = []
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        message = item["msg"]
        shown = True
        if item["type"] == "union_tag_invalid":
            allowed = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            message, shown = unknown("kind", str(context["tag"]), allowed), False
        elif item["type"] == "union_tag_not_found":
            message = "needs a name or a mapping with the key 'kind'"
        elif item["type"] == "missing":
            message, shown = "is required", False
        elif item["type"] == "literal_error":
            allowed = [
                tag.strip(" '") for tag in context["expected"].replace(" or ", ", ").split(",")
            ]
            guess = nearest(str(item["input"]), allowed)
            message = f"allowed: {', '.join(allowed)}" + (f" (nearest: '{guess}')" if guess else "")
        elif item["type"] in {"unknown_key", "refused"}:
            shown = False
        elif item["type"] == "value_error":
            message = str(context["error"])
            shown = not isinstance(item["input"], Mapping)
        place = ".".join(str(part) for part in (where, *_without_tags(item["loc"])) if part != "")
        value = f" is {item['input']!r}" if shown else ""
        message = message[0].lower() + message[1:]
        lines.append(f"{place}{value}: {message}" if place else message)
    return "\n".join(lines)


def _without_tags(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The path as written in the file: pydantic adds the kind after a component's key."""
    if len(location) > 1 and location[0] in _TAGGED and location[1] in _TAGGED[str(location[0])]:
        return (location[0], *location[2:])
    return location


_TAGGED: dict[str, frozenset[str]] = {}


def tagged(key: str, catalog: Mapping[str, type[Component]]) -> None:
    """Say that messages about recipe key `key` carry a kind of `catalog` in their path."""
    _TAGGED[key] = frozenset(catalog)

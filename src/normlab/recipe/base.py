"""What every model of a recipe or study file shares: frozen, strict, and helpful when wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from normlab.errors import UserError, nearest, unknown
from normlab.own import is_own, module_of, path_of


class Spec(BaseModel):
    """A frozen model that refuses unknown keys and names the nearest valid one.

    Strict: a string is not a number and a truth value is not an integer, so that a mistake in a
    YAML file is refused instead of being converted.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    title: ClassVar[str] = "mapping"
    """What the messages call this model."""
    internal: ClassVar[frozenset[str]] = frozenset()
    """Fields that no file can set; messages leave them out."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: object) -> object:
        if isinstance(value, Mapping) and cls.model_config.get("extra") != "allow":
            for key in value:
                if key in cls.model_fields:
                    continue
                written = {field.alias or name for name, field in cls.model_fields.items()}
                if key not in written:
                    message = unknown(f"key of {cls.title}", str(key), written - cls.internal)
                    raise PydanticCustomError("unknown_key", "{message}", {"message": message})
        return value

    @classmethod
    def describe(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def parse(cls, value: object, where: str = "") -> Self:
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
    def options(self) -> dict[str, object]:
        """Every field but `kind`, as keyword arguments."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}


class Own(Component):
    """A component of the user's, by import path or by the name of an entry point.

    What is given beside `kind` are the options of what stands there; that checks them.
    """

    model_config = ConfigDict(extra="allow")
    group: ClassVar[str]
    """Of the entry points whose names stand for it."""
    written: ClassVar[str] = "package.module:Class"
    """How an import path looks."""

    @classmethod
    def accepts(cls, kind: str) -> bool:
        """An import path, or the name of an entry point in the group."""
        return is_own(kind, cls.group)

    @property
    def module(self) -> str | None:
        """What the user must trust before it is imported; None for installed entry points."""
        return module_of(self.kind, self.group)

    @property
    def import_path(self) -> str:
        """As ``package.module:name``, also where an entry point's name stands for it."""
        return path_of(self.kind, self.group)

    @property
    def options(self) -> dict[str, object]:
        """Everything given that is no field."""
        return dict(self.model_extra or {})


def shorthand(field: str, *types: type) -> Callable[[object], object]:
    """A validator that reads a bare value of one of `types` as ``{field: value}``."""

    def expand(value: object) -> object:
        bare = isinstance(value, types) and not isinstance(value, bool)
        return {field: value} if bare else value

    return expand


def listed(value: object) -> object:
    """A validator that reads a list as a tuple, which is what a frozen model holds."""
    return tuple(value) if isinstance(value, list) else value


Kind = TypeVar("Kind", bound=Component)


def catalog(*specs: type[Kind]) -> dict[str, type[Kind]]:
    """The catalog of a component: kind -> its options, in the order given."""
    return {get_args(spec.model_fields["kind"].annotation)[0]: spec for spec in specs}


def chosen_from(
    kinds: Mapping[str, type[Component]], own: type[Own] | None = None
) -> Callable[[object, ValidationInfo], object]:
    """A validator that makes a component from a name or a mapping with `kind`.

    Args:
        kinds: The catalog.
        own: Takes kinds that are an import path (``package.module:Class``), if those are allowed.
    """

    def choose(value: object, info: ValidationInfo) -> Component:
        if isinstance(value, Component):
            return value
        values = {"kind": value} if isinstance(value, str) else value
        if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
            raise _refused(
                f"{info.field_name} is {value!r}: needs a name or a mapping with the key 'kind'"
            )
        kind = values["kind"]
        spec = kinds.get(kind) or (own if own and own.accepts(kind) else None)
        if spec is None and own and ":" in kind:
            raise _refused(f"{info.field_name} is '{kind}': an import path is {own.written}")
        if spec is None:
            raise _refused(f"{info.field_name}: {unknown('kind', kind, kinds)}")
        try:
            return spec.model_validate(values)
        except ValidationError as error:
            raise _refused(explain(error, str(info.field_name))) from None

    return choose


_SHAPES = {
    "tuple_type": "list",
    "list_type": "list",
    "dict_type": "mapping",
    "model_type": "mapping",
}
"""Pydantic's words for what a file's author calls otherwise."""


def _refused(message: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{message}", {"message": message})


def explain(error: ValidationError, where: str = "") -> str:
    """One line per mistake: the field, the value, what is allowed, the nearest valid name."""
    lines = []
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        message = item["msg"]
        location = item["loc"]
        shown = not isinstance(item["input"], Mapping)
        if item["type"] == "refused":
            # Made below, by a component: its lines name the field themselves, but not which of a
            # list it is.
            *_, field, index = (None, None, *location)
            named = f"{field}.{index}" if isinstance(index, int) else ""
            for line in message.splitlines():
                rest = line.removeprefix(str(field))
                text = named + rest if named and rest != line else line
                lines.append(f"{where}.{text}" if where else text)
            continue
        if item["type"] == "missing":
            message, shown = "is required", False
        elif item["type"] == "literal_error":
            allowed = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            guess = nearest(str(item["input"]), allowed)
            message = f"allowed: {', '.join(allowed)}" + (f" (nearest: '{guess}')" if guess else "")
        elif item["type"] in _SHAPES:
            message = f"a {_SHAPES[item['type']]} is needed"
        elif item["type"] == "invalid-json-value":
            message = "a number, text, truth value, list or mapping of such is needed"
        elif item["type"] == "unknown_key":
            shown = False
        elif item["type"] == "value_error":
            message = str(context["error"])
        place = ".".join(str(part) for part in (where, *location) if part != "")
        value = f" is {item['input']!r}" if shown else ""
        message = message[0].lower() + message[1:]
        lines.append(f"{place}{value}: {message}" if place else message)
    return "\n".join(lines)

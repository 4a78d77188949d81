"""The page of the public API has every name, argument, option and exit code that there is."""

import dataclasses
import inspect
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tests.commands import COMMANDS

import normlab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "public-api.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
NAMES = [name for name in normlab.__all__ if name != "__version__"]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(normlab, name))]
EVENTS = [
    name
    for name in normlab.events.__all__
    if inspect.isclass(getattr(normlab.events, name)) and name != "TrialEvent"
]
CLASSES = {name: getattr(normlab, name) for name in NAMES if name not in FUNCTIONS}
CLASSES |= {f"events.{name}": getattr(normlab.events, name) for name in EVENTS}


def rows(section: str) -> list[list[str]]:
    """The first two cells of a section's rows, without marks, and whether the third says a thing."""
    found = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in table(section)]
    assert all(len(cells[-1]) > 3 for cells in found)
    return [[cell.strip("`").replace("\\|", "|") for cell in cells[:-1]] for cells in found]


def table(section: str) -> list[str]:
    return [line for line in SECTIONS[section].splitlines() if line.startswith("| `")]


def written(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def argument(given: inspect.Parameter) -> list[str]:
    if given.kind is given.VAR_KEYWORD:
        return [f"**{given.name}", "none"]
    return [given.name, written(given.default)]


def signature(name: str) -> str:
    function = getattr(normlab, name)
    words: list[str] = []
    for given in inspect.signature(function).parameters.values():
        if given.kind is given.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        label, default = argument(given)
        words.append(label if default in {"required", "none"} else f"{label}={default}")
    return f"{name}({', '.join(words)}) -> {function.__annotations__['return']}"


def members(kind: type) -> set[str]:
    """Fields, properties and methods of a class of normlab's that it shows."""
    found = {field.name for field in dataclasses.fields(kind)} if is_plain(kind) else set()
    for base in kind.__mro__:
        if base is not kind and not is_plain(base):
            continue
        for name, value in vars(base).items():
            if isinstance(value, property | cached_property):
                found.add(name)
            elif isinstance(value, classmethod | staticmethod) or inspect.isfunction(value):
                found.add(f"{name}()")
    return {name for name in found if not name.startswith("_")}


def is_plain(kind: type) -> bool:
    return dataclasses.is_dataclass(kind)


def option(given: Any) -> list[str]:
    is_argument = given.param_type_name == "argument"
    words = [given.metavar] if is_argument else [given.opts[0], given.metavar]
    default = "none" if given.default in (None, False) else str(given.default)
    return [" ".join(filter(None, words)), "required" if given.required else default]


def test_the_page_has_every_name_and_command_and_no_other() -> None:
    expected = {f"normlab.{name}" for name in (*FUNCTIONS, *CLASSES)}
    assert set(SECTIONS) == expected | {f"normlab {name}" for name in COMMANDS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_line_for_each_argument(name: str) -> None:
    section = f"normlab.{name}"
    assert f"```\n{signature(name)}\n```" in SECTIONS[section]
    given = inspect.signature(getattr(normlab, name)).parameters.values()
    assert rows(section) == [argument(each) for each in given]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_a_line_for_each_member(name: str) -> None:
    assert {cells[0] for cells in rows(f"normlab.{name}")} == members(CLASSES[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_line_for_each_option(name: str) -> None:
    assert rows(f"normlab {name}") == [option(each) for each in COMMANDS[name].params]


def test_the_exit_codes_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (codes,) = re.findall(r"^\| exit code \|.*?(?=\n\n)", readme, re.M | re.S)
    assert codes in PAGE
    assert re.findall(r"^\| ([\d, ]+) \|", codes, re.M) == ["0", "1", "2", "3", "130, 143, 129"]

"""The published schemas: those of the models, and never one key fewer."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.scripts import script

from normlab.cli.outputs import OUTPUTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "json.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def schemas() -> ModuleType:
    return script(DOCS / "schemas.py")


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_schema_is_that_of_the_model_and_the_page_leads_to_it(
    schemas: ModuleType, command: str
) -> None:
    path = schemas.path_of(command)
    schema = schemas.schema_of(command)
    assert json.loads(path.read_text(encoding="utf-8")) == schema, "python docs/schemas.py"
    link, says = f"[{path.name}](schemas/{path.name})", schema["description"]
    assert f"| `normlab {command}` | {link} | {says} |\n" in PAGE


def test_the_keys_that_the_page_speaks_of_are_there(schemas: ModuleType) -> None:
    rows = re.findall(r"^\| .+\? \| (.+) \| (.+) \|$", PAGE, re.M)
    assert len(rows) > 5
    for commands, words in rows:
        known: set[str] = set()
        for command in re.findall(r"`(.+?)`", commands):
            known |= {key.split(".")[-1] for key in schemas.keys(schemas.schema_of(command))}
        named = re.findall(r"`(.+?)`", words)
        assert named
        for name in named:
            assert set(name.replace("[]", "").strip(".").split(".")) <= known, name


def test_the_page_has_every_exit_code() -> None:
    _, _, table = PAGE.partition("<!-- exit codes -->\n")
    codes = re.findall(r"^\| ([\d, ]+) \|", table.partition("\n\n")[0], re.M)
    assert sorted(set(", ".join(codes).split(", ")), key=int) == "0 1 2 3 129 130 143".split()


def test_the_page_s_commands_run_one_after_the_other(normlab_command: Any) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines():
        name, *words = line.partition("#")[0].split()
        code, out, _ = normlab_command(*words)
        assert (name, code) == ("normlab", 3 if "--check" in words else 0)
        assert json.loads(out)["format"] == 1


def test_there_is_no_schema_without_a_command(schemas: ModuleType) -> None:
    assert set(schemas.FOLDER.iterdir()) == {schemas.path_of(command) for command in OUTPUTS}


def test_a_key_that_would_go_is_named(schemas: ModuleType) -> None:
    def made(**properties: Any) -> dict[str, Any]:
        return {
            "properties": {"format": {"const": 1}, **properties},
            "$defs": {"Part": {"properties": {"seed": {}}}},
        }

    before = made(name={}, kind={})
    assert schemas.gone(before, made(name={}, kind={}, more={})) == []
    assert schemas.gone(before, made(name={}, sort={})) == [".kind"]
    assert schemas.gone(before, {"properties": before["properties"]}) == ["Part.seed"]
    before["properties"]["format"]["const"] = 0
    assert schemas.gone(before, made()) == []


def test_the_writer_writes_nothing_where_a_key_would_go(
    schemas: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(schemas, "FOLDER", tmp_path)
    assert schemas.main() == 0
    path = tmp_path / "verify.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    known["properties"]["bytes"] = {}
    path.write_text(json.dumps(known), encoding="utf-8")
    assert schemas.main() == 1
    assert "verify: bytes" in capsys.readouterr().out
    assert json.loads(path.read_text(encoding="utf-8")) == known

"""The published schemas: those of the models, and never one key fewer."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from normlab.cli.outputs import OUTPUTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "json.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def schemas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schemas", DOCS / "schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_schema_is_that_of_the_model_and_the_page_leads_to_it(
    schemas: ModuleType, command: str
) -> None:
    path = schemas.path_of(command)
    assert path.read_text(encoding="utf-8") == schemas.text_of(command), "python docs/schemas.py"
    assert f"| `normlab {command}` | [{path.name}](schemas/{path.name}) |" in PAGE


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

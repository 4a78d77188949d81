"""The page on augmentation shows what there is, and what it shows runs."""

import re
from pathlib import Path

import pytest

from normlab.recipe.augment import AUGMENTATIONS
from normlab.study.files import parse_yaml
from tests.augment.test_specs import read

PAGE = (Path(__file__).parents[2] / "docs" / "augment.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return str(found)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_every_kind_has_a_row_with_its_options_and_defaults(kind: str) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{kind}` |"))
    for name, field in AUGMENTATIONS[kind].model_fields.items():
        if name == "kind":
            continue
        assert f"`{name}`" in row
        if isinstance(field.default, float | int):
            assert f"({field.default:g})" in row


def test_its_recipe_can_be_read() -> None:
    found = read(parse_yaml(block("yaml"))["augment"]).augment
    assert [spec.kind for spec in found] == ["rotation", "affine", "brightness", "contrast"]


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block("python"), "augment.md", "exec"), {"__name__": "page"})
    hidden = float(capsys.readouterr().out.split()[-1])
    assert hidden == pytest.approx(0.191, abs=0.03)

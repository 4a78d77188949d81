"""The guide to figures: its examples are valid, and it names every kind and key."""

import re
from pathlib import Path

import pytest

from normlab.figures import FIGURES
from normlab.figures.keys import TimeTo
from normlab.study.files import parse_yaml
from normlab.study.resolve import outline
from normlab.study.spec import Study

GUIDE = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
STUDY, *EXAMPLES = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)


def test_the_study_can_be_planned() -> None:
    made = outline(Study.parse({**parse_yaml(STUDY), "name": "dropout"}))
    assert [figure.name for figure in made.figures] == ["factor", "curves", "misclassified"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_valid(example: str) -> None:
    found = parse_yaml(example)
    figures = found if isinstance(found, list) else [{"kind": "dots", "metrics": found["metric"]}]
    content = {
        **parse_yaml(STUDY),
        "name": "s",
        "factors": {"norm": ["batch", "layer"], "dropout.p": [0, 0.5], "batch_size": [16, 64]},
        "claims": [{"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "layer"}}],
        "analysis": {"alternatives": [{"paired": True}]},
    }
    if "specification_curve" in example:
        content["analysis"] = {"alternatives": [{"at": "best_validation"}]}
    if "arm: {norm: batch, dropout.p: 0}" in example:  # that means one arm
        del content["factors"]["batch_size"]
    assert len(outline(Study.parse({**content, "figures": figures})).figures) == len(figures)


@pytest.mark.parametrize("kind", FIGURES)
def test_every_kind_is_shown(kind: str) -> None:
    assert f"**`{kind}`**" in GUIDE
    assert f"{{kind: {kind}" in GUIDE or f"kind: {kind}\n" in GUIDE


def test_every_key_is_named() -> None:
    keys = {key for spec in [*FIGURES.values(), TimeTo] for key in spec.model_fields}
    for key in keys - {"heading"} | {"title"}:
        assert re.search(rf"`{key}[`:]", GUIDE), key

"""Docs that cannot rot: what they show runs, and what there is they name."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from normlab.data import describe
from normlab.metrics import METRICS
from normlab.norms import class_of, traits
from normlab.recipe import (
    DATA,
    DROPOUTS,
    MODELS,
    NORMS,
    OPTIMIZERS,
    SCHEDULES,
    Component,
    Recipe,
)
from normlab.recipe.regularizers import Agc, EarlyStopping, StochasticDepth
from normlab.recipe.training import Penalty
from normlab.stats.claims import CLAIMS
from normlab.study.analysis import Analysis
from normlab.study.files import parse_yaml
from normlab.study.plan import make_plan
from normlab.study.published import Published, PublishedRow
from normlab.study.spec import ArmSpec, Constraint, Quick, Study
from tests.data.made import spec as data_spec

ROOT = Path(__file__).parents[1]
CARDS = sorted(path for path in ROOT.glob("docs/cards/*.md") if path.stem != "README")
CARD_PARTS = (
    "**When.**",
    "**In training.**",
    "**In evaluation.**",
    "**Example.**",
    "**Cost.**",
    "**Defaults and departures.**",
    "**Interactions.**",
)
TERMS = (
    "study",
    "recipe",
    "arm",
    "seed",
    "trial",
    "store",
    "liveness",
    "claim",
    "margin",
    "verdict",
    "look",
    "rehearsal",
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPE = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert (tmp_path / "runs" / "digits-norms" / "report.html").is_file()


def test_the_readme_s_study_can_be_planned() -> None:
    (text,) = blocks(README, "yaml")
    assert len(make_plan(Study.parse({**parse_yaml(text), "name": "batch-size"})).rows()) == 12


def test_the_readme_s_first_screen_has_the_two_commands_and_the_picture() -> None:
    first = "\n".join(README.splitlines()[:20])
    for part in ("make demo", "make test", "docs/images/report.png"):
        assert part in first


def test_the_readme_s_table_says_what_each_guide_answers() -> None:
    rows = re.findall(r"^\| \[.+\]\((\S+\.md)\) \| .+\? \|$", README, re.M)
    pages = [*(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
    pages += [f"docs/{path.parent.name}/README.md" for path in ROOT.glob("docs/*/README.md")]
    assert sorted(rows) == sorted([*pages, "CONTRIBUTING.md", "CHANGELOG.md"])


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_explained_where_it_first_stands_and_in_the_glossary(term: str) -> None:
    before, _, after = README.partition("## Terms")
    assert re.search(rf"\*\*{term}s?\*\*", after.partition("\n## ")[0], re.I)
    assert re.search(rf"^\| \*\*{term}\*\* \| .+ \|$", text_of("glossary.md"), re.M)
    if term not in {"study", "seed", "liveness"}:  # words of the field, and a link to the guide
        assert not re.search(rf"\b{term}s?\b", before)


def test_the_glossary_is_in_order() -> None:
    terms = re.findall(r"^\| \*\*([\w ]+)\*\* \|", text_of("glossary.md"), re.M)
    assert terms == sorted(terms)


def test_links_to_files_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), (page.name, link)


def test_the_readme_names_every_command() -> None:
    from normlab.cli import app

    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    names += ["show model", "show study", "check norm", "data build"]
    for name in names:
        assert re.search(rf"normlab {name}(?![\w-])", README), name


def test_the_guide_to_python_runs_and_has_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normlab.cli import app

    guide = text_of("from-python.md")
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    for name in [*names, "show model", "show study", "check norm", "data build"]:
        assert re.search(rf"`normlab {name}(?![\w-])", guide), name
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks(guide, "python"))
    exec(compile(code, "from-python.md", "exec"), {"__name__": "guide"})
    for study in ("digits-norms", "tiny"):
        assert (tmp_path / "runs" / study / "report.html").is_file()


def test_the_first_study_s_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from normlab.cli import app

    guide = (ROOT / "docs" / "first-study.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for line in "".join(blocks(guide, "sh")).splitlines():
        command, _, _ = line.partition("#")
        words, _, target = command.partition(">")
        name, *arguments = shlex.split(words)
        assert name == "normlab"
        if arguments[0] == "run":
            arguments += ["--quick", "--workers", "1", "--set", "epochs=1"]
            settling = "--until-settled" in arguments
            arguments += ["--max-seeds", "3"] if settling else ["--seeds", "1"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (line, result.output)
        if target:
            (tmp_path / target.strip()).write_text(result.output, encoding="utf-8")
            (change,) = blocks(guide, "yaml")
            mine = {**parse_yaml(result.output), **parse_yaml(change)}
            (tmp_path / target.strip()).write_text(yaml.safe_dump(mine), encoding="utf-8")
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


def test_the_guide_to_an_own_norm_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n".join(blocks((ROOT / "docs" / "own-norm.md").read_text(encoding="utf-8"), "python"))
    module = ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)  # torch.compile imports a class's module
    exec(compile(code, "own-norm.md", "exec"), module.__dict__)
    example = (ROOT / "tests" / "norms" / "own.py").read_text(encoding="utf-8")
    body = example[example.index("class ") :]
    assert body in code
    assert len(body.splitlines()) < 15


def test_the_guide_to_an_own_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "own-model.md").read_text(encoding="utf-8")
    module = ModuleType("mypackage.nets")
    exec(compile("\n".join(blocks(guide, "python")), "own-model.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "mypackage.nets", module)
    (text,) = blocks(guide, "yaml")
    assert len(make_plan(Study.parse({**parse_yaml(text), "name": "own-model"})).rows()) == 9
    example = (ROOT / "tests" / "models" / "own.py").read_text(encoding="utf-8")
    net = example[example.index("class Net(") : example.index("def make_net")].strip()
    assert net in guide


def test_the_guide_to_own_data_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = text_of("own-data.md")
    module = ModuleType("mypackage.images")
    exec(compile("\n".join(blocks(guide, "python")), "own-data.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "mypackage.images", module)
    (text,) = blocks(guide, "yaml")
    study = {**parse_yaml(text), "name": "own-data"}
    assert len(make_plan(Study.parse(study)).rows()) == 6
    assert describe(data_spec("mypackage.images:squares")).train_counts == (30, 30)
    example = (ROOT / "tests" / "data" / "own.py").read_text(encoding="utf-8")
    for part in ("def stripes", "class Squares"):
        body = example[example.index(part) :].partition("\n\n\n")[0].strip()
        assert body in guide


@pytest.mark.parametrize("kind", [kind for kind in NORMS if not kind.startswith("torch_")])
def test_every_norm_has_a_card(kind: str) -> None:
    card = (ROOT / "docs" / "cards" / f"{kind}.md").read_text(encoding="utf-8")
    for part in (f"`norm: {kind}`", *CARD_PARTS):
        assert part in card
    assert f"({kind}.md)" in (ROOT / "docs" / "cards" / "README.md").read_text(encoding="utf-8")


def test_torch_s_layers_share_a_card() -> None:
    card = (ROOT / "docs" / "cards" / "torch.md").read_text(encoding="utf-8")
    for part in (*(f"`{kind}`" for kind in NORMS if kind.startswith("torch_")), *CARD_PARTS):
        assert part in card


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_s_example_runs(card: Path) -> None:
    (example,) = blocks(card.read_text(encoding="utf-8"), "python")
    assert "assert" in example
    torch.manual_seed(0)
    exec(compile(example, card.name, "exec"), {"__name__": "card"})


@pytest.mark.parametrize("kind", [card.stem for card in CARDS if card.stem in NORMS])
def test_a_card_says_of_evaluation_what_its_kind_does(kind: str) -> None:
    card = (ROOT / "docs" / "cards" / f"{kind}.md").read_text(encoding="utf-8")
    _, _, after = card.partition("**In evaluation.**")
    differs = traits(class_of(kind)).differs_in_eval
    assert after.lstrip(" ").startswith("The same") == (not differs)
    assert ("running_" in after.partition("**Example.**")[0]) == differs


def documented() -> Iterator[str]:
    """Every key, kind and option that a user may write."""
    yield from Recipe.model_fields
    for spec in (
        Penalty,
        Agc,
        EarlyStopping,
        StochasticDepth,
        ArmSpec,
        Constraint,
        Quick,
        Published,
        PublishedRow,
    ):
        yield from spec.model_fields
    yield from Study.model_fields.keys() - (Study.internal - {"name"})
    catalogs: list[dict[str, type[Component]]] = [
        DATA,
        MODELS,
        NORMS,
        DROPOUTS,
        OPTIMIZERS,
        SCHEDULES,
    ]
    for catalog in catalogs:
        for kind, spec in catalog.items():
            yield kind
            yield from spec.model_fields


def test_the_guide_to_claims_names_every_kind_option_and_metric() -> None:
    guide = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    names = {*CLAIMS, *Analysis.model_fields}
    names |= {name for claim in CLAIMS.values() for name in claim.Keys.model_fields} - {"kind"}
    for name in names:
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", guide), name
    for metric in METRICS:
        assert metric in guide or metric.partition("_")[0] in ("validation", "train"), metric
    (text,) = blocks(guide, "yaml")
    made = make_plan(Study.parse({**parse_yaml(text), "name": "guide"}))
    assert len(made.record.claims) == 2


@pytest.mark.parametrize("name", sorted(set(documented())))
def test_every_key_kind_and_option_is_documented(name: str) -> None:
    assert re.search(rf"`[^`]*\b{re.escape(name)}\b[^`]*`", RECIPE)


def test_every_promise_on_security_names_a_test_that_is_there() -> None:
    rows = re.findall(
        r"^\| (?!promise|---)(.+) \| `(\S+)::(\w+)` \|$", text_of("security.md"), re.M
    )
    assert len(rows) > 25
    assert text_of("security.md").count("\n| ") == len(rows) + 2 * 6
    for _, file, test in rows:
        assert f"def {test}(" in (ROOT / file).read_text(), (file, test)


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text()

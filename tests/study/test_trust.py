"""A study file's word is not enough to import code: the user's is."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import normlab as nl
from normlab.errors import UserError
from normlab.study.model_look import _built
from normlab.study.spec import Study
from normlab.study.trust import UntrustedError, config_folder, recall

NET = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("RAN").touch()

class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).mean(dim=(2, 3)))

def load():
    import numpy as np
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8))
    return (images[:40], labels[:40]), (images[40:], labels[40:])

class Thing:
    def __init__(self, **options): pass
    def to(self, *_): Path(__file__).with_name("USED").touch()
    parameters = modules = eval = train = to
"""
BASE: dict[str, Any] = {"data": "digits", "model": "digits-small", "epochs": 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a package that leaves a mark when it is imported."""
    (tmp_path / "strange_nets").mkdir()
    (tmp_path / "strange_nets" / "__init__.py").write_text(NET)
    (tmp_path / "strange_nets" / "deep.py").write_text("from strange_nets import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    _built.cache_clear()  # a model that was looked at is not made again
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("strange_nets")]:
        del sys.modules[name]


def ran(folder: Path) -> bool:
    return (folder / "strange_nets" / "RAN").exists()


def write(folder: Path, base: dict[str, Any] | None = None, **rest: Any) -> Path:
    values = {"question": "?", "base": {**BASE, **(base or {})}, "seeds": 1, **rest}
    (folder / "s.yaml").write_text(yaml.safe_dump(values))
    return folder / "s.yaml"


PLACES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"model": "strange_nets:Net"}, {}),
    ({"model": {"kind": "strange_nets:Net"}}, {}),
    ({"model.kind": "strange_nets:Net"}, {}),
    ({"norm": "strange_nets:Net"}, {}),
    ({"data": "strange_nets:load"}, {}),
    ({"data": {"kind": "strange_nets:load", "limit": 2}}, {}),
    ({"data.kind": "strange_nets:load"}, {}),
    ({}, {"factors": {"data": ["digits", {"kind": "strange_nets:load"}]}}),
    ({}, {"arms": [{"label": "a", "set": {"data": "strange_nets:load"}}]}),
    ({"norm.kind": "strange_nets:Net"}, {}),
    ({}, {"factors": {"norm": ["batch", "strange_nets:Net"]}}),
    ({}, {"factors": {"model.kind": ["digits-small", "strange_nets:Net"]}}),
    ({}, {"arms": [{"label": "a", "set": {"model": {"kind": "strange_nets:Net"}}}]}),
]


@pytest.mark.parametrize(("base", "rest"), PLACES)
def test_wherever_a_file_names_code_a_plan_is_refused_and_nothing_runs(
    folder: Path, base: dict[str, Any], rest: dict[str, Any]
) -> None:
    study = nl.load_study(write(folder, base, **rest))
    with pytest.raises(UntrustedError, match=r"(?s)strange_nets \(.*normlab trust s\.yaml"):
        nl.plan(study)
    assert not ran(folder)
    assert study.modules() == {"strange_nets"}  # and `normlab trust` knows of it


@pytest.mark.parametrize(
    "quick",
    [
        {"set": {"norm": "strange_nets:Net"}},
        {"set": {"data": "strange_nets:load"}},
        {"factors": {"norm": ["strange_nets:Net"]}},
    ],
)
def test_the_quick_variant_is_the_file_s_word_too(folder: Path, quick: dict[str, Any]) -> None:
    path = write(folder, factors={"norm": ["batch", "none"]}, quick=quick)
    nl.plan(nl.load_study(path))
    with pytest.raises(UntrustedError):
        nl.plan(nl.load_study(path, quick=True))
    with pytest.raises(UntrustedError):
        nl.plan(nl.load_study(path, quick=True, seeds=2, overrides={"epochs": 1}))
    assert not ran(folder)


def test_after_trust_it_runs_and_a_changed_file_asks_again(folder: Path) -> None:
    path = write(folder, {"model": "strange_nets:Net"})
    assert nl.trust_study(path) == ("strange_nets",)
    assert not ran(folder)
    record = recall(str(path.resolve()))
    assert record is not None
    assert record.modules == ("strange_nets",)
    assert [file.parent.name for file in config_folder().rglob("*.json")] == ["trust"]
    assert len(nl.plan(nl.load_study(path)).arms) == 1
    assert ran(folder)
    path.write_text(path.read_text() + "# changed\n")
    with pytest.raises(UntrustedError, match="It changed since you trusted it"):
        nl.plan(nl.load_study(path))


def test_trust_is_in_one_file_not_in_its_copy(folder: Path) -> None:
    path = write(folder, {"model": "strange_nets:Net"})
    nl.trust_study(path)
    copy = folder / "copy.yaml"
    copy.write_text(path.read_text())
    with pytest.raises(UntrustedError, match=r"normlab trust copy\.yaml"):
        nl.plan(nl.load_study(copy))


@pytest.mark.parametrize(
    ("trust", "allowed"),
    [
        (["strange_nets"], True),
        ("strange_nets", True),
        (["strange_nets.deep"], True),
        (["strange"], False),
        (["strange_nets.deeper"], False),
        (["os"], False),
    ],
)
def test_a_package_stands_for_its_modules_and_no_other(
    folder: Path, trust: list[str], allowed: bool
) -> None:
    study = nl.load_study(write(folder, {"model": "strange_nets.deep:Net"}), trust=trust)
    if allowed:
        nl.plan(study)
    else:
        with pytest.raises(UntrustedError):
            nl.plan(study)
    assert ran(folder) == allowed


def test_what_is_no_package_is_refused() -> None:
    with pytest.raises(UserError, match=r"trust is 'a/b'"):
        nl.load_study("digits-norms", trust=["a/b"])


def test_what_set_names_is_the_user_s_own_word_and_no_more(folder: Path) -> None:
    path = write(folder)
    nl.plan(nl.load_study(path, overrides={"model": "strange_nets:Net"}))
    assert ran(folder)
    nl.plan(nl.load_study(path, overrides={"data": "strange_nets:load"}))
    path = write(folder, {"norm": "os:system"})
    with pytest.raises(UntrustedError, match="os "):
        nl.plan(nl.load_study(path, overrides={"model": "strange_nets:Net"}))


def test_a_study_made_in_python_names_the_user_s_own_code(folder: Path) -> None:
    values = {
        "name": "s",
        "question": "?",
        "base": {**BASE, "model": "strange_nets:Net"},
        "seeds": 1,
    }
    nl.plan(Study.parse(values))
    assert ran(folder)


@pytest.mark.parametrize("key", ["trusted", "file", "digest"])
def test_a_file_cannot_say_itself_that_it_is_trusted(folder: Path, key: str) -> None:
    with pytest.raises(UserError, match=f"unknown key of a study '{key}'"):
        nl.load_study(write(folder, **{key: ["strange_nets"]}))


def test_trusted_data_are_loaded_and_what_they_return_is_checked(folder: Path) -> None:
    path = write(folder, {"data": "strange_nets:load"})
    plan = nl.plan(nl.load_study(path, trust=["strange_nets"]))
    assert plan.record.arms[0].classes == 3
    path = write(folder, {"data": "strange_nets:Thing"})
    with pytest.raises(UserError, match=r"data 'strange_nets:Thing' returned Thing"):
        nl.plan(nl.load_study(path, trust=["strange_nets"]))


def test_what_trusted_code_makes_is_checked_before_it_is_used(folder: Path) -> None:
    path = write(folder, {"model": "strange_nets:Thing"})
    nl.trust_study(path)
    with pytest.raises(UserError, match=r"makes Thing: a torch.nn.Module is needed"):
        nl.plan(nl.load_study(path))
    assert not (folder / "strange_nets" / "USED").exists()


def test_a_record_that_is_damaged_or_another_file_s_says_nothing(folder: Path) -> None:
    path = write(folder, {"model": "strange_nets:Net"})
    nl.trust_study(path)
    (record,) = config_folder().rglob("*.json")
    values = json.loads(record.read_text())
    for text in ("", "[]", "{}", "null", json.dumps({**values, "path": "/elsewhere"})):
        record.write_text(text)
        with pytest.raises(UntrustedError):
            nl.plan(nl.load_study(path))


@pytest.mark.parametrize(
    ("platform", "variables", "ending"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/normlab"),
        ("linux", {"XDG_CONFIG_HOME": "not/absolute", "HOME": "/h"}, "/h/.config/normlab"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Application Support/normlab"),
        ("win32", {"APPDATA": "/a"}, "/a/normlab"),
        ("linux", {"NORMLAB_CONFIG": "/mine"}, "/mine"),
    ],
)
def test_the_record_lies_where_the_platform_keeps_settings(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], ending: str
) -> None:
    monkeypatch.delenv("NORMLAB_CONFIG")
    monkeypatch.setattr("sys.platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert config_folder().as_posix() == ending

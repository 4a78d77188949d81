"""Code of the user's: where it lies, without importing it, and whose word names it."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from normlab import own
from normlab.errors import UserError

GROUP = "normlab.models"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose every module says that it was imported."""
    folder = tmp_path / "strangers_package"
    (folder / "inner").mkdir(parents=True)
    for path in ("__init__.py", "nets.py", "inner/__init__.py", "inner/deep.py"):
        (folder / path).write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("module", "place"),
    [
        ("strangers_package", "__init__.py"),
        ("strangers_package.nets", "nets.py"),
        ("strangers_package.inner.deep", "inner/deep.py"),
        ("strangers_package.missing", None),
        ("strangers_package.nets.deeper", None),
        ("no_such_package.nets", None),
    ],
)
def test_a_module_is_found_without_importing_its_parents(
    package: Path, module: str, place: str | None
) -> None:
    assert own.locate(module) == (str(package / place) if place else None)
    assert not any(name.startswith("strangers_package") for name in sys.modules)


@pytest.mark.parametrize("module", ["no_init", "no_init.inner", "no_init.inner.nets"])
def test_folders_without_init_are_packages_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    (tmp_path / "no_init" / "inner").mkdir(parents=True)
    (tmp_path / "no_init" / "inner" / "nets.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    place = tmp_path.joinpath(*module.split("."))
    assert own.locate(module) == str(place if place.is_dir() else place.with_suffix(".py"))
    assert "no_init" not in sys.modules


@pytest.mark.parametrize(("module", "place"), [("sys", "built-in"), ("zipimport", "frozen")])
def test_python_s_own_modules_are_found_as_well(module: str, place: str) -> None:
    found = own.locate(module)
    assert found is not None
    assert place in found or found.endswith(f"{module}.py")


@pytest.mark.parametrize(
    "kind",
    ["os", "os:", ":system", "os:a:b", "os:path.join", "../x:y", " os:system", "os.:x", "1a:b"],
)
def test_only_plain_names_are_an_import_path(kind: str) -> None:
    assert not own.is_import_path(kind)


def test_code_that_ends_the_program_when_imported_is_a_mistake_of_the_user_s(package: Path) -> None:
    with pytest.raises(UserError, match="cannot be imported: SystemExit: imported"):
        own.load("strangers_package.nets:Net", "model", GROUP, [], "a class")


def test_an_entry_point_beside_a_study_is_no_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[normlab.models]\nfriendly = os:system\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert own.module_of("friendly", GROUP) == "os"
    monkeypatch.setattr(own, "_installed_folders", lambda: (tmp_path,))
    assert own.module_of("friendly", GROUP) is None


def test_an_entry_point_that_nothing_installed_is_nobody_s_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("friendly", "os:system", GROUP)
    monkeypatch.setattr(own, "entry_points", lambda group: [point])
    assert own.module_of("friendly", GROUP) == "os"
    assert own.module_of("digits-small", GROUP) is None

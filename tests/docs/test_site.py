"""The documentation site: it builds strictly, has every public name, and no page is left out."""

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType

import pytest
from tests.scripts import script

pytest.importorskip("sphinx", reason="needs the extra 'docs'")
pytest.importorskip("myst_parser", reason="needs the extra 'docs'")
pytest.importorskip("furo", reason="needs the extra 'docs'")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def build(source: Path, out: Path, *options: str, path: Path | None = None) -> tuple[int, str]:
    """Build a site as `make docs` does; its exit code and what it said."""
    made = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"),
            *("-c", DOCS, "-d", out / "doctrees", *options, source, out / "site"),
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [path or ROOT / "src", ROOT / "src"])),
        },
        check=False,
    )
    return made.returncode, made.stdout + made.stderr


def imported(name: str) -> ModuleType:
    return script(DOCS / f"{name}.py")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    code, said = build(ROOT, out)
    assert code == 0, said
    return out / "site"


def test_every_public_name_is_in_the_inventory(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    public = imported("public_names")
    packages = imported("conf").public_packages
    *_, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    rows = zlib.decompress(packed).decode().splitlines()
    names = {row.split(" ")[0] for row in rows if " py:" in row}
    assert len(names) > 150
    assert public.undocumented(packages, names) == []


def test_every_page_is_in_the_site_and_in_its_contents(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    listed = {page for pages in imported("conf").CONTENTS.values() for page in pages}
    guides = {f"docs/{page.stem}" for page in DOCS.glob("*.md")}
    assert guides <= listed
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        assert (site / page.relative_to(ROOT)).with_suffix(".html").is_file(), page


def test_a_link_between_pages_becomes_one_between_html_pages(site: Path) -> None:
    first = (site / "README.html").read_text(encoding="utf-8")
    assert 'href="docs/first-study.html"' in first
    assert 'href="docs/cards/README.html"' in first
    assert "README.html" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(DOCS.glob("api/*.md")), ids=lambda page: page.stem)
def test_a_page_of_the_reference_writes_down_no_name(page: Path) -> None:
    marks = re.findall(r"^<!-- names ([\w.]+) -->$", page.read_text(encoding="utf-8"), re.M)
    assert len(marks) == (page.stem != "README")


def test_a_broken_link_and_an_undocumented_name_fail_the_build(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text(
        '"""A module."""\n\n__all__ = ["TABLE", "told", "untold"]\n\nTABLE = {}\n\n\n'
        'def told():\n    """What it does."""\n\n\ndef untold():\n    pass\n'
    )
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "README.md").write_text(
        "# Fake\n\n[here](https://example.org), [there](missing.md), [below](#nowhere)\n\n"
        "<!-- names fake -->\n"
    )
    code, said = build(pages, tmp_path, "-D", "public_packages=fake", path=tmp_path)
    assert code != 0
    assert "'missing.md'" in said
    assert "'nowhere'" in said
    assert "fake.untold is public" in said
    assert "fake.TABLE is public" in said
    assert "fake.told is" not in said
    assert "example.org" not in said

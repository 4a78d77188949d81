"""What of a user's files counts, what does not, and that nothing is run to find out."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from normlab.errors import UserError
from normlab.own_code import OwnCode, read
from normlab.own_code.tree import look

NETS = '''
"""Nets."""

import numpy
from typing import TYPE_CHECKING

from . import parts
from .units.deep import block as made

if TYPE_CHECKING:
    from . import unused


class Net:
    """A net."""

    width = 4  # channels

    def forward(self, x):
        from mypack.late import late
        return late(parts.half(x))
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose every file says so when it is run."""
    folder = tmp_path / "mypack"
    (folder / "units").mkdir(parents=True)
    files = {
        "nets.py": NETS,
        "parts.py": "import beside\n\ndef half(x):\n    return x / 2\n",
        "late.py": "def late(x):\n    return x\n",
        "units/deep.py": "from ..parts import half\nfrom mypack import block\n",
        "unused.py": "A = 1\n",
        "other.py": "A = 1\n",
        "__init__.py": "block = 1\n",
        "../beside.py": "import json\nB = 1\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text + "raise SystemExit('run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield folder
    assert not {name for name in set(sys.modules) - before if name.startswith("mypack")}


def code() -> OwnCode:
    return read(["mypack.nets:Net"])


def test_what_it_imports_counts_and_nothing_is_run(package: Path) -> None:
    assert set(code().parts) == {
        "mypack",  # it is imported by name for `block`
        "mypack.late",
        "mypack.nets",
        "mypack.parts",
        "mypack.units.deep",
        "beside",
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("nets.py", "width = 4", "width = 5"),
        ("parts.py", "x / 2", "x / 3"),
        ("late.py", "return x", "return -x"),
        ("units/deep.py", "import half", "import half as quarter"),
        ("__init__.py", "block = 1", "block = 2"),
        ("../beside.py", "B = 1", "B = 2"),
    ],
)
def test_any_change_of_it_changes_the_hash(package: Path, file: str, old: str, new: str) -> None:
    before = code()
    path = package / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert code().digest != before.digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("nets.py", "# channels", "# so many channels"),
        ("nets.py", '"""A net."""', '"""Quite another net."""'),
        ("nets.py", '"""Nets."""\n', "'A comment that is a string.'\n"),
        ("nets.py", "width = 4", "width = (\n        4\n    )"),
        ("nets.py", "    def forward(self, x):", "\n\n    def forward(\n        self, x,\n    ):"),
        ("unused.py", "A = 1", "A = 2"),
        ("other.py", "A = 1", "A = 2"),
    ],
)
def test_layout_comments_and_other_files_change_nothing(
    package: Path, file: str, old: str, new: str
) -> None:
    before = code()
    path = package / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert code().digest == before.digest


ODD = b'''
import a.b as c
from . import d
@dec(x=1)
async def f(a, /, b: int = 3, *c, d=None, **e) -> None:
    """doc"""
    async with a as b: pass
    return f"{a!r:>{b}} b" "s" b"" if a else lambda q: (yield)
class A(B, metaclass=C):
    x: int = 4
    match 3:
        case {"a": 1, **r} | [_, *k]: pass
    try: pass
    except* E as e: raise
    y = [i async for i in z if i]
    s[1:2, ...] = u"x"; t = 1j; n = None
'''


def test_the_hash_is_the_same_in_every_version_of_python(package: Path) -> None:
    # Golden, and measured on 3.11, 3.12 and 3.13: a change here gives new ids to all trials of
    # everybody's own models.
    assert look(ODD).digest[:12] == "514358daf787"
    assert read(["mypack.late:late"]).digest[:12] == "68e73d8ee4ce"


def test_files_count_by_their_names_python_as_a_tree(tmp_path: Path, package: Path) -> None:
    def with_files(**texts: str) -> str:
        files = {}
        for name, text in texts.items():
            files[name] = tmp_path / name.replace("_", ".")
            files[name].write_text(text)
        return read(["mypack.late:late"], files).digest

    assert with_files(a_py="x = 1") == with_files(a_py="x  =  1 # one")
    assert with_files(a_py="x = 1") != with_files(a_py="x = 2")
    assert with_files(a_csv="1,2") != with_files(a_csv="1, 2")
    for name, message in (("gone", "there is no gone"), (".", ". is no file")):
        with pytest.raises(UserError, match=f"code: {message}"):
            read(["mypack.late:late"], {name: tmp_path / name})
    with pytest.raises(UserError, match="code: zero is no file"):
        read(["mypack.late:late"], {"zero": Path("/dev/zero")})


def test_deep_and_long_code_is_read_from_any_depth_alike(package: Path) -> None:
    deep = "x = " + " + ".join(["1"] * 800)
    long = "y = 0x" + "f" * 6000
    (package / "deep.py").write_text(f"{deep}\n{long}\n")

    def below(frames: int) -> str:
        return below(frames - 1) if frames else read(["mypack.deep:x"]).digest

    assert below(0) == below(400)


def test_a_folder_without_init_is_a_package_too(package: Path) -> None:
    deep = package / "units" / "more" / "most"
    deep.mkdir(parents=True)
    (deep / "end.py").write_text("from ... import deep\n")
    assert {"mypack.units.more.most.end", "mypack.units.deep"} <= set(
        read(["mypack.units.more.most.end:x"]).parts
    )


def test_packages_that_are_recorded_by_version_do_not_count() -> None:
    assert read(["torch.nn:Identity", "normlab.norms.batch:BatchNorm"]).parts == {}


def test_what_is_not_there_has_no_code_and_no_error() -> None:
    assert read(["no.such.module:Net", "tests..own:Net", "nothing"]).parts == {}


def test_a_file_that_is_no_python_counts_as_it_is(package: Path) -> None:
    (package / "broken.py").write_text("def (:\n")
    assert set(read(["mypack.broken:x"]).parts) == {"mypack.broken"}


def test_a_module_that_changed_after_it_was_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "loaded_net.py"
    file.write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("loaded_net")
    monkeypatch.setitem(sys.modules, "loaded_net", module)
    first = read(["loaded_net:A"]).digest
    file.write_text("A = 1  # the same\n")
    assert read(["loaded_net:A"]).digest == first
    file.write_text("A = 22\n")
    with pytest.raises(UserError, match="module 'loaded_net' was changed after Python had loaded"):
        read(["loaded_net:A"])
    importlib.reload(module)
    assert read(["loaded_net:A"]).digest != first


class Notebook:
    """A `__main__` made of cells, as IPython keeps them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = ModuleType("__main__")
        self.module.__dict__["In"] = [""]
        monkeypatch.setitem(sys.modules, "__main__", self.module)

    def run(self, cell: str) -> str:
        self.module.__dict__["In"].append(cell)
        exec(cell, self.module.__dict__)
        return read(["__main__:Net"]).digest if hasattr(self.module, "Net") else ""


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook(monkeypatch)
    made.run("WIDTH = 4\ndef half(x):\n    return x / 2")
    made.run("class Net:\n    def forward(self, x):\n        y = 1\n        return half(x) * WIDTH")
    return made


@pytest.mark.parametrize(
    "cell",
    [
        "WIDTH = 5",
        "def half(x):\n    return x / 3",
        "class Net:\n    def forward(self, x):\n        return x",
        "Net.forward = lambda self, x: x",
    ],
)
def test_in_a_notebook_a_cell_that_it_uses_counts(notebook: Notebook, cell: str) -> None:
    before = read(["__main__:Net"])
    assert list(before.parts) == ["__main__ (Net, WIDTH, half)"]
    assert notebook.run(cell) != before.digest


@pytest.mark.parametrize(
    "cell",
    [
        "y = 2",
        "print",
        "class Net:\n    '''A net.'''\n    def forward(self, x):  # as before\n        y = 1\n"
        "        return half(x) * WIDTH",
    ],
)
def test_in_a_notebook_other_cells_and_comments_change_nothing(
    notebook: Notebook, cell: str
) -> None:
    before = read(["__main__:Net"]).digest
    assert notebook.run(cell) == before


def test_code_whose_text_nobody_kept_counts_as_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(code: str) -> str:
        module = ModuleType("typed")
        monkeypatch.setitem(sys.modules, "typed", module)
        exec(code, module.__dict__)
        return read(["typed:Net"]).digest

    net = "def half(x):\n    return x / {}\nclass Net:\n    {}\n    def f(self, x): return half(x) + '{}'"
    first = digest(net.format(2, "'''A net.'''", "relu"))
    assert first == digest(net.format(2, "'''Another.'''", "relu"))
    assert first != digest(net.format(3, "'''A net.'''", "relu"))
    assert first != digest(net.format(2, "'''A net.'''", "tanh"))

"""What is compiled is kept, found again, and made anew where it is damaged."""

from __future__ import annotations

import ctypes
from array import array
from pathlib import Path

import pytest

from normlab.native import compiled
from normlab.native.emitter import FLOATS, Emitter


def twice(name: str) -> str:
    """A function that doubles the eight numbers at its first argument."""
    e = Emitter(name)
    at = e.builder.inttoptr(e.argument(0), FLOATS)
    x = e.load(at, 8)
    e.store(e.builder.fadd(x, x), at)
    return e.finish()


def run(address: int) -> list[float]:
    numbers = array("f", range(8))
    arguments = array("q", [numbers.buffer_info()[0]])
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(arguments.buffer_info()[0])
    return list(numbers)


DOUBLED = [2.0 * i for i in range(8)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def never(name: str) -> str:
    raise AssertionError(name)


def test_a_function_is_kept_and_found(folder: Path) -> None:
    assert run(compiled.function("twice", (1,), "source", twice)) == DOUBLED
    assert len(list(folder.iterdir())) == 1
    assert run(compiled.function("twice", (1,), "source", never)) == DOUBLED


def test_other_parameters_or_another_source_are_another_function(folder: Path) -> None:
    for key, source in (((1,), "source"), ((2,), "source"), ((1,), "other")):
        compiled.function("twice", key, source, twice)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000])
def test_a_damaged_file_is_made_anew(folder: Path, damage: bytes) -> None:
    compiled.function("twice", (1,), "source", twice)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert run(compiled.function("twice", (1,), "source", twice)) == DOUBLED
    assert path.read_bytes() == whole


def test_no_folder_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NORMLAB_CACHE", "")
    assert compiled.cache_folder() is None
    assert run(compiled.function("twice", (1,), "source", twice)) == DOUBLED
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    monkeypatch.setenv("NORMLAB_CACHE", str(occupied))
    assert run(compiled.function("twice", (1,), "source", twice)) == DOUBLED

"""Decoding in worker processes: the same as here, and no way to hang."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from normlab.data import describe, load
from normlab.data.images import pool
from normlab.data.images.cache import decoded
from normlab.data.images.decode import decode
from normlab.data.images.options import options_of
from normlab.data.images.scan import scan
from normlab.errors import NormlabError, UserError
from tests.data.made import class_folders, spec, write

OPTIONS = options_of(spec("caltech25", size=8))


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes also for a few images."""
    monkeypatch.setattr(pool, "_ALONE", 0)
    monkeypatch.setattr(pool, "cores", lambda: 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "own", {"cat": 90, "dog": 50})


@pytest.mark.usefixtures("several")
def test_processes_decode_what_one_would(root: Path) -> None:
    write(root / "cat" / "broken.png", b"?")
    items = scan(root, [("cat",), ("dog",)]).items
    entry, images = decoded(root, OPTIONS, items)
    kept = [item for item in items if item.file != "broken.png"]
    assert list(entry.broken) == ["cat/broken.png"]
    expected = [decode(Path(item.path).read_bytes(), OPTIONS) for item in kept]
    np.testing.assert_array_equal(images, np.stack(expected))
    assert not images.flags.writeable


@pytest.mark.usefixtures("several")
def test_the_digest_does_not_depend_on_the_number_of_processes(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = spec("image-folder", path=str(root))
    several = describe(own).digest
    monkeypatch.setattr(pool, "_ALONE", 10_000)
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "other"))
    describe.cache_clear()
    assert describe(own).digest == several


@pytest.mark.usefixtures("several")
def test_a_worker_that_dies_is_said_and_nothing_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    real = pool._Worker.ask

    def killed(self: pool._Worker, jobs: object) -> object:
        self.process.kill()
        return real(self, jobs)  # type: ignore[arg-type]

    monkeypatch.setattr(pool._Worker, "ask", killed)
    with pytest.raises(NormlabError, match=r"ended with code -9 between .*\.png and .*\.png"):
        describe(spec("image-folder", path=str(root)))
    assert not list(own_cache.rglob("*.*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_mistake_and_not_a_broken_image(root: Path) -> None:
    (root / "cat" / "000.png").chmod(0)
    with pytest.raises(UserError, match=r"1 of 140 files cannot be read.*Permission denied"):
        describe(spec("image-folder", path=str(root), broken="skip"))


@pytest.mark.parametrize("alone", [0, 10_000], ids=["processes", "here"])
def test_a_file_that_goes_away_is_a_mistake_and_not_a_broken_image(
    root: Path, alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_ALONE", alone)
    monkeypatch.setattr(pool, "cores", lambda: 2)
    items = scan(root, [("cat",), ("dog",)]).items
    (root / "cat" / "000.png").unlink()
    with pytest.raises(UserError, match=r"1 of 140 files .*cat/000\.png: No such file"):
        decoded(root, OPTIONS, items)


def test_two_at_once_make_one_good_entry(root: Path, own_cache: Path) -> None:
    items = scan(root, [("cat",), ("dog",)]).items
    found = []

    def make() -> None:
        found.append(decoded(root, OPTIONS, items))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for entry, images in found:
        assert entry == found[0][0]
        np.testing.assert_array_equal(images, found[0][1])
    assert sorted(path.suffix for path in own_cache.rglob("*.*")) == [".json", ".npy"]


SCRIPT = """
from normlab import data
from normlab.data.images import pool
from normlab.recipe import Recipe
pool._ALONE, pool.cores = 0, lambda: 2
own = {"kind": "image-folder", "path": PATH, "size": 8}
print(data.describe(Recipe.parse({"data": own, "model": "digits-small"}).data).train_images)
"""


def test_a_script_without_a_main_guard_decodes(root: Path, tmp_path: Path) -> None:
    script = write(tmp_path / "script.py", SCRIPT.replace("PATH", repr(str(root))).encode())
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("112\n", "")


def test_nothing_is_drawn_where_there_is_no_terminal(
    root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_ALONE", 0)
    load(spec("image-folder", path=str(root)))
    assert capfd.readouterr() == ("", "")

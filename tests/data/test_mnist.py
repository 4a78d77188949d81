import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from normlab.data import Dataset
from normlab.data.mnist import MNIST
from normlab.errors import UserError
from normlab.recipe import Recipe

SPEC = Recipe.parse({"data": "mnist", "model": "mnist-7288"}).data


def load() -> Dataset:
    return MNIST.load(SPEC)


def test_the_real_files(real_data: Path) -> None:
    found = load()
    assert found.train_images.shape == (60_000, 1, 28, 28)
    assert found.test_images.shape == (10_000, 1, 28, 28)
    assert np.bincount(found.train_labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert found.shape == MNIST.facts(SPEC).shape


@pytest.fixture
def copied(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mnist"
    shutil.copytree(real_data / "mnist", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    return folder


def test_plain_files_are_read_as_well(copied: Path) -> None:
    packed = copied / "t10k-labels-idx1-ubyte.gz"
    (copied / "t10k-labels-idx1-ubyte").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert len(load().test_labels) == 10_000


def test_other_content_under_the_right_name_is_refused(copied: Path) -> None:
    path = copied / "t10k-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[100] ^= 1
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(UserError, match=r"t10k-labels.* differs from the published file"):
        load()


def test_a_missing_file_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load()
    message = str(caught.value)
    for part in (
        str(tmp_path / "mnist"),
        "train-images-idx3-ubyte.gz",
        "https://",
        "unset NORMLAB_DATA",
    ):
        assert part in message


def test_a_corrupt_file_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(UserError, match=r"cut short or damaged.*Replace it by the published file"):
        load()

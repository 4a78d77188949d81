"""The sets of image files that lie in `NORMLAB_DATA`: from an archive or a folder, safely."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from normlab.data.images.archives import members, plain
from normlab.data.images.cache import manifest
from normlab.data.images.shipped import CALTECH25, CIFAR10_JPEG, ShippedSet
from normlab.errors import UserError
from tests.data.made import noise, png, shipped_set, spec, tar, write

SETS = [CIFAR10_JPEG, CALTECH25]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("whole", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("form", ["folder", "tar.xz", "tar.gz"])
def test_the_archive_packed_otherwise_or_unpacked_is_the_same(
    whole: ShippedSet, form: str, folder: Path
) -> None:
    known = shipped_set(whole, folder)
    before = known.load(spec(whole.name))
    archive = folder / f"{whole.name}.tar"
    with tarfile.open(archive) as opened:
        contents = {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]
    archive.unlink()
    if form == "folder":
        for name, raw in contents.items():
            write(folder / whole.name / name, raw)
    else:
        backwards = {f"./{name}": contents[name] for name in reversed(contents)}
        write(folder / f"{whole.name}.{form}", tar(backwards, form[-2:]))
    after = known.load(spec(whole.name))
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert before.train_labels.tolist() == [0] * 4 + [1] * 5
    # Number 4 is in the training folder of the second class alone; the middle of 40 x 32 pixels.
    expected = noise(4, 40, 32, 3)[4:36].transpose(2, 0, 1)
    np.testing.assert_array_equal(before.train_images[8], expected)


@pytest.mark.parametrize("change", ["one more", "one less", "another name"])
def test_other_files_are_refused(change: str, folder: Path) -> None:
    known = shipped_set(CALTECH25, folder)
    archive = folder / "caltech25.tar"
    with tarfile.open(archive) as opened:
        contents = {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]
    if change == "one more":
        contents["train/a/more.png"] = png(noise(0, 8, 8, 3))
    raw = contents.pop("train/a/0.png") if change != "one more" else b""
    if change == "another name":
        contents["train/b/00.png"] = raw
    archive.write_bytes(tar(contents))
    with pytest.raises(UserError, match="differs from the 'caltech25' that normlab knows"):
        known.load(spec("caltech25"))


def test_paths_and_links_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.png", png(noise(0, 8, 8)))
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo(f"train/a/{kind.decode()}.png")
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
        archive.add(secret, "../../../outside.png")
    before = sorted(tmp_path.rglob("*"))
    (item,) = members(path)
    assert item.path == str(path)
    assert item.name == "../../../outside.png"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("caltech25.tar", b"no archive" * 100),
        ("caltech25.tar", tar({"train/a/1.png": bytes(5000)})[:3000]),
        ("caltech25.tar.xz", b"no archive"),
        ("caltech25.tar.xz", tar({"train/a/1.png": bytes(5000)}, "xz")[:-20]),
        ("caltech25.tar.gz", tar({"train/a/1.png": bytes(5000)}, "gz")[:-20]),
    ],
    ids=["none", "cut", "no-xz", "cut-xz", "cut-gz"],
)
def test_a_damaged_archive_is_the_user_s_to_mend(name: str, raw: bytes, folder: Path) -> None:
    write(folder / name, raw)
    with pytest.raises(UserError, match=r"caltech25\.tar.*(cannot be|is no readable|of the)"):
        CALTECH25.load(spec("caltech25"))


def test_without_a_folder_it_is_said_that_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    with pytest.raises(UserError, match=r"not downloaded: set NORMLAB_DATA.*caltech25\.tar"):
        CALTECH25.load(spec("caltech25"))


def test_the_real_caltech25(real_data: Path) -> None:
    found = CALTECH25.load(spec("caltech25", size=[24, 32], mode="L"))
    assert found.train_images.shape == (2307, 1, 24, 32)
    assert np.bincount(found.test_labels).tolist() == list(CALTECH25.test_counts)
    assert 60 < found.train_images.mean() < 200


def test_the_real_cifar10_jpeg_is_the_one_described(real_data: Path) -> None:
    import hashlib

    with plain(real_data / "cifar10-jpeg.tar.xz") as archive, archive.open("rb") as stream:
        items = members(archive)
        hashes = []
        for item in items:
            stream.seek(item.offset)
            hashes.append(hashlib.sha256(stream.read(item.size)).hexdigest())
    assert manifest(items, hashes) == CIFAR10_JPEG.files
    counts = np.unique([item.folders for item in items], axis=0, return_counts=True)[1]
    assert counts.tolist() == [1000] * 10 + [5000] * 10

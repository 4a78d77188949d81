"""`normlab data build caltech25`: from an archive packed as the public one is, made here."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import normlab
from normlab import data
from normlab.data import download
from normlab.data.images import caltech
from normlab.data.images.archives import members
from normlab.data.images.caltech import CALTECH101, Making, files_hash
from normlab.data.images.shipped import CALTECH25
from normlab.errors import UserError
from tests.data.made import noise, png, spec, tar, write
from tests.data.test_download import Site, site

__all__ = ["site"]

CLASSES = {"Faces": 7, "ibis": 6}
TAKEN = {"Faces": 6, "ibis": 6}  # of seven, the first six


def images(classes: Mapping[str, int]) -> dict[str, bytes]:
    return {
        f"101_ObjectCategories/{label}/image_{number:04d}.jpg": png(
            noise(number + 100 * place, 12, 9, 3)
        )
        for place, (label, count) in enumerate(classes.items())
        for number in range(1, count + 1)
    }


CONTENTS = images(CLASSES)


def expected() -> dict[str, bytes]:
    found = {}
    for label, count in TAKEN.items():
        for number in range(1, count + 1):
            split = "validation" if number == 5 else "train"
            raw = CONTENTS[f"101_ObjectCategories/{label}/image_{number:04d}.jpg"]
            found[f"{split}/{label}/image_{number:04d}.jpg"] = raw
    return found


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Making:
    """The set of two classes, known by the hash of its files."""
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    known = replace(
        CALTECH25,
        files=files_hash(expected()),
        class_names=tuple(TAKEN),
        train_counts=(5, 5),
        test_counts=(1, 1),
    )
    made = replace(CALTECH101, known=known)
    monkeypatch.setitem(data.BUILT, "caltech25", made)
    return made


def packed(contents: Mapping[str, bytes] = CONTENTS) -> bytes:
    """A zip with the tar in it, among other things, as it is published."""
    stream = io.BytesIO()
    more = {"101_ObjectCategories/Faces_easy/image_0001.jpg": b"?", "Annotations/Faces/1.mat": b"?"}
    with zipfile.ZipFile(stream, "w") as whole:
        whole.writestr("__MACOSX/caltech-101/._101_ObjectCategories.tar.gz", b"?")
        whole.writestr("caltech-101/Annotations.tar", b"?")
        whole.writestr("caltech-101/101_ObjectCategories.tar.gz", tar({**more, **contents}, "gz"))
    return stream.getvalue()


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar", "folder", "class folders"])
def test_the_set_is_made_from_the_archive_in_any_form(
    form: str, making: Making, tmp_path: Path
) -> None:
    archive = tmp_path / "given"
    if form == "zip":
        write(archive, packed())
    elif form.startswith("tar"):
        write(archive, tar(CONTENTS, "gz" if form == "tar.gz" else ""))
    else:
        for name, raw in CONTENTS.items():
            write(archive / name, raw)
        archive = archive if form == "folder" else archive / "101_ObjectCategories"
    made = normlab.build_data("caltech25", archive, to=tmp_path / "to")
    assert made == tmp_path / "to" / "caltech25.tar"
    assert [item.name for item in members(made)] == sorted(expected())


def test_what_is_made_is_read_without_being_told_where(making: Making, tmp_path: Path) -> None:
    reason = making.known.absent(spec("caltech25"))
    assert reason is not None
    assert "`normlab data build caltech25` makes it" in reason
    normlab.build_data("caltech25", write(tmp_path / "c.zip", packed()))
    assert making.known.absent(spec("caltech25")) is None
    found = making.known.load(spec("caltech25", size=8))
    assert found.train_labels.tolist() == [0] * 5 + [1] * 5
    assert found.test_labels.tolist() == [0, 1]


def test_it_is_written_to_the_data_folder_that_is_set(
    making: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "data"))
    made = normlab.build_data("caltech25", write(tmp_path / "c.zip", packed()))
    assert made == tmp_path / "data" / "caltech25.tar"


def test_without_an_archive_it_is_downloaded(
    making: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    site.content = packed()
    here = replace(making, url=site.url, md5=hashlib.md5(site.content).hexdigest())
    monkeypatch.setitem(data.BUILT, "caltech25", here)
    made = normlab.build_data("caltech25")
    assert made == download.cache_folder() / "caltech25.tar"
    assert len(site.ranges) == 1


def test_the_same_archive_gives_the_same_bytes(making: Making, tmp_path: Path) -> None:
    archive = write(tmp_path / "c.zip", packed())
    first = normlab.build_data("caltech25", archive, to=tmp_path / "a").read_bytes()
    again = tmp_path / "d.tar"
    write(again, tar(dict(reversed(CONTENTS.items()))))
    assert normlab.build_data("caltech25", again, to=tmp_path / "b").read_bytes() == first


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (packed(images({"Faces": 7, "ibis": 4})), "lacks 2 of the 12 images, ibis/image_0005.jpg"),
        (packed({**CONTENTS, "101_ObjectCategories/ibis/image_0002.jpg": b"x"}), "other bytes"),
        (packed()[:-300], "cannot be read"),
        (b"no archive", "cannot be read"),
        (tar(CONTENTS, "gz")[:900], "cannot be read"),
    ],
)
def test_another_archive_is_refused_and_nothing_written(
    raw: bytes, message: str, making: Making, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        normlab.build_data("caltech25", write(tmp_path / "c.zip", raw), to=tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_file_too_large_for_an_image_is_not_read(
    making: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caltech, "_LARGEST", 100)
    with pytest.raises(UserError, match="too many for an image"):
        normlab.build_data("caltech25", write(tmp_path / "c.zip", packed()), to=tmp_path)


def test_other_sets_and_missing_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown data set to build 'caltech24'"):
        normlab.build_data("caltech24")
    with pytest.raises(UserError, match=r"nothing\.zip cannot be read"):
        normlab.build_data("caltech25", tmp_path / "nothing.zip")


def test_the_rule_gives_the_counts_of_the_set() -> None:
    places = [path.split("/") for path in CALTECH101.places().values()]
    for split, counts in (("train", CALTECH25.train_counts), ("validation", CALTECH25.test_counts)):
        for label, count in zip(CALTECH25.class_names, counts, strict=True):
            assert sum(place[:2] == [split, label] for place in places) == count


def test_the_rule_gives_the_names_of_the_real_set(real_data: Path) -> None:
    names = {item.name for item in members(real_data / "caltech25.tar")}
    assert names == set(CALTECH101.places().values())


def test_the_real_set_is_made_from_its_own_images(real_data: Path, tmp_path: Path) -> None:
    """Its images under the public archive's names are the set again, to the last byte."""
    places = {path: key for key, path in CALTECH101.places().items()}
    archive = real_data / "caltech25.tar"
    whole = archive.read_bytes()
    for item in members(archive):
        raw = whole[item.offset : item.offset + item.size]
        write(tmp_path.joinpath("101_ObjectCategories", *places[item.name]), raw)
    made = normlab.build_data("caltech25", tmp_path, to=tmp_path / "to")
    assert made.is_file()

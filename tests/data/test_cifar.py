"""Both formats of CIFAR: the same images from each, and nothing else from a pickle."""

import io
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from normlab.data.cifar import Archive, CifarSet, parse_binary, parse_python
from normlab.data.cifar10 import CIFAR10
from normlab.data.cifar100 import CIFAR100
from normlab.errors import UserError
from tests.data.made import binary_batch, cifar_set, md5, spec, tar, write

HERE = Path("some/batch")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def load(known: CifarSet) -> list[np.ndarray]:  # type: ignore[type-arg]
    found = known.load(spec(known.name))
    return [found.train_images, found.train_labels, found.test_images, found.test_labels]


def pickled(images: np.ndarray, labels: list[int], key: str) -> bytes:  # type: ignore[type-arg]
    """What Python 2 with the numpy of 2009 wrote, by its opcodes: Python 3 writes no such strings."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR("
    dtype += number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    shape = b"(" + number(len(images)) + number(3072) + b"t"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n("
    array += number(0) + b"t" + text(b"b") + b"tR("
    array += number(1) + shape + dtype + b"I00\n" + text(images.tobytes()) + b"tb"
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + listed + b"u."


def python_set(known: CifarSet, key: str) -> tuple[CifarSet, dict[str, bytes]]:
    """The same images in the python format."""
    binary, python = known.archives
    train = [parse_binary(binary_batch(known, n, 30 // len(binary.train)), known.label_bytes)
             for n in range(len(binary.train))]  # fmt: skip
    test = parse_binary(binary_batch(known, 9, 6), known.label_bytes)
    contents = {
        name: pickled(images, labels.tolist(), key)
        for name, (images, labels) in zip(python.train, train, strict=True)
    } | {name: pickled(test[0], test[1].tolist(), key) for name in python.test}
    described = replace(
        python,
        train={name: md5(contents[name]) for name in python.train},
        test={name: md5(contents[name]) for name in python.test},
    )
    return replace(known, archives=(binary, described)), contents


def test_a_record_is_label_then_red_green_and_blue_plane() -> None:
    record = bytes([3]) + bytes([10]) * 1024 + bytes([20]) * 1024 + bytes(1023) + bytes([255])
    images, labels = parse_binary(record * 2, label_bytes=1)
    assert labels.tolist() == [3, 3]
    assert images.shape == (2, 3, 32, 32)
    assert [int(images[1, c, 31, 31]) for c in range(3)] == [10, 20, 255]
    assert int(images[1, 2, 31, 30]) == 0


def test_of_two_label_bytes_the_fine_one_counts() -> None:
    _, labels = parse_binary(bytes([7, 99]) + bytes(3072), label_bytes=2)
    assert labels.tolist() == [99]


@pytest.mark.parametrize(("whole", "key"), [(CIFAR10, "labels"), (CIFAR100, "fine_labels")])
@pytest.mark.parametrize("inside", ["", "name"], ids=["top", "folder"])
@pytest.mark.parametrize("packed", [True, False], ids=["archive", "unpacked"])
def test_the_python_format_holds_the_same(
    whole: CifarSet, key: str, inside: str, packed: bool, folder: Path
) -> None:
    known = cifar_set(whole, folder)
    binary = load(known)
    (folder / known.archives[0].name).unlink()
    known, contents = python_set(known, key)
    archive = known.archives[1]
    place = folder / known.name if inside else folder
    if packed:
        named = {f"{archive.folder}/{name}": raw for name, raw in contents.items()}
        write(place / archive.name, tar(named, "gz"))
    else:
        for name, raw in contents.items():
            write(place / archive.folder / name, raw)
    for mine, theirs in zip(load(known), binary, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_archive_packed_anew_holds_the_same(folder: Path) -> None:
    known = cifar_set(CIFAR10, folder)
    path = folder / known.archives[0].name
    before = load(known)
    with tarfile.open(path) as opened:
        contents = {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]
    path.write_bytes(tar(contents, "xz"))
    np.testing.assert_array_equal(load(known)[0], before[0])


def test_an_archive_with_the_published_md5_needs_no_other_hash(folder: Path) -> None:
    known = cifar_set(CIFAR10, folder)
    archive = replace(known.archives[0], train=dict.fromkeys(known.archives[0].train, "0" * 32))
    assert len(load(replace(known, archives=(archive,)))[0]) == 30


def test_paths_in_an_archive_lead_nowhere(folder: Path) -> None:
    known = cifar_set(CIFAR10, folder)
    archive = known.archives[0]
    with tarfile.open(folder / archive.name) as opened:
        contents = {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]
    upward = {f"../../../{name}": raw for name, raw in contents.items()}
    (folder / archive.name).write_bytes(tar({**upward, "/etc/evil": b"x"}, "gz"))
    before = sorted(folder.parent.rglob("*"))
    assert len(load(known)[0]) == 30
    assert sorted(folder.parent.rglob("*")) == before


def test_a_missing_file_of_an_archive_is_named(folder: Path) -> None:
    known = cifar_set(CIFAR10, folder)
    content = {"data_batch_1.bin": binary_batch(known, 0, 6)}
    (folder / known.archives[0].name).write_bytes(tar(content, "gz"))
    with pytest.raises(UserError, match=r"lacks the file 'data_batch_2\.bin'"):
        load(known)


def test_a_cut_archive_is_the_user_s_to_mend(folder: Path) -> None:
    known = cifar_set(CIFAR10, folder)
    path = folder / known.archives[0].name
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz cannot be read.*Replace it"):
        load(known)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": Evil(), b"labels": []}, "asks for .*print"),
        ({b"data": np.zeros((1, 3072), object)}, "some/batch is no batch of images"),
        ({b"labels": [1]}, "data"),
        ([1, 2], "some/batch"),
    ],
    ids=["call", "objects", "no-data", "list"],
)
def test_a_pickle_that_is_more_than_arrays_is_refused(
    content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=message):
        parse_python(pickle.dumps(content, protocol=3), b"labels", HERE)
    assert capsys.readouterr().out == ""


def test_a_pickle_is_not_touched_before_its_bytes_are_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, contents = python_set(cifar_set(CIFAR10, folder), "labels")
    (folder / known.archives[0].name).unlink()
    archive: Archive = known.archives[1]
    stream = io.BytesIO()
    pickle.dump(Evil(), stream)
    for name in contents:
        write(folder / archive.folder / name, stream.getvalue())
    with pytest.raises(UserError, match="differs from the published"):
        load(known)
    assert capsys.readouterr().out == ""


def test_the_classes_of_cifar100_are_a_hundred_in_order() -> None:
    names = CIFAR100.class_names
    assert len(names) == 100
    assert list(names) == sorted(names)
    assert [names[i] for i in (0, 19, 49, 99)] == ["apple", "cattle", "mountain", "worm"]

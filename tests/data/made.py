"""Small data sets in the published formats, made here."""

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from normlab.data.cifar import CifarSet
from normlab.data.idx import IdxSet
from normlab.data.images.shipped import ShippedSet
from normlab.recipe import Recipe
from normlab.recipe.data import Data

Bytes = npt.NDArray[np.uint8]


def spec(kind: str, **options: Any) -> Data:
    """The data of a recipe."""
    return Recipe.parse({"data": {"kind": kind, **options}, "model": "digits-small"}).data


def noise(seed: int, *shape: int) -> Bytes:
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def md5(raw: bytes) -> str:
    return hashlib.md5(raw).hexdigest()


def idx(values: Bytes) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def idx_set(
    whole: IdxSet,
    folder: Path,
    *,
    side: int = 6,
    train: tuple[int, ...] = (4, 5, 6),
    test: tuple[int, ...] = (2, 2, 2),
) -> IdxSet:
    """Noise of `side` x `side` pixels in `folder`, so many images of each class as given."""
    labels = {
        part: np.repeat(np.arange(len(counts)), counts)
        for part, counts in (("train", train), ("test", test))
    }
    files = {}
    for part, classes in labels.items():
        made = {
            f"{part}_images": noise(len(classes), len(classes), side, side),
            f"{part}_labels": np.random.RandomState(0).permutation(classes).astype(np.uint8),
        }
        for key, values in made.items():
            raw = idx(values)
            packed = gzip.compress(raw)
            files[key] = replace(whole.files[key], unpacked=f"md5:{md5(raw)}", gzip_md5=md5(packed))
            write(folder / whole.name / f"{files[key].name}.gz", packed)
    return replace(
        whole,
        files=files,
        side=side,
        class_names=tuple("abcdefghij"[: len(train)]),
        train_counts=train,
        test_counts=test,
    )


def cifar_set(whole: CifarSet, folder: Path) -> CifarSet:
    """Three classes, 10 images of each for training and 2 for test, as a binary archive."""
    archive = whole.archives[0]
    parts = len(archive.train)
    contents = {
        name: binary_batch(whole, number, 30 // parts) for number, name in enumerate(archive.train)
    } | {name: binary_batch(whole, 9, 6) for name in archive.test}
    packed = tar({f"{archive.folder}/{name}": raw for name, raw in contents.items()}, "gz")
    write(folder / archive.name, packed)
    known = replace(
        archive,
        md5=md5(packed),
        train={name: md5(contents[name]) for name in archive.train},
        test={name: md5(contents[name]) for name in archive.test},
    )
    return replace(
        whole,
        archives=(known, *whole.archives[1:]),
        class_names=("a", "b", "c"),
        per_class=(10, 2),
    )


def binary_batch(whole: CifarSet, seed: int, count: int) -> bytes:
    records = noise(seed, count, whole.label_bytes + 3072)
    records[:, 0] = 7  # of two label bytes, the one that is not the label
    records[:, whole.label_bytes - 1] = np.arange(count) % 3
    return records.tobytes()


def tar(contents: Mapping[str, bytes], packing: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{packing}") as archive:  # type: ignore[call-overload]
        for name, raw in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return stream.getvalue()


def shipped_set(whole: ShippedSet, folder: Path) -> ShippedSet:
    """Two classes, 4 and 5 images for training and 2 of each for test, as an archive."""
    counts = {f"train/{c}": n for c, n in zip("ab", (4, 5), strict=True)}
    counts |= {f"{whole.test}/{c}": 2 for c in "ab"}
    contents = {
        f"{place}/{number}.png": png(noise(number, 40, 32, 3))
        for place, count in counts.items()
        for number in range(count)
    }
    write(folder / f"{whole.name}.tar", tar(contents))
    lines = [
        f"{json.dumps(name)} {hashlib.sha256(contents[name]).hexdigest()}\n"
        for name in sorted(contents)
    ]
    return replace(
        whole,
        files=hashlib.sha256("".join(lines).encode()).hexdigest(),
        class_names=("a", "b"),
        train_counts=(4, 5),
        test_counts=(2, 2),
    )


def class_folders(root: Path, counts: Mapping[str, int], *shape: int) -> Path:
    """A folder of PNG files; no two are equal."""
    for place, count in counts.items():
        for number in range(count):
            pixels = noise(seed_of(place, number), *(shape or (8, 8, 3)))
            write(root / place / f"{number:03}.png", png(pixels))
    return root


def seed_of(place: str, number: int) -> int:
    """The seed of a picture that `class_folders` puts there."""
    return zlib.crc32(f"{place}/{number}".encode())


def png(pixels: npt.NDArray[Any]) -> bytes:
    return saved(Image.fromarray(pixels), "PNG")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path

"""Decoded images, kept: a .npy file that is mapped, and a .json with what is known of it.

A set of files and a way to decode them have one folder in the cache, and the files' content one
entry in it, named by a hash of their names and bytes. So that a large set is not read at every
start, the entry also tells what the files' entries on the disk looked like when they were read:
their numbers, sizes and times, that of the last change (ctime) among them, which nobody can set.
Sizes and times of writing alone would not do: tar, Docker layers and `cp -p` make them equal.
Entries are written under another name and renamed when whole; two processes that make the same one
make equal ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from normlab.data.dataset import Images, Indices
from normlab.data.download import cache_folder
from normlab.data.images.hashing import file_hashes
from normlab.data.images.options import Options
from normlab.data.images.scan import Item
from normlab.errors import UserError
from normlab.files import put_in_place, write_whole

if TYPE_CHECKING:
    from normlab.data.images.pool import Outcome

Mapped = np.memmap[tuple[int, ...], np.dtype[np.uint8]]

_FORMAT = 2  # raised when equal files and options would decode otherwise
_CHUNK = 4096
_STALE = 86_400.0  # seconds after which a file that was never finished is nobody's any more
_SETTLED = 2_000_000_000  # nanoseconds: a file system's clock may stand still for so long


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of decoded images.

    Attributes:
        pixels: SHA-256 of the array's bytes.
        files: SHA-256 over the names of the files and the hashes of their bytes.
        broken: Why by name, for the files that are no readable image: they have no row.
        sizes: Width, height and how many images have them before resizing, most frequent first.
        equal: Rows of the array that are equal, wherever two or more are.
        seen: What the files' entries on the disk looked like; empty where that tells nothing.
    """

    pixels: str
    files: str
    broken: dict[str, str]
    sizes: list[list[int]]
    equal: list[list[int]]
    seen: str


def decoded(
    place: Path,
    options: Options,
    items: Sequence[Item],
    inside: Callable[[], Sequence[Item]] | None = None,
) -> tuple[Entry, Images]:
    """The images of `place`, from the cache or decoded into it.

    Args:
        place: The folder or archive they are in.
        options: How they are decoded.
        items: The files: the images, or the archive.
        inside: Finds the images in an archive; called if they must be decoded.

    Returns:
        What is known, and an array (N, C, H, W) that is mapped from its file and read-only.

    Raises:
        UserError: Files that cannot be read, no image among them, no room in the cache.
    """
    name = hashlib.sha256(json.dumps([str(place.resolve()), *options]).encode())
    folder = cache_folder() / "images" / name.hexdigest()[:20]
    seen = _seen(items)
    found = _known(folder, seen)
    if found is None:
        try:
            # With nothing to compare with, the decoding's own hashes do: one reading less.
            signed = _signature(items, file_hashes(items)) if _entries(folder) else None
            found = _read(folder, signed) if signed else None
            if found is None:
                signed = _write(folder, items, inside, options, seen=seen, signed=signed)
                found = _read(folder, signed)
            elif seen and signed:
                entry = replace(found[0], seen=seen)
                _put_entry(folder, signed, entry)
                found = entry, found[1]
        except OSError as error:
            raise UserError(
                f"the decoded images of {place} cannot be stored in {folder}: {error}. "
                "Set NORMLAB_CACHE to a folder with room for them."
            ) from None
    if found is None:
        raise UserError(f"{place} is being changed, or {folder} is: run again")
    return found


def _seen(items: Sequence[Item]) -> str:
    """What changes when a file is added, removed, replaced or written to; empty if unsure."""
    times = [item.known_by[3] for item in items]
    # A file that changed a moment ago may change once more within the same tick of the clock. On
    # Windows the last time is that of the making.
    if os.name == "nt" or not times or min(times) <= 0 or max(times) > time.time_ns() - _SETTLED:
        return ""
    digest = hashlib.sha256(_HEAD)
    digest.update("".join(f"{i.name!r} {i.offset} {i.size} {i.known_by}\n" for i in items).encode())
    return digest.hexdigest()[:20]


_HEAD = json.dumps([_FORMAT, version("pillow")]).encode()


def _signature(items: Sequence[Item], hashes: Sequence[str]) -> str:
    """The name of the entry of files of these names and contents."""
    return hashlib.sha256(_HEAD + manifest(items, hashes).encode()).hexdigest()[:20]


def _entries(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.json"))


def _known(folder: Path, seen: str) -> tuple[Entry, Images] | None:
    """The entry whose files looked as those of now, if one says so."""
    for signed in _entries(folder) if seen else ():
        found = _read(folder, signed)
        if found is not None and found[0].seen == seen:
            return found
    return None


def _read(folder: Path, signed: str) -> tuple[Entry, Images] | None:
    try:
        entry = Entry(**json.loads((folder / f"{signed}.json").read_bytes()))
        images = np.load(folder / f"{signed}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, TypeError):
        return None  # not there, or damaged: made anew
    return entry, np.asarray(images)


def _write(
    folder: Path,
    files: Sequence[Item],
    inside: Callable[[], Sequence[Item]] | None,
    options: Options,
    *,
    seen: str,
    signed: str | None,
) -> str:
    """Decode the images into a new entry; returns its name."""
    from normlab.data.images.pool import decode_all

    items = inside() if inside else files
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, signed)
    temporary = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        images = _room(temporary, (len(items), *options.shape))
        outcome = decode_all(items, options, images, temporary)
        if inside is None:
            signed = _signature(items, outcome.hashes)
        elif signed is None:
            signed = _signature(files, file_hashes(files))
        images, entry = _described(images, items, outcome, seen, temporary)
        images.flush()
        del images
        put_in_place(temporary, folder / f"{signed}.npy")
        _put_entry(folder, signed, entry)
    finally:
        temporary.unlink(missing_ok=True)
    return signed


def _put_entry(folder: Path, signed: str, entry: Entry) -> None:
    write_whole(folder / f"{signed}.json", json.dumps(asdict(entry)).encode())


def _described(
    images: Mapped, items: Sequence[Item], outcome: Outcome, seen: str, path: Path
) -> tuple[Mapped, Entry]:
    """The rows that could be decoded, written in the place of all, and what is known of them."""
    if len(outcome.broken) == len(items):
        row, reason = next(iter(outcome.broken.items()))
        raise UserError(
            f"none of the {len(items)} images can be read, the first is {items[row].path}: {reason}"
        )
    kept = np.setdiff1d(np.arange(len(items)), list(outcome.broken))
    if outcome.broken:
        images = _only(images, kept, path)
    pixels, equal = _fingerprints(images)
    sizes = Counter(outcome.sizes[row] for row in kept.tolist())
    entry = Entry(
        pixels=pixels,
        files=manifest(items, outcome.hashes),
        broken={items[row].name: reason for row, reason in outcome.broken.items()},
        sizes=[[*size, count] for size, count in sorted(sizes.items(), key=_frequent)],
        equal=equal,
        seen=seen,
    )
    return images, entry


def _frequent(item: tuple[tuple[int, int], int]) -> tuple[int, tuple[int, int]]:
    return -item[1], item[0]


def _fingerprints(images: Images) -> tuple[str, list[list[int]]]:
    """The hash of all pixels, and which rows are equal."""
    whole = hashlib.sha256()
    rows: dict[bytes, list[int]] = {}
    for start in range(0, len(images), _CHUNK):
        chunk = np.ascontiguousarray(images[start : start + _CHUNK])
        whole.update(chunk.data)
        for row, image in enumerate(chunk, start=start):
            rows.setdefault(hashlib.blake2b(image.data, digest_size=16).digest(), []).append(row)
    return whole.hexdigest(), [same for same in rows.values() if len(same) > 1]


def manifest(items: Sequence[Item], hashes: Sequence[str]) -> str:
    """SHA-256 over names and contents of files, in order."""
    lines = (f"{json.dumps(i.name)} {sha}\n" for i, sha in zip(items, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _room(path: Path, shape: tuple[int, ...]) -> Mapped:
    """A new mapped array whose place on the disk is taken: a write to it cannot fail later."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images


def _only(images: Images, kept: Indices, path: Path) -> Mapped:
    """The rows `kept`, written in the place of all rows."""
    beside = path.with_suffix(".kept.tmp")
    try:
        part = _room(beside, (len(kept), *images.shape[1:]))
        for start in range(0, len(kept), _CHUNK):
            part[start : start + _CHUNK] = images[kept[start : start + _CHUNK]]
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return part


def _sweep(folder: Path, signed: str | None) -> None:
    """Remove what killed processes left, and what the files looked like before if that is known."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process was faster, or has it open where that forbids
            if path.suffix == ".tmp":
                old = time.time() - path.stat().st_mtime >= _STALE
            else:
                old = signed is not None and not path.name.startswith(signed)
            if old:
                path.unlink()

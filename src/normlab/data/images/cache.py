"""Decoded images, kept: a .npy file that is mapped, and a .json with what is known of it.

A set of files and a way to decode them have one folder in the cache, and what they looked like
last one entry in it, named by a signature of the files' names, sizes and times. Entries are written
under another name and renamed when whole; two processes that make the same one make equal ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from normlab.data.dataset import Images, Indices
from normlab.data.download import cache_folder
from normlab.data.images.options import Options
from normlab.data.images.scan import Item
from normlab.errors import UserError
from normlab.files import put_in_place, write_whole

_FORMAT = 1  # raised when equal files and options would decode otherwise
_CHUNK = 4096
_STALE = 86_400.0  # seconds after which a file that was never finished is nobody's any more


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of decoded images.

    Attributes:
        pixels: SHA-256 of the array's bytes.
        files: SHA-256 over the names of the files and the hashes of their bytes.
        broken: Why by name, for the files that are no readable image: they have no row.
    """

    pixels: str
    files: str
    broken: dict[str, str]


def signature(items: Sequence[Item]) -> str:
    """What changes when a file is added, removed or written to."""
    digest = hashlib.sha256(json.dumps([_FORMAT, version("pillow")]).encode())
    lines = (f"{i.name!r} {i.offset} {i.size} {i.mtime}\n" for i in items)
    digest.update("".join(lines).encode())
    return digest.hexdigest()[:20]


def decoded(
    place: Path, options: Options, signed: str, items: Callable[[], Sequence[Item]]
) -> tuple[Entry, Images]:
    """The images of `place`, from the cache or decoded into it.

    Args:
        place: The folder or archive they are in.
        options: How they are decoded.
        signed: Their signature.
        items: Finds them; called if they must be decoded.

    Returns:
        What is known, and an array (N, C, H, W) that is mapped from its file and read-only.

    Raises:
        UserError: Files that cannot be read, no image among them, no room in the cache.
    """
    name = hashlib.sha256(json.dumps([str(place.resolve()), *options]).encode())
    folder = cache_folder() / "images" / name.hexdigest()[:20]
    found = _read(folder, signed)
    if found is None:
        try:
            _write(folder, signed, items(), options)
        except OSError as error:
            raise UserError(
                f"the decoded images of {place} cannot be stored in {folder}: {error}. "
                "Set NORMLAB_CACHE to a folder with room for them."
            ) from None
        found = _read(folder, signed)
    if found is None:
        raise UserError(f"{place} is being changed, or {folder} is: run again")
    return found


def _read(folder: Path, signed: str) -> tuple[Entry, Images] | None:
    try:
        entry = Entry(**json.loads((folder / f"{signed}.json").read_bytes()))
        images = np.load(folder / f"{signed}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, TypeError):
        return None  # not there, or damaged: made anew
    return entry, np.asarray(images)


def _write(folder: Path, signed: str, items: Sequence[Item], options: Options) -> None:
    from normlab.data.images.pool import decode_all

    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, signed)
    temporary = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        images = _room(temporary, (len(items), *options.shape))
        outcome = decode_all(items, options, images, temporary)
        if len(outcome.broken) == len(items):
            row, reason = next(iter(outcome.broken.items()))
            raise UserError(
                f"none of the {len(items)} images can be read, the first is "
                f"{items[row].path}: {reason}"
            )
        if outcome.broken:
            kept = np.setdiff1d(np.arange(len(items)), list(outcome.broken))
            images = _only(images, kept, temporary)
        digest = hashlib.sha256()
        for start in range(0, len(images), _CHUNK):
            digest.update(images[start : start + _CHUNK].tobytes())
        entry = Entry(
            pixels=digest.hexdigest(),
            files=manifest(items, outcome.hashes),
            broken={items[row].name: reason for row, reason in outcome.broken.items()},
        )
        images.flush()
        del images
        put_in_place(temporary, folder / f"{signed}.npy")
        write_whole(folder / f"{signed}.json", json.dumps(asdict(entry)).encode())
    finally:
        temporary.unlink(missing_ok=True)


def manifest(items: Sequence[Item], hashes: Sequence[str]) -> str:
    """SHA-256 over names and contents of files, in order."""
    lines = (f"{json.dumps(i.name)} {sha}\n" for i, sha in zip(items, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _room(path: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    """A new mapped array whose place on the disk is taken: a write to it cannot fail later."""
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return images


def _only(
    images: Images, kept: Indices, path: Path
) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
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


def _sweep(folder: Path, signed: str) -> None:
    """Remove what the files looked like before, and what killed processes left."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process was faster, or has it open where that forbids
            young = time.time() - path.stat().st_mtime < _STALE
            if not (path.suffix == ".tmp" and young) and not path.name.startswith(signed):
                path.unlink()

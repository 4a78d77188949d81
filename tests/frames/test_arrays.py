"""The files that trials leave, read fast where they are as runs write them, and else not at all."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from normlab.frames.arrays import usual_arrays

NAMES = ("labels", "predictions", "confidences")
MOST = 1 << 20


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(50, dtype=np.int32) % 10
    return {
        "labels": labels,
        "predictions": (labels + (rng.random(50) < 0.2)).astype(np.int32),
        "confidences": rng.random(50).astype(np.float32),
    }


def packed() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays())
    return stream.getvalue()


def read(content: bytes, tmp_path: Path, most: int = MOST) -> list[np.ndarray] | None:
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    return usual_arrays(path, NAMES, most)


def test_what_a_run_writes_is_read(tmp_path: Path) -> None:
    found = read(packed(), tmp_path)
    assert found is not None
    for one, (name, other) in zip(found, arrays().items(), strict=True):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other)


def test_any_other_form_is_left_to_numpy(tmp_path: Path) -> None:
    plain, more = io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays())
    np.savez_compressed(more, **arrays(), further=np.zeros(3))
    assert read(plain.getvalue(), tmp_path) is None
    assert read(more.getvalue(), tmp_path) is None
    assert read(b"", tmp_path) is None
    assert read(b"no archive, but long enough to hold the end of one", tmp_path) is None
    assert usual_arrays(tmp_path, NAMES, MOST) is None  # a folder


def test_no_more_is_unpacked_than_is_allowed(tmp_path: Path) -> None:
    assert read(packed(), tmp_path, most=3 * 128 + 12 * 50) is not None
    assert read(packed(), tmp_path, most=3 * 128 + 12 * 50 - 1) is None


def test_objects_are_never_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **{**arrays(), "labels": np.array([{}], dtype=object)})
    assert read(stream.getvalue(), tmp_path) is None


def test_a_size_that_lies_unpacks_to_nothing(tmp_path: Path) -> None:
    """An archive that says it is small and is not: unpacking ends at the size it says."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.writestr(f"{name}.npy", bytes(1 << 22))
    made = bytearray(content.getvalue())
    at = made.index(b"PK\1\2")
    struct.pack_into("<L", made, at + 24, 100)
    assert read(bytes(made), tmp_path) is None


@pytest.mark.parametrize("where", [0.02, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97])
def test_damage_is_an_error_or_left_to_numpy(where: float, tmp_path: Path) -> None:
    whole = packed()
    damaged = bytearray(whole)
    damaged[int(where * len(whole))] ^= 0xFF
    try:
        found = read(bytes(damaged), tmp_path)
    except (struct.error, zlib.error, ValueError, SyntaxError, EOFError):
        return
    if found is not None:  # what was changed decides nothing: a date, say
        for one, other in zip(found, arrays().values(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_size_of_nothing_unpacks_nothing(tmp_path: Path) -> None:
    """zlib takes a bound of 0 bytes for none: a few kilobytes would fill the memory."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = deflate.compress(bytes(1 << 26)) + deflate.flush()
    name = b"labels.npy"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(bomb), 0, len(name), 0)
    entry = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\1\2", 20, 20, 0, 8, 0, 0),
        *(0, len(bomb), 0),
        *(len(name), 0, 0, 0, 0, 0, 0),
    )
    head, directory = local + name + bomb, entry + name
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory), len(head), 0)
    tracemalloc.start()
    try:
        assert read(head + directory + end, tmp_path) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_headers_that_contradict_each_other_are_left_to_numpy(tmp_path: Path) -> None:
    whole = packed()
    assert read(whole, tmp_path) is not None
    places = {
        "name before the file": 30,
        "version": whole.index(b"PK\1\2") + 6,
        "size of the directory": len(whole) - 22 + 12,
    }
    for what, place in places.items():
        damaged = bytearray(whole)
        damaged[place] ^= 0x80
        assert read(bytes(damaged), tmp_path) is None, what

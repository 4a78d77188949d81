import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from normlab.data.idx import parse_idx, read_bytes
from normlab.data.kmnist import KMNIST
from normlab.errors import UserError
from tests.data.made import idx_set, spec

VALUES = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
HEADER = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in VALUES.shape)
WHOLE = HEADER + VALUES.tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reads_idx_gzip_or_not_whatever_the_name(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(WHOLE))
    np.testing.assert_array_equal(parse_idx(read_bytes(path), path, dimensions=3), VALUES)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not an IDX file: it begins with nothing"),
        (b"<html>", "not an IDX file: it begins with 3c68746d"),
        (WHOLE[:-1], r"promises 12 values \(2x3x2\), it holds 11"),
        (WHOLE + b"x", "it holds 13"),
        (WHOLE[:9], "cut short"),
        (bytes([0, 0, 13, 3]) + WHOLE[4:], "IDX type 13 in 3 dimensions"),
        (bytes([0, 0, 8, 1]) + WHOLE[4:], "type 8 in 1 dimensions"),
    ],
)
def test_says_what_is_wrong_with_which_file(raw: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_idx(raw, Path("some/file"), dimensions=3)
    assert "some/file" in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b[:20] + bytes(8) + b[28:]],
    ids=["cut", "bits"],
)
def test_a_damaged_gzip_stream_is_the_user_s_to_mend(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(WHOLE * 50)))  # type: ignore[operator]
    with pytest.raises(UserError, match=r"images\.gz cannot be read"):
        read_bytes(path)


@pytest.mark.parametrize(
    "pack", [lambda raw: raw, lambda raw: gzip.compress(raw, 1, mtime=1)], ids=["plain", "another"]
)
def test_a_set_is_told_by_its_unpacked_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: object
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    known = idx_set(KMNIST, tmp_path)
    before = known.load(spec("kmnist"))
    for path in (tmp_path / "kmnist").iterdir():
        raw = gzip.decompress(path.read_bytes())
        path.unlink()
        path.with_suffix("").write_bytes(pack(raw))  # type: ignore[operator]
    after = known.load(spec("kmnist"))
    np.testing.assert_array_equal(after.train_images, before.train_images)
    assert after.digest == before.digest


def test_the_published_gzip_needs_no_other_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    known = idx_set(KMNIST, tmp_path)
    files = {key: replace(file, unpacked="md5:" + "0" * 32) for key, file in known.files.items()}
    assert len(replace(known, files=files).load(spec("kmnist")).train_labels) == 15


def test_a_small_gzip_that_unpacks_to_a_full_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normlab.data.idx.LARGEST", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(1 << 24)))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(UserError, match="no published file has"):
        read_bytes(path)

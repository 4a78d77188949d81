"""Files that are whole or not there, for good."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from normlab import files
from normlab.files import (
    make_folder,
    put_in_place,
    sweep,
    temporary_name,
    write_files,
    write_whole,
)


class Log:
    """What is synced and renamed, in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def synced(number: int) -> None:
            kind = "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
            name = Path(f"/proc/self/fd/{number}").readlink().name if kind == "folder" else ""
            self.events.append(f"sync {kind} {name}".strip())
            fsync(number)

        def replaced(path: Path, target: Path) -> Path:
            self.events.append(f"rename to {target.name}")
            return replace(path, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "replace", replaced)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(monkeypatch)
    write_whole(tmp_path / "deep" / "new" / "a", b"x")
    assert log.events == [
        f"sync folder {tmp_path.name}",  # has "deep" now
        "sync file",
        "rename to a",
        "sync folder new",
        "sync folder deep",  # has "new" now
    ]
    log.events.clear()
    temporary = temporary_name(tmp_path)
    temporary.write_bytes(b"y")
    put_in_place(temporary, tmp_path / "b")
    assert log.events == ["sync file", "rename to b", f"sync folder {tmp_path.name}"]


def test_several_files_are_there_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files({tmp_path / "a": b"1", tmp_path / "b": b"1"})
    left = 1

    def fsync(_: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left") as raised:
        write_files({tmp_path / "a": b"2", tmp_path / "b": b"2"})
    assert raised.value.filename == str(tmp_path / "b")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"1"}


@pytest.mark.parametrize("path", [".", "/", "folder"])
def test_a_folder_is_no_file_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        write_whole(Path(path), b"x")
    assert raised.value.errno == errno.EISDIR


HALF = """
import os, sys
from pathlib import Path
from normlab import files
path = files.temporary_name(Path(sys.argv[1]))
path.write_bytes(b"half")
print(path.name)
"""


def half_written(folder: Path) -> str:
    """What a process that died left in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", HALF, str(folder)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_a_dead_process_left_is_swept_by_the_next_write(tmp_path: Path) -> None:
    left = half_written(tmp_path)
    mine = temporary_name(tmp_path)  # another thread is writing it
    mine.write_bytes(b"half")
    (tmp_path / "notes.77.tmp").write_bytes(b"somebody's")
    assert (tmp_path / left).exists()
    write_whole(tmp_path / "a", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"a", mine.name, "notes.77.tmp"}


def test_what_another_machine_writes_stays_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setattr(files, "host_mark", lambda: "0000abcd")
        theirs = temporary_name(tmp_path)
    theirs.write_bytes(b"half")
    sweep(tmp_path)
    assert theirs.exists()
    day = theirs.stat().st_mtime - 25 * 3600
    os.utime(theirs, (day, day))
    sweep(tmp_path)
    assert not theirs.exists()
    theirs.write_bytes(b"half")
    sweep(tmp_path, alone=True)
    assert not theirs.exists()


def test_a_sweep_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    left = tmp_path / "real" / half_written(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    sweep(tmp_path / "link", alone=True)
    assert left.exists()


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"exists|directory"):
        make_folder(tmp_path / "file" / "deep")

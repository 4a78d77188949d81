"""TensorBoard's folders: which of them are recognised; their content needs its package."""

import struct
import sys
from pathlib import Path

import pytest

from normlab.errors import UserError
from normlab.trackers.read import read_runs, tool_of

# A record's length, a checksum, and an event with the version of the format.
BEGIN = struct.pack("<QI", 24, 0) + b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2" + bytes(4)


def test_a_folder_with_event_files_anywhere_is_recognised_by_what_they_hold(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "events.out.tfevents.1.host").write_bytes(b"something else")
    assert tool_of(tmp_path) is None
    (deep / "events.out.tfevents.2.host").write_bytes(BEGIN)
    assert tool_of(tmp_path) == "tensorboard"
    (tmp_path / "any name").write_bytes(BEGIN)
    assert tool_of(tmp_path / "any name") == "tensorboard"


def test_without_its_package_a_folder_is_refused_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    (tmp_path / "events.out.tfevents.1.host").write_bytes(BEGIN)
    with pytest.raises(UserError, match=r"package tensorboard.*pip install 'normlab\[trackers\]'"):
        read_runs(tmp_path)

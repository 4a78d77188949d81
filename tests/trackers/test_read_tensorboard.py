"""TensorBoard's folders: which of them are recognised; their content needs its package."""

import struct
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from tests.trackers import made

from normlab.errors import UserError
from normlab.trackers.read import read_runs, tensorboard, tool_of

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


@pytest.mark.parametrize(
    "missing", ["tensorboard.util.tensor_util", "tensorboard.plugins.hparams.plugin_data_pb2"]
)
def test_a_missing_part_of_the_package_is_no_damage_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def imported(name: str) -> Any:
        if name == missing:
            raise ImportError(f"no {name}", name=name)
        return MagicMock()

    monkeypatch.setattr("normlab.trackers.read.packages.importlib.import_module", imported)
    (tmp_path / "events.out.tfevents.1.host").write_bytes(BEGIN)
    with pytest.raises(UserError, match=rf"cannot be imported \(no {missing}\)"):
        read_runs(tmp_path)


def test_event_files_are_not_looked_for_in_another_tool_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.trackio(tmp_path / "p.db", [("i", "a", 0, {"acc": 0.5})])
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1.host").write_bytes(BEGIN)
    walked: list[Path] = []
    monkeypatch.setattr(tensorboard, "recognises", lambda path: walked.append(path) or True)
    assert tool_of(tmp_path) == "trackio"
    assert walked == []
    assert tool_of(tmp_path / "logs") == "tensorboard"
    assert walked == [tmp_path / "logs"]

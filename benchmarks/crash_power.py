"""The power-loss model: of a recorded run, what is on the disk if only what was synced survives.

Strict: a file's content is what it was at its last fsync, a folder's entries are those of the folder's
own last fsync. Real file systems keep more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crash_calls import Call, plain_text

_FD = re.compile(r"^(\d+)<([^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class _File:
    def __init__(self) -> None:
        self.now = bytearray()
        self.synced = b""


class Disk:
    """Files and folders below `root`: as they are, and as a loss of power would leave them."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.now: dict[str, _File | None] = {}  # None: a folder
        self.synced: dict[str, _File | None] = {}
        self.open: dict[str, tuple[_File, int]] = {}
        self.said = ""

    def play(self, calls: list[Call]) -> Iterator[tuple[int, str]]:
        """Do the calls in turn; before each sync, its place and what the run had said until then."""
        for place, call in enumerate(calls):
            if call.name in ("fsync", "fdatasync"):
                yield place, self.said
            if call.result != "?" and not call.result.startswith("-"):
                self._do(call)
        yield len(calls), self.said

    def put(self, folder: Path) -> None:
        """Write what survives into an empty folder."""
        for path in sorted(self.synced):
            target = folder / path.removeprefix(f"{self.root}/")
            if not target.parent.is_dir():
                continue  # its folder's own entry was never synced
            file = self.synced[path]
            if file is None:
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(file.synced)

    def _do(self, call: Call) -> None:
        name, text = call.name, call.arguments
        if name == "openat":
            self._open(call)
        elif name in ("write", "pwrite64"):
            self._write(call)
        elif name == "lseek":
            number = _FD.match(text)
            if number and number[1] in self.open:
                self.open[number[1]] = (self.open[number[1]][0], int(call.result))
        elif name == "ftruncate":
            self._truncate(text)
        elif name in ("fsync", "fdatasync"):
            self._sync(text)
        elif name.startswith("rename"):
            old, new = (self._path(found) for found in _QUOTED.findall(text)[:2])
            if old in self.now:
                self.now[new] = self.now.pop(old)
        elif name.startswith(("unlink", "rmdir")):
            self.now.pop(self._path(_QUOTED.findall(text)[0]), None)
        elif name.startswith("mkdir"):
            self.now[self._path(_QUOTED.findall(text)[0])] = None

    def _open(self, call: Call) -> None:
        path = self._path(_QUOTED.findall(call.arguments)[0])
        file = self.now.get(path)
        if file is None:
            if "O_CREAT" not in call.arguments:
                return
            file = self.now[path] = _File()
        if "O_TRUNC" in call.arguments:
            file.now = bytearray()
        self.open[call.result] = (file, 0)

    def _write(self, call: Call) -> None:
        found = _FD.match(call.arguments.split(",")[0])
        if not found:
            return
        path = plain_text(found[2])
        data = bytes.fromhex(_BYTES.findall(call.arguments.split(",", 1)[1])[0].replace("\\x", ""))
        data = data[: int(call.result)]
        if path.endswith("/out.txt"):
            self.said += data.decode(errors="replace")
        if found[1] not in self.open or self.now.get(path) is not self.open[found[1]][0]:
            return
        file, position = self.open[found[1]]
        if call.name == "pwrite64":
            position = int(call.arguments.rsplit(",", 1)[1])
        if len(file.now) < position:
            file.now.extend(bytes(position - len(file.now)))
        file.now[position : position + len(data)] = data
        if call.name == "write":
            self.open[found[1]] = (file, position + len(data))

    def _truncate(self, text: str) -> None:
        found = _FD.match(text)
        file = self.now.get(found[2]) if found else None
        if file is not None:
            size = int(text.rsplit(",", 1)[1])
            file.now = file.now[:size] + bytes(max(0, size - len(file.now)))

    def _sync(self, text: str) -> None:
        found = _FD.match(text)
        if not found:
            return
        path = found[2]
        file = self.now.get(path)
        if file is not None:
            file.synced = bytes(file.now)
            return
        for names in (self.synced, self.now):  # a folder: its entries, those that are gone too
            for entry in [one for one in names if one.rpartition("/")[0] == path]:
                if names is self.synced:
                    del self.synced[entry]
                else:
                    self.synced[entry] = self.now[entry]

    def _path(self, quoted: str) -> str:
        return quoted if quoted.startswith("/") else f"{self.root}/{quoted}"

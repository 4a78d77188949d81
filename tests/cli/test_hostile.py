"""Study files that mean harm: `normlab plan` of each says so, or lays it out, and does nothing else.

An audit hook sees what Python does: every process that is started, every file opened for writing or
changed, every connection, every import.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Any

HARM = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
    "pty.spawn", "os.startfile", "socket.connect", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
    "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "ctypes.dlopen", "shutil.rmtree",
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_watching: list[tuple[str, tuple[Any, ...]]] | None = None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watching is None:
        return
    if event == "open":
        path, _, flags = args
        own = isinstance(path, int) or "__pycache__" in str(path) or str(path) == os.devnull
        if not own and flags & WRITES:
            _watching.append((event, args))
    elif event in HARM or (event == "import" and str(args[0]).partition(".")[0] in FORBIDDEN):
        _watching.append((event, args))


FORBIDDEN = {"strange", "antigravity", "this", "pip", "webbrowser"}


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_audit)  # there is no taking it off: it looks away outside of `watched`


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What Python did of the harmful kind; every import of normlab's is done before."""
    global _watching  # noqa: PLW0603
    package = tmp_path / "work/strange"
    package.mkdir(parents=True)
    for name in ("__init__.py", "nets.py"):
        (package / name).write_text("open('PWNED', 'w').close()\n")
    info = tmp_path / "work/evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[normlab.models]\nfriendly = strange:Net\n[normlab.data]\nnice = strange:load\n"
    )
    (tmp_path / "precious.txt").write_text("mine")
    monkeypatch.syspath_prepend(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    yield (seen := [])
    _watching = None
    assert seen == []


BASE = "question: q\nseeds: 1\nbase: {data: digits, model: digits-small, epochs: 1"
NINE = ", ".join(["*{0}"] * 9)
LINES = "".join(f"a{i}: &a{i} [{NINE.format(f'a{i - 1}')}]\n" for i in range(1, 12))
MERGES = "".join(f"a{i}: &a{i} {{<<: [{NINE.format(f'a{i - 1}')}]}}\n" for i in range(1, 12))
MANY = "[" + ", ".join(str((i + 1) / 1000) for i in range(300)) + "]"


def model(kind: str, options: str = "") -> str:
    return f"question: q\nseeds: 1\nbase: {{data: digits, model: {{kind: '{kind}'{options}}}, epochs: 1}}\n"


UNTRUSTED = "Nothing of it was imported"
FILES: dict[str, tuple[str | bytes, int, str]] = {
    "a shell": (model("os:system", ", command: 'touch PWNED'"), 2, UNTRUSTED),
    "a process": (model("subprocess:run", ", args: [touch, PWNED]"), 2, UNTRUSTED),
    "a spawn": (model("os:posix_spawn", ", path: /bin/touch"), 2, UNTRUSTED),
    "exec": (model("builtins:exec", ", source: 'import this'"), 2, UNTRUSTED),
    "a norm": (BASE + ", norm: 'os:system'}\n", 2, UNTRUSTED),
    "a dotted kind": (BASE + ", model.kind: 'os:system'}\n", 2, UNTRUSTED),
    "images": (BASE.replace("digits,", "'os:getcwd',", 1) + "}\n", 2, UNTRUSTED),
    "images by a dotted kind": (BASE + ", data.kind: 'os:getcwd'}\n", 2, UNTRUSTED),
    "images of an entry point beside it": (
        BASE.replace("digits,", "nice,", 1) + "}\n",
        2,
        UNTRUSTED,
    ),
    "a level": (BASE + "}\nfactors: {norm: [batch, 'os:system']}\n", 2, UNTRUSTED),
    "an arm": (BASE + "}\narms: [{label: a, set: {norm: {kind: 'os:system'}}}]\n", 2, UNTRUSTED),
    "a package beside it": (model("strange:Net"), 2, UNTRUSTED),
    "a module beside it": (model("strange.nets:Net"), 2, UNTRUSTED),
    "an entry point beside it": (model("friendly"), 2, UNTRUSTED),
    "a module that acts": (model("antigravity:fly"), 2, UNTRUSTED),
    "pip": (model("pip._internal.cli.main:main", ", args: [install, evil]"), 2, UNTRUSTED),
    "no such module": (model("strange.missing:Net"), 2, "not found"),
    "a relative path": (model("../strange:Net"), 2, "an import path is"),
    "an address": (model("https://x.example/net.py:Net"), 2, "an import path is"),
    "a call": (model("os:system()"), 2, "an import path is"),
    "an object": ("question: !!python/object/apply:os.system [touch PWNED]\n", 2, "not valid YAML"),
    "a name": ("question: !!python/name:os.system\n", 2, "not valid YAML"),
    "a module tag": ("question: !!python/module:strange\n", 2, "not valid YAML"),
    "aliases of aliases": (f"a0: &a0 [x]\n{LINES}", 2, "aliases counted each time"),
    "merges of merges": (f"a0: &a0 {{x: 1}}\n{MERGES}", 2, "aliases counted each time"),
    "an alias of itself": ("question: &q [*q]\n", 2, "stands for itself"),
    "deep brackets": ("question: " + "[" * 5000, 2, "deeper than"),
    "a huge number": (BASE + ", epochs: " + "9" * 5000 + "}\n", 2, "not valid YAML"),
    "a huge file": (b"# " + b"x" * (1 << 21), 2, "more than 1,048,576 bytes"),
    "bytes": (bytes(range(256)), 2, "cannot be read"),
    "a huge grid": (BASE + f"}}\nfactors: {{lr: {MANY}, momentum: {MANY}}}\n", 2, "90,000 cells"),
    "too many trials": (
        BASE.replace("seeds: 1", "seeds: 100000") + f"}}\nfactors: {{lr: {MANY}}}\n",
        2,
        "30,000,000 trials",
    ),
    "a huge model": (model("resnet", ", n: 20, width: 4096"), 2, "parameters"),
    "a huge batch": (BASE + ", batch_size: 1000000000000}\n", 2, "batch_size"),
    "its own trust": (
        model("os:system") + "trusted: ['os']\n",
        2,
        "unknown key of a study 'trusted'",
    ),
    "another file's trust": (model("os:system") + "file: /trusted.yaml\n", 2, "unknown key"),
    "another name": (BASE + "}\nname: ../../escaped\n", 2, "named by its file"),
    "a figure's path": (BASE + "}\nfigures: [{kind: dots, name: ../../../x}]\n", 2, "figures"),
    "escapes": (
        BASE + '}\narms: [{label: "\\e[31mred\\a", set: {lr: 1}}]\n',
        2,
        r"\x1b[31mred\x07",
    ),
    "reversed text": (BASE + '}\narms: [{label: "a\\u202eb", set: {lr: 1}}]\n', 2, r"\u202e"),
    "the machine's folders": (
        BASE.replace("digits,", "{kind: image-folder, path: /dev},", 1) + "}\n",
        2,
        "/dev",
    ),
    "a formula": (BASE + "}\narms: [{label: '=cmd|x', set: {lr: 1}}]\n", 0, "=cmd|x"),
    "markup": (BASE + "}\narms: [{label: '[bold]<script>', set: {lr: 1}}]\n", 0, "[bold]<script>"),
}


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def test_there_are_thirty_and_more() -> None:
    assert len(FILES) >= 30


@pytest.mark.parametrize("name", FILES)
def test_a_plan_of_a_hostile_file_starts_no_process_and_changes_no_file(
    normlab: Run, tmp_path: Path, watched: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    global _watching  # noqa: PLW0603
    content, code, says = FILES[name]
    path = tmp_path / "work" / "s.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(path.parent)
    assert normlab("plan", "digits-norms")[0] == 0  # whatever is imported is imported now
    before, started = state(tmp_path), time.monotonic()
    _watching = watched
    found, out, err = normlab("plan", "s.yaml")
    _watching = None
    assert (found, says in (out + err)) == (code, True), out + err
    assert state(tmp_path) == before
    assert time.monotonic() - started < 60
    assert not [c for c in out + err if c != "\n" and not c.isprintable()]
    assert not {module for module in sys.modules if module.partition(".")[0] == "strange"}


def test_no_module_of_the_current_folder_takes_another_s_place(tmp_path: Path) -> None:
    names = ("re", "json", "pickle", "multiprocessing", "torch", "numpy", "yaml", "typer", "signal")
    for name in names:
        (tmp_path / f"{name}.py").write_text("open('PWNED', 'w').close()\nraise SystemExit(99)\n")
    words = ("run", "digits-norms", "--workers", "2", "--quick", "--set", "epochs=1")
    ended = subprocess.run(
        [sys.executable, "-m", "normlab", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "on 2 workers" in ended.stdout
    assert not (tmp_path / "PWNED").exists()

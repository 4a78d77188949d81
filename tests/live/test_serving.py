"""The server as a process: its addresses, its port, its end."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from normlab.errors import UserError
from normlab.live import app
from normlab.live.app import listening

_PATIENCE = 60.0  # seconds until the first address stands there


@contextmanager
def serving(runs: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and the first address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "normlab", "serve", str(runs), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "40"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, process.poll(), process.stderr and process.stderr.read())
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


def ask(address: str, path: str, **headers: str) -> Answer:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    connection.request("GET", path, headers=headers)
    with closing(connection):
        found = connection.getresponse()
        return Answer(found.status, dict(found.headers), found.read().decode())


def test_a_browser_comes_in_and_a_signal_ends_it_without_a_traceback(runs: Path) -> None:
    with serving(runs) as (process, address):
        path = f"{urlsplit(address).path}?{urlsplit(address).query}"
        answer = ask(address, path)
        assert answer.status == 303
        cookie = answer.headers["set-cookie"].partition(";")[0]
        page = ask(address, "/study/first", Cookie=cookie)
        assert page.status == 200
        assert "2 of 6 trials finished" in page.text
        assert "server" not in page.headers
        assert ask(address, "/", Cookie=cookie, Host="evil.example").status == 421
        assert ask(address, path).status == 403
        assert process.stdout is not None
        following = process.stdout.readline()
        assert following.startswith("for another browser: http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (128 + signal.SIGTERM, "terminated (SIGTERM)\n")
        assert out == ""  # no log of requests, in which the token would stand


@pytest.mark.parametrize(
    ("number", "word"), [("SIGINT", "interrupted"), ("SIGHUP", "hung up (SIGHUP)")]
)
def test_every_signal_that_ends_a_run_ends_it(runs: Path, number: str, word: str) -> None:
    if not hasattr(signal, number):
        pytest.skip(f"no {number} here")
    with serving(runs) as (process, _):
        time.sleep(0.2)
        process.send_signal(getattr(signal, number))
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (128 + getattr(signal, number), f"{word}\n")


def test_browsers_come_in_though_nobody_reads_its_words_any_more(runs: Path) -> None:
    with serving(runs) as (process, address):
        assert process.stdout is not None
        process.stdout.close()
        parts = urlsplit(address)
        answer = ask(address, f"{parts.path}?{parts.query}")
        assert answer.status == 303
        cookie = answer.headers["set-cookie"].partition(";")[0]
        for path in ("/", "/study/first/progress"):
            assert ask(address, path, Cookie=cookie).status == 200


def test_each_start_has_a_token_of_its_own(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    for _ in range(2):
        app.serve(runs, say=said.append)
    assert len({address.partition("token=")[2] for address in said}) == 2
    assert all(len(address.partition("token=")[2]) > 40 for address in said)


# -- its port ------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_a_port_that_is_taken_is_said(normlab_command: Any, runs: Path, taken: int) -> None:
    code, out, err = normlab_command("serve", str(runs), "--port", str(taken))
    assert (code, out) == (2, "")
    assert f"port {taken} is taken" in err
    assert "--port" in err


def test_without_a_port_the_next_free_one_is_taken(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PORT", taken)
    with listening("127.0.0.1", None) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert sock.getsockname()[1] != taken


def test_an_address_that_is_not_this_machine_s_is_said(normlab_command: Any, runs: Path) -> None:
    code, _, err = normlab_command("serve", str(runs), "--host", "192.0.2.1", "--port", "8399")
    assert code == 2
    assert "nothing can listen on 192.0.2.1" in err


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "0", "0.0", "0x0", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "*"],
)
def test_no_server_answers_to_every_name(normlab_command: Any, runs: Path, host: str) -> None:
    code, _, err = normlab_command("serve", str(runs), "--host", host)
    assert code == 2
    assert "name the address" in err
    with pytest.raises(UserError, match="name the address"):
        app.serve(runs, host=host)


# -- its folder ----------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_said(normlab_command: Any) -> None:
    code, _, err = normlab_command("serve", "nowhere")
    assert code == 2
    assert "there is no folder nowhere" in err


def test_a_study_s_own_folder_is_none_of_runs(normlab_command: Any, runs: Path) -> None:
    code, _, err = normlab_command("serve", str(runs / "first"))
    assert code == 2
    assert f"name the one above it, {runs}" in err


def test_without_the_extra_it_says_what_is_missing(
    normlab_command: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = sys.modules["normlab.cli.serve"]
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else object())
    code, _, err = normlab_command("serve", str(runs))
    assert code == 2
    assert err == (
        "normlab: normlab serve needs Starlette and uvicorn: pip install 'normlab[live]'\n"
    )

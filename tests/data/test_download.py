"""The real download code against a server on this machine."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from normlab.data.cifar10 import CIFAR10
from normlab.data.cifar100 import CIFAR100
from normlab.data.download import cache_folder, download, offline
from normlab.data.fashion_mnist import FASHION_MNIST
from normlab.data.kmnist import KMNIST
from normlab.data.mnist import MNIST
from normlab.errors import UserError
from tests.data.made import cifar_set, idx_set, spec

CONTENT = bytes(range(256)) * 4000


class Site:
    """What the server serves and what it was asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.others: dict[str, bytes] = {}
        self.break_after: int | None = None
        self.ranges: list[str | None] = []
        self.understands_ranges = True
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *args: object) -> None:
        self.site = site
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.site.ranges.append(wanted)
        whole = self.site.content if self.path == "/file.bin" else self.site.others.get(self.path)
        if whole is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start >= len(whole):
            self.send_error(416)
            return
        if not self.site.understands_ranges:
            start = 0
        body = whole[start:]
        self.send_response(206 if wanted and self.site.understands_ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.site.break_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, made))
    made.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


MD5 = hashlib.md5(CONTENT).hexdigest()


def test_downloads_once(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "file.bin"
    assert download(site.url, target, md5=MD5) == target
    assert target.read_bytes() == CONTENT
    download(site.url, target, md5=MD5)
    assert site.ranges == [None]


def test_offline_takes_what_is_there_as_published_and_asks_for_nothing(
    site: Site, tmp_path: Path
) -> None:
    target = tmp_path / "file.bin"
    with offline(), pytest.raises(UserError, match=r"file\.bin is not on this machine"):
        download(site.url, target, md5=MD5)
    target.write_bytes(CONTENT[:-1])  # as an interrupted copy leaves it
    with offline(), pytest.raises(UserError, match=r"file\.bin is not on this machine"):
        download(site.url, target, md5=MD5)
    target.write_bytes(CONTENT)
    with offline():
        assert download(site.url, target, md5=MD5) == target
    assert site.ranges == []
    target.unlink()
    assert download(site.url, target, md5=MD5) == target  # again as ever


def test_goes_on_where_it_broke_off(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    site.break_after = 300_000
    with pytest.raises(UserError, match="Run again to go on"):
        download(site.url, target, md5=MD5)
    have = (tmp_path / "file.bin.part").stat().st_size
    assert 0 < have <= 300_000
    site.break_after = None
    download(site.url, target, md5=MD5)
    assert target.read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={have}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_starts_over_where_the_server_cannot_resume(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    site.understands_ranges = False
    download(site.url, tmp_path / "file.bin", md5=MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_starts_over_when_the_part_is_longer_than_the_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * (len(CONTENT) + 1))
    download(site.url, tmp_path / "file.bin", md5=MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    site.content = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match=r"hash"):
        download(site.url, tmp_path / "file.bin", md5=MD5)
    assert not list(tmp_path.iterdir())


def test_no_such_file_is_the_user_s_to_mend(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"404.*NORMLAB_DATA"):
        download(site.url + "x", tmp_path / "file.bin", md5=MD5)


@pytest.mark.parametrize(
    "whole", [MNIST, FASHION_MNIST, KMNIST, CIFAR10, CIFAR100], ids=lambda whole: whole.name
)
def test_a_set_is_downloaded_once_where_no_folder_is_named(
    whole: object, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    known = (idx_set if isinstance(whole, type(MNIST)) else cifar_set)(whole, made)  # type: ignore[operator]
    known = replace(known, url=site.url.replace("file.bin", "folder/"))
    files = [path for path in made.rglob("*") if path.is_file()]
    site.others = {f"/folder/{path.name}": path.read_bytes() for path in files}
    shutil.rmtree(made)
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    for _ in range(2):
        found = known.load(spec(known.name))
        assert len(found.train_labels) == known.facts(spec(known.name)).train_images
    assert site.ranges == [None] * len(files)
    assert {p.name for p in (cache_folder() / known.name).iterdir()} == {p.name for p in files}
    assert cache_folder() == tmp_path / "cache"


def test_without_a_cache_named_the_user_s_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NORMLAB_CACHE")
    assert cache_folder().name == "normlab"


def test_nothing_comes_over_a_way_that_anybody_can_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="https is safe"):
        download("http://example.org/file.bin", tmp_path / "file.bin", md5=MD5)
    assert not any(tmp_path.iterdir())


def test_an_answer_that_is_sent_on_away_from_https_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requests.Response.url", "http://example.org/file.bin", raising=False)
    monkeypatch.setattr("requests.Response.__setattr__", _all_but_url)
    with pytest.raises(UserError, match="https is safe"):
        download(site.url, tmp_path / "file.bin", md5=MD5)


def _all_but_url(response: object, name: str, value: object) -> None:
    if name != "url":
        object.__setattr__(response, name, value)


def test_every_published_set_comes_over_https() -> None:
    for made in (MNIST, FASHION_MNIST, KMNIST, CIFAR10, CIFAR100):
        assert made.url.startswith("https://")


@pytest.mark.parametrize("promised", [True, False])
def test_a_download_has_a_largest_size(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promised: bool
) -> None:
    monkeypatch.setattr("normlab.data.download.LARGEST", len(CONTENT) - 1)
    if not promised:
        monkeypatch.setattr("requests.structures.CaseInsensitiveDict.get", lambda *_: None)
    with pytest.raises(UserError, match="more than"):
        download(site.url, tmp_path / "file.bin", md5=MD5)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= len(CONTENT) - 1

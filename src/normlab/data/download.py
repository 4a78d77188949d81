"""Downloads: checked, resumed where they broke off, with a progress bar.

pooch keeps the cache and checks the hash; what it lacks, going on where an earlier try stopped, is
the downloader here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import urlsplit

from normlab.errors import UserError

_allowed = ContextVar("_allowed", default=True)

_CHUNK = 1 << 16
_TIMEOUT = 30  # seconds without a byte
LARGEST = 1 << 30
"""Bytes of a download: several times the largest published set."""
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}


def cache_folder() -> Path:
    """Where downloads and decoded images lie: `NORMLAB_CACHE`, or `normlab` in the user's cache."""
    given = os.environ.get("NORMLAB_CACHE")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("normlab"))


@contextmanager
def offline() -> Iterator[None]:
    """Within it nothing is downloaded: a file that is not there as published is a UserError."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def download(url: str, target: Path, *, md5: str) -> Path:
    """The file at `target`, downloaded if it is not there yet.

    Args:
        url: Where it comes from.
        target: Where it shall lie; what an interrupted download left is beside it as ``.part``.
        md5: Published hash of the file.

    Raises:
        UserError: No answer, an error status, bytes that are not the published ones or more than
            `LARGEST`, or no https on the way (MD5 alone would not tell a forged file); `offline`
            and not there.
    """
    import pooch
    import requests

    if not _allowed.get():
        if target.exists() and pooch.file_hash(str(target), alg="md5") == md5:
            return target
        raise UserError(f"{target.name} is not on this machine")
    _check_way(url)
    pooch.get_logger().setLevel("ERROR")
    try:
        found = pooch.retrieve(
            url,
            known_hash=f"md5:{md5}",
            fname=target.name,
            path=target.parent,
            downloader=_Resuming(target.with_name(target.name + ".part")),
        )
    except requests.RequestException as error:
        raise UserError(
            f"{url} could not be downloaded: {error}. Run again to go on where it stopped, or set "
            "NORMLAB_DATA to a folder that has the data."
        ) from None
    except ValueError as error:  # pooch's word for a wrong hash
        raise UserError(f"{url}: {error}") from None
    except OSError as error:
        raise UserError(f"{url} could not be stored in {target.parent}: {error}") from None
    return Path(found)


def _check_way(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
        raise UserError(
            f"{url} is not downloaded: anybody on the way could change it; https is safe"
        )


class _Resuming:
    """A pooch downloader that keeps its partial file and asks the server for the rest only."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str | Path, _pooch: object) -> None:
        import requests
        from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

        have = self.part.stat().st_size if self.part.exists() else 0
        # Unpacked bytes of a compressed answer would not fit the offsets.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink()  # as long as the file or longer, yet not it: start again
                self(url, output_file, _pooch)
                return
            answer.raise_for_status()
            _check_way(answer.url)  # where it was sent on to
            if answer.status_code != requests.codes.partial_content:
                have = 0
            length = answer.headers.get("Content-Length")
            columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
            if length and have + int(length) > LARGEST:
                raise UserError(f"{url}: {have + int(length):,} bytes are more than {LARGEST:,}")
            with Progress(*columns, transient=True) as progress:
                total = have + int(length) if length else None
                task = progress.add_task(url.rpartition("/")[2], total=total, completed=have)
                with self.part.open("ab" if have else "wb") as stream:
                    for chunk in answer.iter_content(_CHUNK):
                        have += len(chunk)
                        if have > LARGEST:  # it promised fewer, or nothing
                            stream.truncate(0)
                            raise UserError(f"{url}: it has more than {LARGEST:,} bytes")
                        stream.write(chunk)
                        progress.advance(task, len(chunk))
        # Moved out of the way also when its hash turns out wrong, so that the next try is fresh.
        shutil.move(self.part, output_file)

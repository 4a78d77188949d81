"""The images in a tar archive, read where they lie: nothing is unpacked to a path of its."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from normlab.data.download import cache_folder
from normlab.data.images.scan import Item, is_image
from normlab.errors import UserError

ENDINGS = (".tar", ".tar.xz", ".tar.gz")
"""Archives that are read."""


@contextmanager
def plain(archive: Path) -> Iterator[Path]:
    """The archive without compression: itself, or a temporary file in the cache.

    Raises:
        UserError: It cannot be read.
    """
    if archive.suffix == ".tar":
        yield archive
        return
    unpack = lzma.open if archive.suffix == ".xz" else gzip.open
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache_folder(), suffix=".tar") as whole:
        try:
            with unpack(archive) as stream:
                shutil.copyfileobj(stream, whole, 1 << 20)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise UserError(f"{archive} cannot be unpacked: {error}") from None
        whole.flush()
        yield Path(whole.name)


def members(archive: Path) -> list[Item]:
    """The images in an archive without compression, sorted folder by folder.

    Only plain files are taken; names serve as names and are never opened.

    Raises:
        UserError: It is damaged.
    """
    found = []
    try:
        with tarfile.open(archive, "r:") as opened:
            for member in opened:
                *inside, name = member.name.removeprefix("./").split("/")
                if member.isreg() and not member.issparse() and is_image(name):
                    place = (str(archive), member.offset_data, member.size, (0, 0, 0, 0))
                    found.append(Item(tuple(inside), name, *place))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{archive} is no readable tar archive: {error}") from None
    return sorted(found, key=lambda item: (*item.folders, item.file))

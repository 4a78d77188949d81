"""What a decoding process does: chunks of files in by a pipe, pixels into the mapped array.

The first line on standard input is the array's file and the options, every further one a chunk;
each is answered by a line on standard output. Started as `python -m`, not by `multiprocessing`,
which would run a user's script again that lacks the `__main__` guard, and which is closed to the
daemon processes that trials train in.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from normlab.data.dataset import Images
from normlab.data.images.decode import fitted, opened
from normlab.data.images.options import Options

Job = tuple[int, str, int, int]
"""Row of the array, file to open, where the image begins there, its bytes."""


class Answer(NamedTuple):
    """What became of a chunk.

    Attributes:
        hashes: SHA-256 of every image's bytes, in the chunk's order.
        sizes: Width and height of every image before resizing; 0 of one that is broken.
        broken: Row and reason of each that is no readable image.
        unreadable: Row and reason of each whose bytes could not be had at all.
    """

    hashes: list[str]
    sizes: list[tuple[int, int]]
    broken: list[tuple[int, str]]
    unreadable: list[tuple[int, str]]


def work(jobs: Sequence[Job], options: Options, images: Images) -> Answer:
    """Decode a chunk into its rows of `images`."""
    answer = Answer([], [], [], [])
    for row, path, offset, size in jobs:
        try:
            with open(path, "rb") as stream:  # noqa: PTH123  a Path for each is a tenth of the time
                stream.seek(offset)
                raw = stream.read(size)
        except OSError as error:
            answer.unreadable.append((row, error.strerror or str(error)))
            continue
        answer.hashes.append(hashlib.sha256(raw).hexdigest())
        answer.sizes.append((0, 0))
        try:
            with warnings.catch_warnings():
                # Pillow warns of harmless oddities, and before it refuses too large an image.
                warnings.simplefilter("ignore")
                image = opened(raw)
                images[row] = fitted(image, options)
            answer.sizes[-1] = image.size
        except MemoryError:
            raise
        except Exception as error:  # decoders raise anything on broken files
            answer.broken.append((row, str(error) or type(error).__name__))
    return answer


def main() -> None:
    """Serve until standard input ends, as it also does when the parent is gone."""
    target, *fields = json.loads(sys.stdin.readline())
    options = Options(*fields)
    images = np.load(target, mmap_mode="r+")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(work(json.loads(line), options, images)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Whether this processor computes in bfloat16 faster than in float32: measured once, then kept.

A processor without units for bfloat16 computes in it all the same, up to 40 times slower.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.data.download import cache_folder
from normlab.files import write_whole

_FILE = "bfloat16.json"
_SIDE = 192
"""Rows and columns of the matrices: two of them fit into a core's cache."""
_MAP = (2, 64, 14, 14)
_TIMES = 5
_ENOUGH = 0.01
"""Seconds after which one operation is not timed again."""


@dataclass(frozen=True)
class Bfloat16Speed:
    """How many times as fast as in float32 two operations run in bfloat16.

    Attributes:
        product: A product of matrices.
        convolution: A convolution in channels_last.
    """

    product: float
    convolution: float

    @property
    def is_fast(self) -> bool:
        """Whether bfloat16 is faster, by the geometric mean of both."""
        return self.product * self.convolution > 1


def bfloat16_speed(
    processor: str, threads: int, *, measure: bool = True, folder: Path | None = None
) -> Bfloat16Speed | None:
    """How fast bfloat16 is on this CPU; measured in a few milliseconds if that is not kept yet.

    Args:
        processor: What tells this processor from others: its name and the instructions in use.
        threads: CPU threads that compute.
        measure: Otherwise None where nothing is kept.
        folder: Where it is kept; the user's cache if it is not given.
    """
    path = (folder or cache_folder()) / _FILE
    kept = _kept(path)
    key = f"{processor}; torch {torch.__version__}; threads {threads}"
    known = _read(kept.get(key))
    if known is not None or not measure:
        return known
    found = measured(threads)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**kept, key: [found.product, found.convolution]}, indent=1)
        write_whole(path, text.encode())
    except OSError:  # a cache that cannot be written costs some milliseconds each time
        pass
    return found


@torch.no_grad()
def measured(threads: int) -> Bfloat16Speed:
    """The same, measured now; leaves torch's threads and random state as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        draw = torch.Generator().manual_seed(0)
        a, b = (torch.randn(_SIDE, _SIDE, generator=draw) for _ in range(2))
        x = torch.randn(_MAP, generator=draw)
        w = torch.randn(_MAP[1], _MAP[1], 3, 3, generator=draw)
        x, w = (t.contiguous(memory_format=torch.channels_last) for t in (x, w))
        return Bfloat16Speed(_ratio(torch.matmul, a, b), _ratio(_convolution, x, w))
    finally:
        torch.set_num_threads(before)


def _convolution(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def _ratio(compute: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    """Seconds in float32 over seconds in bfloat16."""
    wide = _best(compute, a, b)
    return wide / _best(compute, a.bfloat16(), b.bfloat16())


def _best(compute: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    """Seconds of the fastest of a few calls; the first, which makes the kernel, counts not."""
    end, best = time.perf_counter() + _ENOUGH, math.inf
    compute(a, b)
    for _ in range(_TIMES):
        start = time.perf_counter()
        compute(a, b)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            break
    return max(best, 1e-9)  # a clock may be coarse


def _kept(path: Path) -> dict[str, Any]:
    """What is kept, by processor; nothing of a file that is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(value: object) -> Bfloat16Speed | None:
    match value:
        case [float(product), float(convolution)] if min(value) > 0 and max(value) < math.inf:
            return Bfloat16Speed(product, convolution)
    return None

"""What this machine can do at most: multiplications and bytes a second, measured in a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_SECONDS = 0.1
"""For each thing that is measured, beyond which no more repetitions follow."""
_REPETITIONS = 20
_SIDE = {"cpu": 512, "cuda": 4096}
"""Of the square matrices: three of them fit into the cache of a core, or fill a GPU."""
_CHANNELS, _MAP = 256, 18
_USUAL_CACHE = 32 << 20  # bytes, where the machine does not tell
_MOST = 512 << 20  # bytes of an array that is copied


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The best that was measured, on as many threads as torch has now.

    Attributes:
        precision: "float32", "float64" or "bfloat16".
        flops: Floating point operations a second, two for each multiplication with its addition.
        flops_of: What ran at that rate, in words.
        memory: Bytes a second of a copy that no cache holds, those read and those written.
        memory_array: Bytes of the array that was copied.
        cache: The same of a copy within the last level of the cache; None on a GPU.
        cache_array: Bytes of that array.
        cache_size: Bytes of the last level of the cache; 0 on a GPU.
    """

    precision: str
    flops: float
    flops_of: str
    memory: float
    memory_array: int
    cache: float | None
    cache_array: int
    cache_size: int

    def bytes_per_second(self, touched: int) -> float:
        """The rate for work on so many bytes: maps that fit into the cache may well be there."""
        if self.cache is None or touched > self.cache_size // 2:
            return self.memory
        return max(self.cache, self.memory)


def measure(device: str, precision: str) -> Rates:
    """Measure the rates, which takes about half a second.

    Args:
        device: "cpu" or "cuda".
        precision: Of a recipe: "float32", "float64" or "bfloat16".
    """
    with torch.no_grad():
        fastest = max(_multiplications(device, getattr(torch, precision)))
        size = 0 if device == "cuda" else _cache_size()
        far = min(max(4 * size, 64 << 20), _MOST)
        near = size // 8
        return Rates(
            precision=precision,
            flops=fastest.rate,
            flops_of=fastest.words,
            memory=_copy_rate(device, far),
            memory_array=far,
            cache=_copy_rate(device, near) if near else None,
            cache_array=near,
            cache_size=size,
        )


class _Found(NamedTuple):
    rate: float
    words: str


def _multiplications(device: str, dtype: torch.dtype) -> Iterator[_Found]:
    """Two ways to multiply: torch has them from different libraries, and either may be faster."""
    side = _SIDE[device]
    draw = torch.Generator().manual_seed(0)

    def values(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(device=device, dtype=dtype)

    one, other = values(side, side), values(side, side)
    made = torch.empty_like(one)
    seconds = _best(lambda: torch.mm(one, other, out=made), device)
    yield _Found(2 * side**3 / seconds, f"a product of {side} x {side} matrices")
    if device != "cpu":
        return
    maps, kernels = values(1, _CHANNELS, _MAP, _MAP), values(_CHANNELS, _CHANNELS, 3, 3)
    maps = maps.contiguous(memory_format=torch.channels_last)
    kernels = kernels.contiguous(memory_format=torch.channels_last)
    seconds = _best(lambda: F.conv2d(maps, kernels), device)
    count = 2 * 9 * _CHANNELS**2 * (_MAP - 2) ** 2
    yield _Found(count / seconds, f"a 3x3 convolution of {_CHANNELS} channels on {_MAP}x{_MAP}")


def _copy_rate(device: str, size: int) -> float:
    one = torch.ones(size // 4, device=device)
    other = torch.zeros_like(one)
    return 2 * size / _best(lambda: other.copy_(one), device)


def _best(work: Callable[[], object], device: str) -> float:
    """The least seconds of some repetitions: what disturbs only ever adds to them."""
    least, begun = float("inf"), time.perf_counter()
    for repetition in range(_REPETITIONS):
        before = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        least = min(least, max(now - before, 1e-9))
        if repetition and now - begun > _SECONDS:
            break
    return least


def _cache_size() -> int:
    """Bytes of the last level of this machine's cache, as Linux tells it."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    found = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            text = path.read_text(encoding="ascii").strip()
            found.append(int(text.rstrip("KMG")) * units.get(text[-1:], 1))
        except (OSError, ValueError):
            continue
    return max(found, default=_USUAL_CACHE)

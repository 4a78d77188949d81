"""What the benchmarks that time layers share: options, sides in turn, ratios, rows in a file."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from statistics import median

import torch

from normlab.train.memory import keep_freed_memory

LEAST = 1e-3  # seconds of one timing: below it clocks and wake-ups weigh


def options(description: str, rounds: int) -> argparse.ArgumentParser:
    """A command line with threads, rounds and a file for the rows."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    return parser


def machine() -> dict[str, str]:
    """The processor's name, its widest vectors and its bfloat16, as far as the system says."""
    name = platform.processor() or platform.machine()
    known = {"processor": name, "vectors": "", "bfloat16": ""}
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        facts = {key.strip(): value.strip() for key, _, value in lines}
        known["processor"] = facts.get("model name", known["processor"])
        flags = set(facts.get("flags", facts.get("Features", "")).split())
        found = (name for name in ("avx512f", "avx2", "avx", "sve", "asimd") if name in flags)
        known["vectors"] = next(found, "")
        known["bfloat16"] = next((n for n in ("amx_bf16", "avx512_bf16", "bf16") if n in flags), "")
    return known


def begin(given: argparse.Namespace) -> None:
    """Set the threads and say where this runs."""
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # both sides, as in normlab's workers
    here = " ".join(filter(None, machine().values()))
    print(f"{here}, torch {torch.__version__}, {given.threads} threads")


def interleaved(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 3):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if turn >= 3:
                times[name].append(time.perf_counter() - start)
    return times


Side = Callable[[int], float]
"""Runs so many steps and returns the seconds of one."""


def timed(step: Callable[[], object]) -> Side:
    """A side in this process. One step goes before the clock: another side's data is in the caches."""

    def run(steps: int) -> float:
        step()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - start) / steps

    return run


def in_turns(
    sides: dict[str, Side], *, least: int, most: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds of a step of each side, in turn; as many rounds as fit into the time.

    Args:
        sides: What is timed.
        least: Rounds at least, whatever they take.
        most: Rounds at most.
        seconds: What all rounds together may take, between these.
    """
    for run in sides.values():
        run(1)
    steps = {name: ceil(LEAST / run(2)) for name, run in sides.items()}
    round_of = sum(run(steps[name]) * (steps[name] + 1) for name, run in sides.items())
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides.items())
    for _ in range(min(most, max(least, int(seconds / round_of)))):
        for name, run in order:
            times[name].append(run(steps[name]))
        if len(order) > 2:
            # The last two change places, so that each runs as often behind the other; none ever runs
            # behind itself, where its caches would be warm.
            order[-2], order[-1] = order[-1], order[-2]
    return times


def ratio(times: dict[str, list[float]], top: str, bottom: str) -> float:
    """Median of the ratios pair by pair."""
    return median(a / b for a, b in zip(times[top], times[bottom], strict=True))


def keep(rows: list[dict[str, object]], given: argparse.Namespace) -> None:
    """Write the rows into the file that was asked for, if any."""
    if given.json:
        found = {"threads": given.threads, "torch": torch.__version__, **machine(), "rows": rows}
        given.json.write_text(json.dumps(found, indent=1))

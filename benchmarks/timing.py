"""What the benchmarks that time layers share: options, sides in turn, ratios, rows in a file."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from normlab.train.memory import keep_freed_memory


def options(description: str, rounds: int) -> argparse.ArgumentParser:
    """A command line with threads, rounds and a file for the rows."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    return parser


def begin(given: argparse.Namespace) -> None:
    """Set the threads and say where this runs."""
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # both sides, as in normlab's workers
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, {given.threads} threads")


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


def ratio(times: dict[str, list[float]], top: str, bottom: str) -> float:
    """Median of the ratios pair by pair."""
    return median(a / b for a, b in zip(times[top], times[bottom], strict=True))


def keep(rows: list[dict[str, object]], given: argparse.Namespace) -> None:
    """Write the rows into the file that was asked for, if any."""
    if given.json:
        found = {"threads": given.threads, "torch": torch.__version__, "rows": rows}
        given.json.write_text(json.dumps(found, indent=1))

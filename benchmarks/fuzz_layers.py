"""Search for layers that crash or lie, at length, in child processes.

    python benchmarks/fuzz_layers.py --cases 20000 --seed 0     # about 3 minutes on one core
    python benchmarks/fuzz_layers.py --case '{"kind": "batch", "dy": "meta"}'   # repeat one
    python benchmarks/fuzz_layers.py --cases 2000 --plant unchecked   # a planted mistake is found

Cases and judge are those of `tests/norms/search`: kinds, options, dtypes, layouts, devices, sizes
right and wrong, hooks, modes, all drawn by the seed, and each held against the plain float64
formulas or against the refusal that is due. A child says which case it begins, so that a crash is
its case's; another child goes on behind it. Case i of a seed is the same whatever the number of
workers. Prints counts and the first cases of every kind of failure, each as a line for `--case`; ends
with status 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.norms.search import GOOD, VERDICTS, Case, Verdict, draw, judge  # noqa: E402
from tests.norms.search.planted import PLANTS  # noqa: E402

CHUNK = 1000  # cases of a child: its start costs as much as some 300
PATIENCE = 120  # seconds for one case, the first compilation of its loops included


def case_of(seed: int, number: int) -> Case:
    """The case of that number."""
    return draw(random.Random(f"{seed} {number}").choice)


def child(seed: int, first: int, last: int, plant: str) -> None:
    """Judge the cases from first to last, one line before and one after each."""
    warnings.simplefilter("ignore")
    if plant:
        PLANTS[plant]()
    for number in range(first, last):
        print(json.dumps({"begins": number}), flush=True)
        verdict = judge(case_of(seed, number))
        print(json.dumps({"name": verdict.name, "words": verdict.words}), flush=True)


def chunk(given: argparse.Namespace, first: int, last: int) -> Iterator[tuple[int, Verdict]]:
    """Numbers and verdicts of the cases from first to last, in as many children as it takes."""
    while first < last:
        command = [
            sys.executable,
            str(Path(__file__)),
            "--seed",
            str(given.seed),
            "--child",
            str(first),
            str(last),
        ]
        command += ["--plant", given.plant] if given.plant else []
        started = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert started.stdout is not None
        assert started.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda s=started, e=errors: e.append(s.stderr.read()))
        reader.start()
        timer = None
        for line in started.stdout:
            if timer:
                timer.cancel()
            timer = threading.Timer(PATIENCE, started.kill)
            timer.start()
            said = json.loads(line)
            if "begins" in said:
                begun = said["begins"]
            else:
                first = begun + 1
                yield begun, Verdict(said["name"], said["words"])
        if timer:
            timer.cancel()
        status = started.wait()
        reader.join()
        if first < last:
            # A signal, or the judge itself failed: both are to be seen.
            words = f"signal {-status}" if status < 0 else errors[0].strip().splitlines()[-1:][0:1]
            yield first, Verdict("crashed", str(words))
            first += 1


def run(given: argparse.Namespace) -> list[tuple[int, Verdict]]:
    """Every case, chunks shared between the workers."""
    chunks: Queue[tuple[int, int]] = Queue()
    for first in range(0, given.cases, CHUNK):
        chunks.put((first, min(first + CHUNK, given.cases)))
    found: list[tuple[int, Verdict]] = []

    def work() -> None:
        while True:
            try:
                first, last = chunks.get_nowait()
            except Empty:
                return
            found.extend(chunk(given, first, last))
            if sys.stderr.isatty():
                print(f"\r{len(found)} of {given.cases}", end="", file=sys.stderr)

    workers = [threading.Thread(target=work) for _ in range(given.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted(found, key=lambda pair: pair[0])


def report(given: argparse.Namespace, found: list[tuple[int, Verdict]], seconds: float) -> int:
    """Print counts and the first of every kind of failure; the status."""
    counts = Counter(verdict.name for _, verdict in found)
    print(f"seed {given.seed}, {len(found)} cases, {seconds:.0f} s")
    for name, words in VERDICTS.items():
        print(f"{counts[name]:8} {name:12} {words}")
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    words_of = {number: verdict.words for number, verdict in found}
    for number, verdict in found:
        if verdict.name not in GOOD:
            alike = re.sub(r"\d[\d.e+-]*", "#", verdict.words)[:70]
            groups[verdict.name, alike, case_of(given.seed, number).kind].append(number)
    largest = sorted(groups.items(), key=lambda pair: -len(pair[1]))
    for (name, _, kind), numbers in largest[: given.show]:
        # The shortest line of a kind of failure has the least beside what matters.
        shortest = min((case_of(given.seed, n).line() for n in numbers), key=len)
        first = next(n for n in numbers if case_of(given.seed, n).line() == shortest)
        print(f"\n{name} x {len(numbers)} ({kind}): {words_of[first]}\n  --case '{shortest}'")
    return int(any(name not in GOOD for name in counts))


def main() -> int:
    parser = argparse.ArgumentParser(description="Search for layers that crash or lie.")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--show", type=int, default=40, help="kinds of failure to print")
    parser.add_argument("--case", help="judge the case of this line, in this process")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a mistake to be found")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.seed, *given.child, given.plant)
        return 0
    if given.case:
        if given.plant:
            PLANTS[given.plant]()
        verdict = judge(Case.of(given.case))
        print(f"{verdict.name}: {verdict.words or VERDICTS[verdict.name]}")
        return int(verdict.name not in GOOD)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # workers share the cores
    start = time.perf_counter()
    found = run(given)
    return report(given, found, time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())

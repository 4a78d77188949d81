"""What `normlab serve` takes while pages are open, and what it takes from the run that they show.

    python benchmarks/live.py
    python benchmarks/live.py --seconds 300 --rounds 5 --json benchmarks/results/live_epyc.json
    python benchmarks/live.py --only load --seconds 20 --trials 100      # to try it

`load`: a store of 20 arms x 50 seeds x 20 epochs, nine trials in ten finished, is written on by a process that
trains nothing: two trials at a time, `--rate` epochs a second, each stored by the store's own calls as a run
stores it. A server in a process of its own shows it to `--pages` pages, each of which does what `live.js` does: it
asks for the progress every two seconds with the tag of the answer before, and for the report when that is another
one. `core`: seconds of the processor that the server and its drawing process took per second, once the first report
was drawn; `first_cpu`: what starting and that took. `epoch_ms`: what storing an epoch took the writer, with pages and
without, in turns.

`run`: `normlab run digits-norms` with more seeds on two workers, start and report included, with pages and without, in
turns; trials per hour, and their ratio; `server_cpu`: seconds that the server and its drawing process took meanwhile, and
`pages_cpu` those of the pages, which share the machine here and are elsewhere where somebody looks from another one. The
server has started before the run does, drawing process included: that takes `first_cpu` seconds, once, whatever is run.
Whatever else runs on the machine disturbs it.

Linux alone: the processor's seconds are read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import scale
from timing import machine

from normlab.records import EpochRecord, Evaluation, TrialResult
from normlab.store import Store
from normlab.study.plan import Plan, make_plan
from normlab.study.spec import Study

EVERY = 2.0
"""Seconds between two questions of a page, as in live.js."""
EPOCHS = 20
_PLACE = {"device": "cpu", "chip": "a chip", "threads": 1}
_TICK = os.sysconf("SC_CLK_TCK")
_WITHOUT, _WITH = 5.0, 30.0
"""Seconds without pages, then with them, in turns."""
_TRIED = 10.0
"""Seconds with pages, where `--seconds` is too few for a turn of `_WITH`."""


# -- the store and its writer --------------------------------------------------------------------


def plan_of(trials: int) -> Plan:
    values = scale.study(20, max(trials // 20, 2), EPOCHS)
    return make_plan(Study.parse({"name": "live", **values}))


def record(epoch: int, draw: random.Random) -> EpochRecord:
    names = ("accuracy", "macro_f1", "micro_f1")
    of = {
        f"{split}_{name}": 1 - draw.uniform(0.4, 0.6) / epoch
        for split in ("train", "validation", "test")
        for name in names
    }
    losses = {f"{split}_loss": draw.random() / epoch for split in ("train", "validation", "test")}
    return EpochRecord(
        epoch=epoch,
        lr=0.1,
        seconds=1.0,
        examples_per_second=1000.0,
        details={"weight_norm": draw.random(), "gradient_norm": draw.random()},
        **of,
        **losses,
    )


def result(draw: random.Random) -> TrialResult:
    return TrialResult(
        state="complete",
        epochs=EPOCHS,
        parameters=7450,
        weights_sha256=f"{draw.getrandbits(256):064x}",
        train_images=1078,
        validation_images=120,
        test_images=599,
        final_train=Evaluation(loss=0.1, accuracy=0.9, macro_f1=0.9, micro_f1=0.9, ece=None),
    )


def fill(plan: Plan, folder: Path, share: float) -> list[str]:
    """Record the plan and finish that share of its trials; the others."""
    draw = random.Random(0)
    trials = list(plan.trials)
    done = int(share * len(trials))
    with Store.write(folder) as store:
        store.record_plan(plan.record, plan.rows())
        for trial in trials[:done]:
            store.start(trial, _PLACE, 0)
            for epoch in range(1, EPOCHS + 1):
                store.add_epoch(trial, record(epoch, draw))
            store.finish(trial, result(draw), [])
    return trials[done:]


def write(folder: Path, trials: list[str], rate: float) -> None:
    """Go on with trials, two at a time, until standard input ends; print what each epoch took."""
    draw, waiting, running = random.Random(1), list(trials), dict[str, int]()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with Store.write(folder) as store:
        due = time.monotonic()
        while not ended.is_set():
            while waiting and len(running) < 2:
                store.start(trial := waiting.pop(0), _PLACE, 0)
                running[trial] = 0
            if not running:
                break
            trial = min(running, key=lambda one: running[one])
            running[trial] += 1
            began = time.perf_counter()
            store.add_epoch(trial, record(running[trial], draw))
            print(json.dumps([time.time(), time.perf_counter() - began]), flush=True)
            if running[trial] == EPOCHS:
                store.finish(trial, result(draw), [])
                del running[trial]
            due += 1 / rate
            ended.wait(max(due - time.monotonic(), 0))


# -- the server and its pages --------------------------------------------------------------------


class Server:
    """`normlab serve` in a process of its own."""

    def __init__(self, runs: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "normlab", "serve", str(runs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.begun = self.cpu()
        found = re.search(r"http://\S+", self.process.stdout.readline())
        self.address = urlsplit(found[0])
        answer, _ = self.ask(self.connection(), f"/?{self.address.query}", {})
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def warm(self) -> None:
        """Have it start the process that draws, as the first page that anyone opens does."""
        connection = self.connection()
        for path in ("/", "/static/vega.js"):
            self.ask(connection, path, {"cookie": self.cookie})

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=60)

    @staticmethod
    def ask(
        connection: http.client.HTTPConnection, path: str, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()

    def cpu(self) -> float:
        """Seconds of the processor so far, of the server and of the process that draws."""
        return sum(map(_cpu, [self.process.pid, *_children(self.process.pid)]))

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()


def _cpu(pid: int) -> float:
    with contextlib.suppress(OSError):
        # In front of its state stands the program's name, in brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICK
    return 0.0


def _children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


class Pages:
    """So many pages of a study, each with a connection of its own, while the context lasts."""

    def __init__(self, server: Server, name: str, pages: int) -> None:
        self.server, self.base = server, f"/study/{name}"
        self.answers: Counter[str] = Counter()
        self.waits: list[float] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._page, args=(EVERY * number / pages,))
            for number in range(pages)
        ]

    def __enter__(self) -> Pages:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _page(self, after: float) -> None:
        self._ended.wait(after)
        connection = self.server.connection()
        tags: dict[str, str] = {}
        shown = ""
        while not self._ended.is_set():
            newest = self._get(connection, "/progress", tags)
            if newest and newest != shown:
                shown = self._get(connection, "/body", tags)
            self._ended.wait(EVERY)
        connection.close()

    def _get(self, connection: http.client.HTTPConnection, path: str, tags: dict[str, str]) -> str:
        headers = {"cookie": self.server.cookie}
        if path in tags:
            headers["if-none-match"] = tags[path]
        began = time.perf_counter()
        answer, _ = self.server.ask(connection, self.base + path, headers)
        self.waits.append(time.perf_counter() - began)
        self.answers[f"{path[1:]} {answer.status}"] += 1
        if answer.status == 200:
            tags[path] = answer.headers["etag"]
        return answer.headers.get("x-body-version") or ""


def first_report(server: Server, name: str) -> None:
    """Wait until the first report is drawn."""
    connection = server.connection()
    while True:
        answer, _ = server.ask(connection, f"/study/{name}/body", {"cookie": server.cookie})
        if answer.status == 200:
            return
        time.sleep(1)


# -- load ----------------------------------------------------------------------------------------


def load(given: argparse.Namespace, runs: Path) -> dict[str, object]:
    folder = runs / "live"
    left = fill(plan_of(given.trials), folder, 0.9)
    writer = subprocess.Popen(
        [sys.executable, __file__, "--write", str(folder), "--rate", str(given.rate)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    took: list[tuple[float, float]] = []
    reader = threading.Thread(target=lambda: took.extend(map(json.loads, writer.stdout)))
    reader.start()
    server = Server(runs)
    try:
        first_report(server, "live")
        first_cpu = server.cpu() - server.begun
        seconds = cpu = 0.0
        answers: Counter[str] = Counter()
        waits: list[float] = []
        turns: list[tuple[float, float]] = []
        while seconds < given.seconds:
            time.sleep(_WITHOUT)
            began, before = time.time(), server.cpu()
            with Pages(server, "live", given.pages) as pages:
                time.sleep(_WITH if given.seconds >= 2 * _WITH else min(_TRIED, given.seconds))
            turns.append((began, time.time()))
            seconds += turns[-1][1] - began
            cpu += server.cpu() - before
            answers += pages.answers
            waits += pages.waits
    finally:
        server.close()
        writer.communicate("")
        reader.join()
    watched = [ms for at, ms in took if any(a <= at <= b for a, b in turns)]
    alone = [ms for at, ms in took if not any(a - 1 <= at <= b + 1 for a, b in turns)]
    return {
        "what": "load",
        "trials": given.trials,
        "epochs": EPOCHS,
        "pages": given.pages,
        "epochs_per_second": given.rate,
        "left_to_train": len(left),
        "seconds": round(seconds, 1),
        "core": round(cpu / seconds, 4),
        "first_cpu": round(first_cpu, 2),
        "answers": dict(answers),
        "answer_ms": _ms(waits),
        "epoch_ms_with_pages": _ms(watched),
        "epoch_ms_without": _ms(alone),
    }


def _ms(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [float("nan")]
    return {
        "median": round(1000 * statistics.median(ordered), 3),
        "99 %": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 3),
        "number": len(seconds),
    }


# -- a real run ----------------------------------------------------------------------------------


def run(given: argparse.Namespace, root: Path) -> Iterator[dict[str, object]]:
    speeds: dict[bool, list[float]] = {True: [], False: []}
    train(root / "warm", 1)  # compiles what is compiled once
    for number in range(given.rounds):
        for watched in (False, True) if number % 2 else (True, False):
            runs = root / f"{number}{watched}"
            runs.mkdir()
            with watching(runs, given.pages) if watched else contextlib.nullcontext() as used:
                trials, seconds = train(runs, given.seeds)
            speeds[watched].append(3600 * trials / seconds)
            row = {"what": "run", "watched": watched, "round": number, "trials": trials}
            yield row | {"seconds": round(seconds, 2), **(used or {})}
    medians = {watched: statistics.median(found) for watched, found in speeds.items()}
    yield {
        "what": "ratio",
        "trials_per_hour_with_pages": round(medians[True], 1),
        "trials_per_hour_without": round(medians[False], 1),
        "ratio": round(medians[True] / medians[False], 4),
    }


def train(runs: Path, seeds: int) -> tuple[int, float]:
    words = ["run", "digits-norms", "--seeds", str(seeds), "--workers", "2", "--runs", str(runs)]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "normlab", *words], check=True, stdout=subprocess.DEVNULL)
    return 5 * seeds, time.perf_counter() - began


@contextlib.contextmanager
def watching(runs: Path, pages: int) -> Iterator[dict[str, object]]:
    """Pages of the study that is about to run; they wait until it is there."""
    server, used = Server(runs), dict[str, object]()
    try:
        server.warm()
        before, own = server.cpu(), time.process_time()
        with Pages(server, "digits-norms", pages) as opened:
            yield used
        took, own = server.cpu() - before, time.process_time() - own
        used |= {"server_cpu": round(took, 2), "pages_cpu": round(own, 2)}
        used["answers"] = dict(opened.answers)
    finally:
        server.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("load", "run"))
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0, help="epochs a second")
    parser.add_argument("--seconds", type=float, default=180, help="with pages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=60, help="of the real run")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--note", default="", help="what else to say of the machine")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        with Store.read(given.write) as store:
            states = store.states(list(store.plan().trials))
        write(given.write, [one for one in states if states[one] == "pending"], given.rate)
        return
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        if given.only != "run":
            (Path(temporary) / "runs").mkdir()
            rows.append(load(given, Path(temporary) / "runs"))
            print(json.dumps(rows[-1], indent=1))
        if given.only != "load":
            for row in run(given, Path(temporary)):
                rows.append(row)
                print(json.dumps(row), flush=True)
    if given.json:
        about = {"cores": os.cpu_count(), **machine(), "note": given.note}
        given.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

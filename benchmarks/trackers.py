"""What exports to other tools take, and reading other tools' runs, each by the tool's own package.

    make .trackers/ready
    .trackers/bin/python benchmarks/trackers.py
    .trackers/bin/python benchmarks/trackers.py --shape 20x5x20 --tools trackio      # to try it

`scale.py` makes a store of arms x seeds x epochs in which nothing was trained. For each tool, each in a process of
its own: `normlab.export` into an empty place, the same export again, which finds nothing new, and `read_runs`, which
is what `claims --from` and `new-study --from` begin with. Seconds on the wall; `points`: numbers that were read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import scale
from timing import machine

import normlab
from normlab.trackers.read import read_runs

TOOLS = ("mlflow", "tensorboard", "trackio", "wandb")


def one(tool: str, root: Path) -> dict[str, object]:
    """A tool's row; the made study's run folder is below `root`."""
    dest = root / (f"{tool}.db" if tool == "mlflow" else tool)
    seconds = {}
    for what in ("export", "export again"):
        began = time.perf_counter()
        found = normlab.export(scale.NAME, to=tool, dest=dest, runs=root / "runs")
        seconds[what] = round(time.perf_counter() - began, 2)
        trials = found.added or found.known
    began = time.perf_counter()
    runs = read_runs(dest).runs
    seconds["read"] = round(time.perf_counter() - began, 2)
    points = sum(len(series.steps) for run in runs for series in run.metrics.values())
    return {"tool": tool, "trials": trials, **seconds, "runs": len(runs), "points": points}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", default="100x10x20", help="arms x seeds x epochs")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one[0], Path(given.one[1]))))
        return
    rows = []
    for tool in given.tools:
        with tempfile.TemporaryDirectory(prefix="normlab-trackers-") as root:
            scale.make(given.shape, Path(root))
            words = [sys.executable, __file__, "--one", tool, root]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        rows.append({"shape": given.shape, **json.loads(done.stdout.splitlines()[-1])})
        print(json.dumps(rows[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps({**machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

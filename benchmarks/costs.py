"""What `normlab plan` says a study costs, beside what its training then took.

    python benchmarks/costs.py
    python benchmarks/costs.py --studies digits-norms mnist-norms --json results/costs.json

The quick variants of bundled studies, one for each model in the catalog unless some are named: planned
with a probe, then trained by one worker, in a fresh folder. Ratios are predicted / measured: of the
hours of the whole run (wall time, the files it writes included, the report not), of an arm's images per second (median and range over arms), and of the peak memory of the process, which is
that of the largest trial so far. `load` is the system's average load of the last minute: whatever else runs
slows both, and not always equally. Studies whose images are not here are left out, with a word.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from timing import begin, keep, options

import normlab
from normlab.recipe import MODELS
from normlab.study.files import bundled

_TRAIN = """
import json, sys, time
from pathlib import Path
import normlab
from normlab.study.runner import run_plan
plan = normlab.plan(normlab.load_study(sys.argv[1], quick=True))
begun = time.perf_counter()
run_plan(plan, Path(sys.argv[2]))
took = time.perf_counter() - begun
made = normlab.results(plan.study, runs=sys.argv[2])
trials = made.trials
speeds = made.epochs.groupby("arm")["examples_per_second"].median().to_dict()
print(json.dumps({
    "wall": took,
    "training": float(made.epochs["seconds"].sum()),
    "peak": int(trials["peak_memory"].max()),
    "images_per_second": speeds,
}))
"""


def chosen() -> list[str]:
    """A study for every kind of model that a bundled study has: the first by name."""
    found: dict[str, str] = {}
    for name in sorted(bundled()):
        arms = normlab.plan(normlab.load_study(name, quick=True)).arms
        found.setdefault(arms[0].recipe.model.kind, name)
    return [found[kind] for kind in MODELS if kind in found]


def trained(name: str, folder: Path) -> dict[str, object] | None:
    """What training the quick variant took, in a process of its own; None if it cannot be trained."""
    words = [sys.executable, "-c", _TRAIN, name, str(folder)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode:
        print(f"{name} is left out: {ran.stderr.strip().splitlines()[-1]}")
        return None
    return json.loads(ran.stdout.splitlines()[-1])


def row(name: str) -> dict[str, object] | None:
    """One study, predicted and trained."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        costs = normlab.costs(normlab.load_study(name, quick=True), runs=folder)
        planned = time.perf_counter() - begun
        found = trained(name, Path(folder))
    if found is None or costs.hours is None:
        return None
    measured = found["images_per_second"]
    ratios = sorted(
        arm.images_per_second / measured[arm.arm]
        for arm in costs.arm_costs
        if arm.images_per_second and measured.get(arm.arm)
    )
    predicted = 3600 * costs.hours
    memory = max(arm.peak_memory or 0 for arm in costs.arm_costs)
    return {
        "study": name,
        "arms": len(costs.arm_costs),
        "timed": sum(arm.speed == "probe" for arm in costs.arm_costs),
        "plan_s": round(planned, 1),
        "predicted_s": round(predicted, 1),
        "wall_s": round(found["wall"], 1),
        "steps_s": round(found["training"], 1),
        "predicted / wall": round(predicted / found["wall"], 2),
        "images/s": round(median(ratios), 2),
        "images/s, least": round(ratios[0], 2),
        "images/s, most": round(ratios[-1], 2),
        "peak memory": round(memory / found["peak"], 2),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = options("Predicted costs beside those of really trained studies.", 1)
    parser.add_argument("--studies", nargs="+", choices=sorted(bundled()))
    parser.set_defaults(threads=1)  # as a worker has
    given = parser.parse_args()
    begin(given)
    rows = []
    for name in given.studies or chosen():
        if (found := row(name)) is not None:
            rows.append(found)
            print(found, flush=True)
    keep(rows, given)


if __name__ == "__main__":
    main()

"""The trials of the MNIST study by joblib or by Ray Tune, two at a time: a process of `study.py`.

    python benchmarks/study_peers.py joblib trials.json

The file has a list of the arguments of `mnist_script.trial`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)


def one(arguments: dict[str, Any]) -> float:
    """A trial in a process of a peer's; test accuracy after the last epoch."""
    if HERE not in sys.path:
        sys.path.insert(0, HERE)
    from mnist_script import trial

    return float(trial(**arguments)[-1]["test_accuracy"])


def by_joblib(trials: list[dict[str, Any]], workers: int) -> None:
    """All trials by joblib's processes."""
    from joblib import Parallel, delayed

    Parallel(n_jobs=workers)(delayed(one)(arguments) for arguments in trials)


def by_ray(trials: list[dict[str, Any]], workers: int) -> None:
    """All trials by Ray Tune, a core for each."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray
    from ray import tune

    place = Path(trials[0]["out"]).parent
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)

    def trainable(config: dict[str, Any]) -> dict[str, float]:
        return {"test_accuracy": one(trials[config["trial"]])}

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(range(len(trials))))},
        tune_config=tune.TuneConfig(metric="test_accuracy", mode="max"),
        run_config=tune.RunConfig(storage_path=str(place.resolve()), verbose=0),
    )
    found = tuner.fit()
    if found.num_errors:
        raise SystemExit(f"{found.num_errors} trials failed: {found.errors[0]}")
    ray.shutdown()


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text())
    {"joblib": by_joblib, "ray": by_ray}[sys.argv[1]](given, int(sys.argv[3]))

"""What it takes to store a trial, and to start a worker: the parts of a run that train nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from normlab.store import Store
from normlab.study.engines.provenance import provenance
from normlab.study.engines.work import save_files
from normlab.study.plan import Arm, Plan
from normlab.train import save_checkpoint
from normlab.train.profiling import Profiled

_TIMES = 3
_PATIENCE = 120.0  # seconds

_STARTED = """
import json, sys, time
sys.path[:] = json.loads(sys.argv[1])
begun = time.perf_counter()
import torch
import normlab.study.engines.work
print(time.perf_counter() - begun)
"""


class Stored(NamedTuple):
    """Seconds of storing.

    Attributes:
        checkpoint: After each epoch, by the worker.
        record: A row of the store for each epoch, by the process that runs the study.
        files: Weights and predictions, by the worker when the trial has ended.
        result: The trial's result in the store.
    """

    checkpoint: float
    record: float
    files: float
    result: float


def time_storing(plan: Plan, arm: Arm, profiled: Profiled, device: str) -> Stored:
    """Store a trial in a folder of its own, which is gone afterwards.

    Args:
        plan: The study's.
        arm: Whose trial is stored.
        profiled: What there is to store.
        device: "cpu" or "cuda".
    """
    trial = arm.record.trials[0].id
    place, images = provenance(device), arm.facts.test_images
    finished = profiled.finished
    finished = replace(
        finished,
        predictions=finished.predictions.repeat(images)[:images],
        confidences=finished.confidences.repeat(images)[:images],
    )
    checkpoint = replace(profiled.checkpoint, place=place)
    labels = np.arange(images) % arm.facts.num_classes
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "checkpoints" / f"{trial}.pt"
        written = _seconds(lambda: save_checkpoint(checkpoint, path))
        files = _seconds(lambda: save_files(folder, trial, finished, labels))
        with Store.write(folder) as store:
            store.record_plan(plan.record, plan.rows())
            store.start(trial, place, 0)
            record = _seconds(lambda: store.add_epoch(trial, checkpoint.history[-1]))
            artifacts = save_files(folder, trial, finished, labels)
            before = time.perf_counter()
            store.finish(trial, finished.result, artifacts)
            result = time.perf_counter() - before
    return Stored(written, record, files, result)


def time_start() -> float | None:
    """Seconds that a new process imports for, as a worker does; None where none can be started."""
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _STARTED, json.dumps(sys.path)],
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
        return float(ended.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _seconds(work: Callable[[], object]) -> float:
    found = []
    for _ in range(_TIMES):
        before = time.perf_counter()
        work()
        found.append(time.perf_counter() - before)
    return median(found)

"""Workers: the cores that they keep to, and what they do once and not for each trial."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from normlab.study.engines import processes
from normlab.study.engines.cores import keep_to, shares
from normlab.study.plan import make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system pins no process"
)

WATCHING = '''
import json, os, sys
from torch import nn
from normlab.norms.kernels import cpu

class Net(nn.Module):
    """Says, whenever it scores, what its process has imported and compiled by then."""

    made = 0

    def __init__(self, in_channels, num_classes):
        super().__init__()
        Net.made += 1
        self.number = Net.made
        self.conv, self.bn = nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        if x.device.type == "cpu" and not self.training:
            with open(os.environ["SEEN_BY_MODEL"], "a") as file:
                seen = {
                    "pid": os.getpid(),
                    "model": self.number,
                    "cores": sorted(os.sched_getaffinity(0)),
                    "modules": len(sys.modules),
                    "compiled": cpu._task.cache_info().misses,
                }
                file.write(json.dumps(seen) + "\\n")
        return self.fc(self.bn(self.conv(x)).relu().mean((2, 3)))
'''


def machine(monkeypatch: pytest.MonkeyPatch, allowed: set[int], count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: count)


def test_workers_that_fill_the_machine_have_cores_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, {0, 1, 2, 3}, 4)
    assert shares(4, 1) == [{0}, {1}, {2}, {3}]
    assert shares(2, 2) == [{0, 1}, {2, 3}]


@pytest.mark.parametrize(("workers", "threads"), [(3, 1), (5, 1), (1, 2), (2, 3)])
def test_fewer_or_more_threads_than_cores_are_left_to_the_system(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int
) -> None:
    machine(monkeypatch, {0, 1, 2, 3}, 4)
    assert shares(workers, threads) == []


def test_a_process_that_was_given_fewer_cores_is_not_overruled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, {4, 5}, 8)
    assert shares(2, 1) == []


def test_cores_that_are_gone_are_no_error() -> None:
    before = os.sched_getaffinity(0)
    keep_to(frozenset({1_000_000}))
    assert os.sched_getaffinity(0) == before


def test_a_worker_keeps_to_its_core_and_imports_and_compiles_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.sched_getaffinity(0)
    given = [frozenset({min(before)}), frozenset({max(before)})]
    monkeypatch.setattr(processes, "shares", lambda workers, threads: list(given))
    (tmp_path / "watching_net.py").write_text(WATCHING)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("SEEN_BY_MODEL", str(tmp_path / "seen"))
    monkeypatch.syspath_prepend(str(tmp_path))
    base = {"data": "digits", "model": "watching_net:Net", "norm": "batch", "epochs": 1}
    plan = make_plan(Study.parse({"name": "s", "question": "?", "base": base, "seeds": 6}))
    (tmp_path / "seen").unlink(missing_ok=True)
    assert run_plan(plan, tmp_path / "runs", RunOptions(workers=2)).counts == {"complete": 6}
    assert os.sched_getaffinity(0) == before  # only the workers'

    by_process: dict[int, list[dict[str, Any]]] = {}
    for line in (tmp_path / "seen").read_text().splitlines():
        row = json.loads(line)
        by_process.setdefault(row["pid"], []).append(row)
    assert os.getpid() not in by_process
    kept = [{tuple(row["cores"]) for row in rows} for rows in by_process.values()]
    assert sorted(kept, key=str) == sorted([{tuple(each)} for each in given], key=str)

    rows = max(by_process.values(), key=lambda rows: len({row["model"] for row in rows}))
    first, second, *others = (
        [row for row in rows if row["model"] == model]
        for model in dict.fromkeys(row["model"] for row in rows)
    )
    assert others, "six trials and two workers: one has three"
    assert first[-1]["compiled"], "nothing was compiled at all"
    # Storing its results, the last that a trial does, comes after a model's last word of it.
    assert {row["modules"] for row in [*second, *others[-1]]} == {second[0]["modules"]}
    assert {row["compiled"] for row in rows[len(first) :]} == {first[-1]["compiled"]}

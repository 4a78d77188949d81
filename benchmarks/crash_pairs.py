"""Two runs of one study in one folder, one of them killed: what is left, and what was done twice."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from crash_calls import PATIENCE, until

STUDY = """\
question: Do two runs share a study?
base: {{data: digits, model: digits-small, epochs: 2, batch_size: 256}}
factors: {{norm: [none, batch]}}
seeds: {seeds}
"""
COMMAND = [sys.executable, "-m", "normlab", "run", "s.yaml", "--workers", "1"]
_ENDED = re.compile(r"^\[\d+/\d+\] (.*): complete", re.MULTILINE)


def two_runs(work: Path, trials: int, rng: random.Random) -> dict[str, int]:
    """Let two runs share so many trials, kill one of them at random, compare with one run alone.

    Returns:
        `trials` that are complete, `twice` that were trained to their end by both, `unequal`
        weights, `by the killed run` and `by the other one` how many each brought to their end.
    """
    whole = _begun(work / "whole", trials)
    assert whole.wait() == 0
    killed, other = (_begun(work / "shared", trials, name) for name in ("killed", "other"))
    said = [work / "shared" / f"{name}.txt" for name in ("killed", "other")]
    least = rng.randrange(1, max(trials // 3, 2))
    until(lambda: len(_ended(said[0])) >= least or killed.poll() is not None, PATIENCE)
    time.sleep(rng.uniform(0.0, 0.3))
    killed.kill()
    killed.wait()
    assert other.wait() == 0, said[1].read_text()
    ended = [_ended(path) for path in said]
    found, expected = (_weights(work / name) for name in ("shared", "whole"))
    return {
        "trials": len(found),
        "twice": sum(count > 1 for count in Counter(ended[0] + ended[1]).values()),
        "unequal": sum(found.get(trial) != its for trial, its in expected.items()),
        "by the killed run": len(ended[0]),
        "by the other one": len(ended[1]),
    }


def _begun(folder: Path, trials: int, name: str = "out") -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    (folder / "s.yaml").write_text(STUDY.format(seeds=trials // 2))
    # Each trial is a unit of work of its own: more to share than with groups of lanes.
    environment = {**os.environ, "NORMLAB_LANES": "0", "PYTHONUNBUFFERED": "1"}
    with (folder / f"{name}.txt").open("wb") as out:
        return subprocess.Popen(COMMAND, cwd=folder, stdout=out, stderr=out, env=environment)


def _ended(path: Path) -> list[str]:
    return _ENDED.findall(path.read_text(errors="replace"))


def _weights(folder: Path) -> dict[str, str]:
    from normlab.store import Store

    with Store.read(folder / "runs" / "s") as store:
        ids = list(store.plan().trials)
        assert not store.losses(ids, hashes=True)
        rows = store.rows("trials", ids)
        return {
            row["id"]: json.loads(row["result"])["weights_sha256"]
            for row in rows
            if row["state"] == "complete"
        }

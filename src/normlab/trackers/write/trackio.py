"""Runs in trackio's own database: one per trial, grouped by arm, and one per arm.

trackio takes its folder from an environment variable as it is imported, so it runs in a process of
its own. Each run is stored in one transaction: what is there is whole, and is not stored again.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias

from normlab.errors import UserError
from normlab.files import make_folder
from normlab.trackers.write.exported import ArmRun, StudyRuns, TrialRun
from normlab.trackers.write.result import (
    Exported,
    arm_id,
    arm_notes,
    by_own,
    in_shell,
    needed,
    outcome,
    study_notes,
    verdict_texts,
    writing_to,
)

_PREFIX = "normlab-"
"""Of the ids of runs that normlab wrote."""
_CHILD = """
import json, pickle, sys
sys.path[:] = json.loads(sys.argv[1])
from normlab.trackers.write.trackio import write_here
answer = sys.stdout
sys.stdout = sys.stderr
answer.write(json.dumps(write_here(*pickle.load(sys.stdin.buffer))))
"""
_Point: TypeAlias = tuple[int, float, dict[str, float]]


def write(study: StudyRuns, dest: str) -> Exported:
    """Write a study's trials, arms and verdicts to a folder of trackio's; see `normlab.export`.

    Raises:
        UserError: The package is missing, the folder cannot be written, or it has a project of
            this name that is no export of normlab's.
    """
    if "://" in dest:
        raise UserError(f"{dest} is an address: name a folder for trackio's database")
    folder = Path(dest).expanduser().absolute()
    with writing_to(dest):
        make_folder(folder)
    found = _in_child(study, dest, folder)
    if "refused" in found:
        raise UserError(str(found["refused"]))
    return outcome(
        study,
        "trackio",
        dest,
        added=int(found["added"]),
        known=int(found["known"]),
        opens=f"TRACKIO_DIR={in_shell(dest)} trackio show --project {quote(study.name)}",
    )


def _in_child(study: StudyRuns, dest: str, folder: Path) -> dict[str, Any]:
    """What `write_here` says in a process whose trackio has this folder."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TRACKIO_")},
        "TRACKIO_DIR": str(folder),
        "TRACKIO_ANALYTICS": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps(sys.path)],
        input=pickle.dumps((study, dest)),
        capture_output=True,
        env=environment,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"trackio refuses: {''.join(last) or ended.returncode}") from None
    return found


def write_here(study: StudyRuns, dest: str) -> dict[str, object]:
    """Write to the folder that this process's trackio has.

    Args:
        study: As it is exported.
        dest: What messages call the folder.

    Returns:
        How many trials were `added` and how many `known`, or why it is `refused`.
    """
    try:
        storage = needed("trackio.sqlite_storage").SQLiteStorage
        return _write(study, dest, storage)
    except UserError as error:
        return {"refused": str(error)}


def _write(study: StudyRuns, dest: str, storage: Any) -> dict[str, object]:
    project = study.name
    try:
        storage.validate_project_name(project)
    except ValueError as error:
        raise UserError(f"trackio: {error}") from None
    path = Path(storage.get_project_db_path(project))
    records = storage.get_run_records(project) if path.exists() else []
    here = {str(record["id"]): str(record["name"]) for record in records}
    foreign = sorted(name for run, name in here.items() if not run.startswith(_PREFIX))
    if foreign:
        raise UserError(
            f"{dest} has a project {project} with a run {foreign[0]} that normlab did not write: "
            "choose another folder"
        )
    older = by_own(here)
    added = known = 0
    for arm in study.arms:
        for trial in arm.trials:
            if _put(storage, project, here, older, _of_trial(study, trial)):
                added += 1
            else:
                known += 1
        _put(storage, project, here, older, _of_arm(study, arm))
    return {"added": added, "known": known}


def _put(
    storage: Any,
    project: str,
    here: Mapping[str, str],
    older: Mapping[str, Sequence[str]],
    run: Mapping[str, Any],
) -> bool:
    """Store a run if it is not there, then remove those it takes the place of; whether it was new.

    A run without an epoch has one point without metrics: trackio knows runs by their points.
    """
    points: Sequence[_Point] = run["points"] or [(0, 0.0, {})]
    is_new = run["id"] not in here
    if is_new:
        storage.bulk_log(
            project,
            run["name"],
            [metrics for _, _, metrics in points],
            steps=[step for step, _, _ in points],
            timestamps=[_iso(time) for _, time, _ in points],
            config=run["config"],
            run_id=run["id"],
        )
    for old in older.get(run["own"], ()):
        if old != run["id"]:
            storage.delete_run(project, here[old], run_id=old)
    return is_new


def _of_trial(study: StudyRuns, trial: TrialRun) -> dict[str, Any]:
    told = {"trial": trial.id, "kind": "trial", "version": study.normlab, **trial.tags}
    return {
        "id": _PREFIX + trial.mark,
        "own": f"{_PREFIX}{trial.id}-",
        "name": trial.name,
        "points": list(trial.points()),
        "config": {
            **trial.params,
            **{f"normlab.{key}": value for key, value in told.items()},
            **_reserved(trial.arm, trial.started),
        },
    }


def _of_arm(study: StudyRuns, arm: ArmRun) -> dict[str, Any]:
    values = {
        "name": arm.label,
        "points": [(int(arm.summary.get("trials_finished", 0)), arm.ended, dict(arm.summary))],
        "config": {
            **arm.params,
            "arm": arm.label,
            "normlab.kind": "arm",
            "normlab.version": study.normlab,
            "normlab.summary": arm_notes(arm),
            "normlab.study": study_notes(study),
            **verdict_texts(arm.judged),
            **_reserved(arm.label, arm.ended or None),
        },
    }
    own, run = arm_id(arm, values)
    return {**values, "own": _PREFIX + own, "id": _PREFIX + run}


def _reserved(group: str, created: float | None) -> dict[str, object]:
    """What `trackio.init` puts into a run's configuration."""
    return {"_Group": group, "_Created": _iso(created or 0.0), "_Username": "normlab"}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()

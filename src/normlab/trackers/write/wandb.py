"""Offline runs for Weights & Biases: one per trial, grouped by arm, and one per arm.

The package writes each run into a folder aside, which gets its own name when the run is finished:
what is there is whole, and is not written again. `wandb sync` sends the runs; nothing is sent here.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from normlab.environment import environment
from normlab.errors import UserError
from normlab.files import sync_folder, temporary_name
from normlab.trackers.write.exported import ArmRun, StudyRuns, TrialRun
from normlab.trackers.write.result import (
    Exported,
    Shortener,
    arm_id,
    arm_notes,
    by_own,
    folder_for,
    in_shell,
    needed,
    outcome,
    study_notes,
    verdict_texts,
    writing_to,
)

_NAME = 128
"""Characters that W&B has room for, of names and groups."""
_FOLDER = re.compile(r"offline-run-\d+_\d+-(?P<id>[\w-]+)", re.ASCII)
_FOREIGN = ("WANDB_RUN_ID", "WANDB_RUN_GROUP", "WANDB_NAME", "WANDB_RESUME", "WANDB_SWEEP_ID",
            "WANDB_NOTES", "WANDB_TAGS", "WANDB_JOB_TYPE", "WANDB_ENTITY")  # fmt: skip
"""Variables of a run of the user's own."""


def write(study: StudyRuns, dest: str) -> Exported:
    """Write a study's trials, arms and verdicts as offline runs; see `normlab.export`.

    Raises:
        UserError: The package is missing, the folder has other files, or cannot be written.
    """
    with _alone():
        wandb = needed("wandb")
        folder = folder_for(dest, "wandb", study.name)
        return _Writer(wandb, folder, dest).write(study)


@contextmanager
def _alone() -> Iterator[None]:
    """Within it the package obeys no variable meant for another run, and reports no errors."""
    log = logging.getLogger("wandb")
    level = log.level
    with environment({**dict.fromkeys(_FOREIGN), "WANDB_ERROR_REPORTING": "false"}):
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


class _Writer:
    """Writes to one folder."""

    def __init__(self, wandb: Any, folder: Path, dest: str) -> None:
        self._wandb, self._folder, self._dest = wandb, folder, dest
        self._cut = Shortener("W&B")

    def write(self, study: StudyRuns) -> Exported:
        aside = temporary_name(self._folder)
        added = known = 0
        try:
            with writing_to(self._dest):
                aside.mkdir()
                here = self._here()
                older = by_own(here)
                for arm in study.arms:
                    for trial in arm.trials:
                        if trial.mark in here:
                            known += 1
                        else:
                            self._put(aside, self._of_trial(study, trial))
                            added += 1
                        _remove(here, older.get(f"{trial.id}-", ()), trial.mark)
                    own, values = self._of_arm(study, arm)
                    if values["id"] not in here:
                        self._put(aside, values)
                    _remove(here, older.get(own, ()), values["id"])
        except self._wandb.Error as error:
            raise UserError(f"{self._dest}: wandb refuses: {error}") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return outcome(
            study,
            "wandb",
            self._dest,
            added=added,
            known=known,
            shortened=self._cut.said,
            opens=f"wandb sync {in_shell(self._dest)}/wandb/offline-run-*",
        )

    def _here(self) -> dict[str, Path]:
        """The folders of runs by the runs' ids."""
        place = self._folder / "wandb"
        if not place.is_dir():
            return {}
        found = ((_FOLDER.fullmatch(path.name), path) for path in place.iterdir())
        return {name["id"]: path for name, path in found if name}

    def _put(self, aside: Path, values: dict[str, Any]) -> None:
        """Write a run aside, and give it its place."""
        known = self._wandb.Settings.model_fields
        settings = {key: value for key, value in _SETTINGS.items() if key in known}
        points, summary = values.pop("points"), values.pop("summary")
        run = self._wandb.init(
            dir=str(aside),
            reinit="create_new",
            settings=self._wandb.Settings(**settings),
            **values,
        )
        for step, time, metrics in points:
            run.log({**metrics, "_timestamp": time}, step=step)
        for key, value in summary.items():
            run.summary[key] = value
        run.finish(exit_code=1 if values["config"].get("state") == "invalid" else 0)
        self._place(aside, values["id"])

    def _place(self, aside: Path, run: str) -> None:
        """Bring a finished run's folder to its place, without the logs of its writing."""
        (made,) = (aside / "wandb").glob(f"offline-run-*-{run}")
        for path in made.iterdir():
            if path.is_dir():  # logs, and folders for files of which there are none
                shutil.rmtree(path)
        for path in made.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        place = self._folder / "wandb"
        place.mkdir(exist_ok=True)
        made.rename(place / made.name)
        sync_folder(place)

    def _of_trial(self, study: StudyRuns, trial: TrialRun) -> dict[str, Any]:
        """What `wandb.init` is given for a trial, with its points and its summary."""
        return {
            "project": study.name,
            "id": trial.mark,
            "name": self._cut(trial.name, _NAME, "name"),
            "group": self._cut(trial.arm, _NAME, "group"),
            "job_type": "trial",
            "config": dict(trial.params),
            "tags": ["normlab", trial.state],
            "points": list(trial.points()),
            "summary": {
                "normlab.trial": trial.id,
                "normlab.version": study.normlab,
                **{f"normlab.{key}": value for key, value in trial.tags.items()},
            },
        }

    def _of_arm(self, study: StudyRuns, arm: ArmRun) -> tuple[str, dict[str, Any]]:
        """What the ids of an arm's runs begin with, and what `_put` is given for it."""
        values: dict[str, Any] = {
            "project": study.name,
            "name": self._cut(arm.label, _NAME, "name"),
            "group": self._cut(arm.label, _NAME, "group"),
            "job_type": "arm",
            "config": {**arm.params, "arm": arm.label},
            "notes": f"{arm_notes(arm)}\n\n{study_notes(study)}",
            "tags": ["normlab", "arm"],
            "points": [(int(arm.summary.get("trials_finished", 0)), arm.ended, dict(arm.summary))],
            "summary": {"normlab.version": study.normlab, **verdict_texts(arm.judged)},
        }
        own, run = arm_id(arm, values)
        return own, {**values, "id": run}


def _remove(here: Mapping[str, Path], runs: Iterable[str], kept: str) -> None:
    """Take away those of the runs that the one that is kept took the place of."""
    for run in runs:
        if run != kept:
            shutil.rmtree(here[run])


_SETTINGS: dict[str, object] = {
    "mode": "offline",
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "host": "normlab",  # else the machine's name
    "program": "normlab",
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}
"""Of a run that says nothing of the machine it is written on."""

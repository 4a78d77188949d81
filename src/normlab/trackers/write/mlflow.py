"""Runs for MLflow, through its own client: a parent run per arm, in it a run per seed.

A trial's run has its id as the tag `normlab.trial` from its beginning, and is complete when its
status says so. What an export was stopped at is logged again to the same run: MLflow keeps equal
values once.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from normlab.environment import environment
from normlab.errors import UserError
from normlab.files import put_in_place, sweep, temporary_name
from normlab.trackers.write.exported import ArmRun, Judged, StudyRuns, TrialRun
from normlab.trackers.write.result import (
    Exported,
    Shortener,
    arm_notes,
    in_shell,
    needed,
    outcome,
    study_notes,
    writing_to,
)

_TRIAL, _ARM, _MARK, _KIND = "normlab.trial", "normlab.arm", "normlab.mark", "normlab.kind"
_STUDY, _PARENT = "normlab.study", "mlflow.parentRunId"
_KEY, _VALUE, _PARAM, _NAME = 250, 5000, 6000, 250
"""Characters that MLflow has room for: of keys, values of tags and of parameters, and names."""
_PARAMS, _TAGS, _ITEMS = 100, 100, 1000
"""The most that one call may log."""
_SIGNS = re.compile(r"[^\w./: -]", re.ASCII)
_SCHEMES = re.compile(r"[a-z][a-z0-9+.-]+:/|databricks")


def write(study: StudyRuns, dest: str) -> Exported:
    """Write a study's arms and trials to a tracking server or an SQLite file.

    Args:
        study: As it is exported.
        dest: A tracking URI, or the path of an SQLite file.

    Raises:
        UserError: The package is missing, the file is not MLflow's or cannot be written, the
            experiment of that name is not an export of this study, or the server refuses.
    """
    with _quiet():
        uri = _uri(dest)
        errors = (needed("mlflow.exceptions").MlflowException, sqlite3.Error)
        try:
            with writing_to(dest):
                return _Writer(uri, dest).write(study)
        except errors as error:
            raise UserError(f"{dest}: MLflow refuses: {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it MLflow reports nothing of its use to anyone, and prints no log."""
    logs = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [log.level for log in logs]
    with environment({"MLFLOW_DISABLE_TELEMETRY": "true"}):
        try:
            needed("mlflow.store.db.utils")  # which sets up its log as it is imported
            for log in logs:
                log.setLevel(logging.ERROR)
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


def _uri(dest: str) -> str:
    """The tracking URI: as given, or that of an SQLite file, which is made if it is not there."""
    if _SCHEMES.match(dest) and not dest.startswith("sqlite:"):
        return dest
    path = Path(_path(dest)).expanduser().absolute()
    if path.is_dir():
        raise UserError(f"{dest} is a folder: name an SQLite file in it, {dest}/mlflow.db")
    if path.exists():
        _check(path, dest)
    else:
        _make(path, dest)
    return f"sqlite:///{path}"


def _path(dest: str) -> str:
    """The path of an SQLite file from itself or its URI."""
    return dest.removeprefix("sqlite:").removeprefix("///")


def _check(path: Path, dest: str) -> None:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error:
        tables = set()
    if not tables >= {"experiments", "runs", "alembic_version"}:
        raise UserError(f"{dest} is not an MLflow database: name a new file, or an MLflow database")


def _make(path: Path, dest: str) -> None:
    """Make an empty store; under another name, so that it is whole or not there.

    MLflow writes the current folder into it as the place of artifacts: they are the server's, as
    `mlflow server` has it.
    """
    with writing_to(dest):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        waiting = temporary_name(path.parent)
        try:
            client = needed("mlflow").MlflowClient(f"sqlite:///{waiting}")
            client.search_experiments(max_results=1)
            with closing(sqlite3.connect(waiting)) as connection, connection:
                connection.execute(
                    "UPDATE experiments SET artifact_location = "
                    "'mlflow-artifacts:/' || experiment_id"
                )
            put_in_place(waiting, path)
        finally:
            for ending in ("", "-wal", "-shm", "-journal"):
                waiting.with_name(waiting.name + ending).unlink(missing_ok=True)


class _Writer:
    """Writes to one store."""

    def __init__(self, uri: str, dest: str) -> None:
        entities = needed("mlflow.entities")
        self._metric, self._param, self._tag = entities.Metric, entities.Param, entities.RunTag
        self._client = needed("mlflow").MlflowClient(uri)
        self._dest, self._is_file = dest, uri.startswith("sqlite:")
        self._cut = Shortener("MLflow")

    def write(self, study: StudyRuns) -> Exported:
        experiment = self._experiment(study)
        here = self._here(experiment)
        added = known = 0
        for arm in study.arms:
            parent = self._arm(experiment, arm, here.get(f"arm {arm.label}"), study)
            for trial in arm.trials:
                before = here.get(f"trial {trial.id}")
                if before is not None and before.data.tags.get(_MARK) != trial.mark:
                    self._client.delete_run(before.info.run_id)  # other numbers than these
                    before = None
                if before is not None and before.info.status != "RUNNING":
                    known += 1
                    if before.data.tags.get(_PARENT) != parent:
                        self._client.set_tag(before.info.run_id, _PARENT, parent)
                    continue
                self._trial(experiment, parent, trial, before, study)
                added += 1
        for key, value in self._study_tags(study).items():
            self._client.set_experiment_tag(experiment, key, value)
        file = f"sqlite:///{in_shell(_path(self._dest))}" if self._is_file else ""
        return outcome(
            study,
            "mlflow",
            self._dest,
            added=added,
            known=known,
            shortened=self._cut.said,
            opens=f"mlflow ui --backend-store-uri {file}" if file else "",
        )

    def _experiment(self, study: StudyRuns) -> str:
        """The id of the study's experiment, made if it is not there."""
        name = self._cut(study.name, _NAME, "name")
        found = self._client.get_experiment_by_name(name)
        if found is None:
            place = {"artifact_location": f"mlflow-artifacts:/{name}"} if self._is_file else {}
            tags = {_STUDY: name}
            return str(self._client.create_experiment(name, tags=tags, **place))
        if found.tags.get(_STUDY) != name or found.lifecycle_stage != "active":
            raise UserError(
                f"{self._dest} has an experiment {name} that is "
                + ("deleted" if found.lifecycle_stage != "active" else "no export of normlab")
                + ": rename or remove it there, or choose another store"
            )
        return str(found.experiment_id)

    def _here(self, experiment: str) -> dict[str, Any]:
        """The runs of earlier exports, by what they are of."""
        found: dict[str, Any] = {}
        token = None
        while True:
            page = self._client.search_runs([experiment], max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                if tags.get(_KIND) == "trial":
                    found.setdefault(f"trial {tags.get(_TRIAL)}", run)
                elif tags.get(_KIND) == "arm":
                    found.setdefault(f"arm {tags.get(_ARM)}", run)
            token = page.token
            if not token:
                return found

    def _arm(self, experiment: str, arm: ArmRun, before: Any, study: StudyRuns) -> str:
        """Bring an arm's run up to date; its id."""
        params = self._params({**arm.params, "arm": arm.label})
        if before is not None and any(
            params.get(key, value) != value for key, value in before.data.params.items()
        ):
            self._client.delete_run(before.info.run_id)  # another arm had this label
            before = None
        if before is None:
            began = min((t.started for t in arm.trials if t.started is not None), default=0.0)
            before = self._client.create_run(
                experiment,
                start_time=_ms(began),
                run_name=self._cut(arm.label, _NAME, "name"),
                tags={_KIND: "arm", _ARM: arm.label[:_VALUE]},
            )
        run = str(before.info.run_id)
        ended, count = _ms(arm.ended), int(arm.summary.get("trials_finished", 0))
        metrics = [self._metric(k, v, ended, count) for k, v in arm.summary.items()]
        tags = {
            "normlab.version": study.normlab,
            "mlflow.note.content": self._cut(arm_notes(arm), _VALUE, "description"),
            **self._verdicts(arm.judged),
        }
        self._log(run, metrics, params, tags)
        self._client.set_terminated(run, "FINISHED", ended)
        return run

    def _trial(
        self, experiment: str, parent: str, trial: TrialRun, before: Any, study: StudyRuns
    ) -> None:
        """Write a trial's run, or complete one that an export was stopped at."""
        if before is None:
            before = self._client.create_run(
                experiment,
                start_time=_ms(trial.started or 0.0),
                run_name=self._cut(trial.name, _NAME, "name"),
                tags={
                    _KIND: "trial",
                    _TRIAL: trial.id,
                    _MARK: trial.mark,
                    _PARENT: parent,
                },
            )
        run = str(before.info.run_id)
        metrics = [
            self._metric(key, value, _ms(time), step)
            for step, time, values in trial.points()
            for key, value in values.items()
        ]
        tags = {
            _ARM: self._cut(trial.arm, _VALUE, "label"),
            "normlab.seed": str(trial.seed),
            "normlab.state": trial.state,
            "normlab.version": study.normlab,
            **{f"normlab.{self._key(k)}": self._value(v) for k, v in trial.tags.items()},
        }
        self._log(run, metrics, self._params(trial.params), tags)
        last = float(trial.times[-1]) if len(trial.times) else 0.0
        ended = trial.ended if trial.ended is not None else last
        status = "FAILED" if trial.state == "invalid" else "FINISHED"
        self._client.set_terminated(run, status, _ms(ended))

    def _log(
        self, run: str, metrics: list[Any], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Log in as few calls as the limits allow."""
        told = [self._param(key, value) for key, value in params.items()]
        said = [self._tag(key, value) for key, value in tags.items()]
        while metrics or told or said:
            some_told, told = told[:_PARAMS], told[_PARAMS:]
            some_said, said = said[:_TAGS], said[_TAGS:]
            room = _ITEMS - len(some_told) - len(some_said)
            some, metrics = metrics[:room], metrics[room:]
            self._client.log_batch(run, metrics=some, params=some_told, tags=some_said)

    def _study_tags(self, study: StudyRuns) -> dict[str, str]:
        tags = {
            "mlflow.note.content": self._cut(study_notes(study), _VALUE, "description"),
            "normlab.question": self._value(study.question),
            "normlab.version": study.normlab,
            **self._verdicts(study.judged),
        }
        return {**tags, "normlab.rehearsal": "true"} if study.rehearsal else tags

    def _verdicts(self, judged: Iterable[Judged]) -> dict[str, str]:
        """For each claim its verdict, and the sentence about it."""
        tags: dict[str, str] = {}
        for one in judged:
            key = self._key(one.claim, _KEY - 30)
            if f"normlab.verdict.{key}" in tags:  # other characters made two names one
                key = f"{key} {len(tags)}"
            tags[f"normlab.verdict.{key}"] = one.verdict
            tags[f"normlab.claim.{key}"] = self._value(one.words)
        return tags

    def _params(self, params: Mapping[str, object]) -> dict[str, str]:
        return {
            self._key(key): self._cut(str(value), _PARAM, "parameter")
            for key, value in params.items()
        }

    def _value(self, text: str) -> str:
        return self._cut(text, _VALUE, "tag")

    def _key(self, name: str, most: int = _KEY) -> str:
        """A key of characters that MLflow allows."""
        made = _SIGNS.sub("_", name)
        made = "/".join(part for part in made.split("/") if part.strip(" .")) or "_"
        if made != name:
            self._cut.changed(name, "key")
        return self._cut(made, most, "key").replace("…", "_")


def _ms(seconds: float) -> int:
    return round(1000 * seconds)

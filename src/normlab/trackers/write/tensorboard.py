"""Event files for TensorBoard: a folder per arm, in it one per seed, with hyperparameters.

Each trial is one file, written in one piece, whose name tells the trial and its numbers: what is
there is whole, and is not written again. TensorFlow is not needed. TensorBoard keeps seven digits.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from normlab.files import write_files
from normlab.trackers.write.exported import ArmRun, StudyRuns, TrialRun, Value
from normlab.trackers.write.result import (
    Exported,
    arm_notes,
    file_names,
    folder_for,
    in_shell,
    needed,
    outcome,
    study_notes,
    writing_to,
)

_FILE = re.compile(r"events\.out\.tfevents\.\d+\.normlab\.(?P<mark>[\w-]+)", re.ASCII)
_TOGETHER = 100
"""Files that are written at once: the disk is waited for once for all of them."""
_SHOWN = ("test_accuracy", "validation_accuracy", "test_loss", "gap")
"""Metrics of the table of hyperparameters."""

_Event: TypeAlias = Any
"""A message of TensorBoard's own, which has no types."""


def write(study: StudyRuns, dest: str) -> Exported:
    """Write a study's trials, arms and verdicts to a folder; see `normlab.export`.

    Raises:
        UserError: The package is missing, the folder has other files, or cannot be written.
    """
    events = _Events(study)
    folder = folder_for(dest, "tensorboard", study.name)
    names = file_names(arm.label for arm in study.arms)
    out = _Files(dest)
    added = known = 0
    for arm in study.arms:
        for trial in arm.trials:
            place = folder / names[arm.label] / f"seed-{trial.seed}"
            if out.put(place, trial.mark, trial.started or 0.0, partial(events.of_trial, trial)):
                added += 1
            else:
                known += 1
        out.put_text(folder / names[arm.label], arm.ended, events.of_arm(arm))
    out.put_text(folder, study.ended, events.of_study(study))
    out.flush()
    opens = f"tensorboard --logdir {in_shell(dest)}"
    return outcome(study, "tensorboard", dest, added=added, known=known, opens=opens)


class _Files:
    """Event files that wait to be written together."""

    def __init__(self, dest: str) -> None:
        self._dest = dest
        self._waiting: dict[Path, bytes] = {}
        self._older: list[Path] = []

    def put(self, place: Path, mark: str, began: float, make: Callable[[], bytes]) -> bool:
        """Have a folder hold the file with this mark alone of ours; whether it lacked it.

        Args:
            place: The folder.
            mark: Tells what is in the file.
            began: Seconds since 1970, for its name: TensorBoard reads files in their order.
            make: Makes its content.
        """
        here = {found["mark"]: path for path, found in _ours(place)}
        self._older += [path for other, path in here.items() if other != mark]
        if mark in here:
            return False
        self._waiting[place / f"events.out.tfevents.{int(began):010d}.normlab.{mark}"] = make()
        if len(self._waiting) >= _TOGETHER:
            self.flush()
        return True

    def put_text(self, place: Path, began: float, content: bytes) -> None:
        """Have a folder hold this content alone of ours."""
        self.put(place, hashlib.sha256(content).hexdigest()[:12], began, lambda: content)

    def flush(self) -> None:
        """Write what waits, and only then remove what it takes the place of."""
        with writing_to(self._dest):
            write_files(self._waiting)
            for path in self._older:
                path.unlink(missing_ok=True)
        self._waiting.clear()
        self._older.clear()


def _ours(place: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """The event files in a folder that normlab wrote there."""
    if place.is_dir():
        for path in place.iterdir():
            if found := _FILE.fullmatch(path.name):
                yield path, found


class _Events:
    """Makes the content of event files, by TensorBoard's own messages and record format."""

    def __init__(self, study: StudyRuns) -> None:
        self._event = needed("tensorboard.compat.proto.event_pb2").Event
        summary = needed("tensorboard.compat.proto.summary_pb2")
        self._summary, self._metadata = summary.Summary, summary.SummaryMetadata
        self._tensor = needed("tensorboard.compat.proto.tensor_pb2").TensorProto
        self._types = needed("tensorboard.compat.proto.types_pb2")
        self._records = needed("tensorboard.summary.writer.record_writer").RecordWriter
        self._text = needed("tensorboard.plugins.text.metadata")
        self._hparams = needed("tensorboard.plugins.hparams.metadata")
        self._plugin = needed("tensorboard.plugins.hparams.plugin_data_pb2")
        self._api = needed("tensorboard.plugins.hparams.api_pb2")
        self._kinds = _kinds(study)

    def of_trial(self, trial: TrialRun) -> bytes:
        """A trial's hyperparameters, its metrics at each epoch, and where it ran as text."""
        began = trial.started or 0.0
        start = self._plugin.SessionStartInfo(group_name=trial.arm, start_time_secs=began)
        for key, value in trial.params.items():
            kind = self._kinds[key]
            setattr(start.hparams[key], f"{kind}_value", _as_kind(value, kind))
        ok = self._api.STATUS_FAILURE if trial.state == "invalid" else self._api.STATUS_SUCCESS
        last = float(trial.times[-1]) if len(trial.times) else began
        end = self._plugin.SessionEndInfo(status=ok, end_time_secs=trial.ended or last)
        tags = {"normlab.trial": trial.id, "normlab.state": trial.state, **trial.tags}
        table = "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in tags.items())])
        events = [
            self._of_plugin(began, self._hparams.SESSION_START_INFO_TAG, session_start_info=start),
            self._of_text(began, "trial", table),
        ]
        for step, time, values in trial.points():
            scalars = [self._summary.Value(tag=k, simple_value=v) for k, v in values.items()]
            events.append(
                self._event(wall_time=time, step=step, summary=self._summary(value=scalars))
            )
        ended = self._of_plugin(last, self._hparams.SESSION_END_INFO_TAG, session_end_info=end)
        return self._packed(began, [*events, ended])

    def of_arm(self, arm: ArmRun) -> bytes:
        """An arm's means and verdicts as text, and its means as scalars at the number of trials."""
        time, step = arm.ended, int(arm.summary.get("trials_finished", 0))
        scalars = [self._summary.Value(tag=k, simple_value=v) for k, v in arm.summary.items()]
        means = self._event(wall_time=time, step=step, summary=self._summary(value=scalars))
        return self._packed(time, [self._of_text(time, "arm", arm_notes(arm)), means])

    def of_study(self, study: StudyRuns) -> bytes:
        """The study's verdicts as text, and what its table of hyperparameters has."""
        time = study.ended
        known = {name for trial in study.trials for name in trial.metrics}
        types = {
            "bool": self._api.DATA_TYPE_BOOL,
            "number": self._api.DATA_TYPE_FLOAT64,
            "string": self._api.DATA_TYPE_STRING,
        }
        made = self._api.Experiment(
            description=study_notes(study),
            time_created_secs=time,
            hparam_infos=[
                self._api.HParamInfo(name=key, type=types[self._kinds[key]])
                for key in _varied(study)
            ],
            metric_infos=[
                self._api.MetricInfo(name=self._api.MetricName(tag=name))
                for name in _SHOWN
                if name in known
            ],
        )
        text = self._of_text(time, "study", study_notes(study))
        told = self._of_plugin(time, self._hparams.EXPERIMENT_TAG, experiment=made)
        return self._packed(time, [told, text])

    def _packed(self, began: float, events: Iterable[_Event]) -> bytes:
        """Events as a file has them."""
        stream = io.BytesIO()
        records = self._records(stream)
        for event in (self._event(wall_time=began, file_version="brain.Event:2"), *events):
            # The same events give the same bytes: maps are written in the order of their keys.
            records.write(event.SerializeToString(deterministic=True))
        return stream.getvalue()

    def _of_text(self, time: float, tag: str, text: str) -> _Event:
        tensor = self._tensor(dtype=self._types.DT_STRING, string_val=[text.encode()])
        metadata = self._text.create_summary_metadata(display_name=tag, description="")
        value = self._summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)
        return self._event(wall_time=time, summary=self._summary(value=[value]))

    def _of_plugin(self, time: float, tag: str, **data: Any) -> _Event:
        metadata = self._hparams.create_summary_metadata(self._plugin.HParamsPluginData(**data))
        value = self._summary.Value(tag=tag, metadata=metadata, tensor=self._hparams.NULL_TENSOR)
        return self._event(wall_time=time, summary=self._summary(value=[value]))


def _kinds(study: StudyRuns) -> dict[str, str]:
    """`bool`, `number` or `string` for each parameter: one for all trials, as the table wants."""
    values: dict[str, list[Value]] = {}
    for trial in study.trials:
        for key, value in trial.params.items():
            values.setdefault(key, []).append(value)
    return {key: _kind(found) for key, found in values.items()}


def _kind(values: Iterable[Value]) -> str:
    each = {type(value) for value in values}
    if each == {bool}:
        return "bool"
    return "number" if each <= {int, float} else "string"


def _as_kind(value: Value, kind: str) -> Value:
    return str(value) if kind == "string" else value


def _varied(study: StudyRuns) -> list[str]:
    """Parameters in which the arms differ, and the seed."""
    keys = dict.fromkeys(key for arm in study.arms for key in arm.params)
    varied = [key for key in keys if len({arm.params.get(key) for arm in study.arms}) > 1]
    return ["arm", *varied, "seed"]

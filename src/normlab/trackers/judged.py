"""Claims judged on trials that were run elsewhere: a table's, or those that another tool logged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from normlab.errors import UserError
from normlab.study.spec import Study
from normlab.trackers.asked import Asked

if TYPE_CHECKING:
    import pandas as pd

    from normlab.records.plan import PlanRecord

TABLES = {".csv", ".tsv", ".txt", ".tab"}
"""Endings of tables, beside what other tools export."""
_UNKNOWN = (
    "Not known: whether the test images chose epochs or hyperparameters there. Where they did, "
    "accuracies are too high and the verdicts exploratory; --selected-on says it."
)
_ON_TEST = "the test images chose epochs or hyperparameters there: accuracies are too high"


def verdicts_from(
    source: Path, study: Study, *, test_images: int | None, asked: Asked
) -> pd.DataFrame:
    """The verdicts on a study's claims from a table or a tool's runs; see `normlab.claims_from`.

    Raises:
        UserError: A mistake in the study, the source or what was asked.
    """
    from dataclasses import replace

    from normlab.frames import claim_table, frames_from_csv, frames_from_table
    from normlab.trackers.mapping import trials_table
    from normlab.trackers.read import read_runs

    record = _plan(study)
    notes, left_out = [], []
    if is_table(source):
        asked.check(key for arm in record.arms for key in arm.levels)
        check_table(asked)
        renamed = _columns(source, record, asked)
        frames = frames_from_csv(source, record, test_images=test_images, renamed=renamed)
    else:
        mapped = trials_table(read_runs(source), record, asked)
        frames = frames_from_table(mapped.table, record, test_images=test_images)
        notes, left_out = mapped.notes, mapped.left_out
    if asked.selected_on is None:
        notes = [*notes, _UNKNOWN]
    if asked.selected_on == "test":
        frames = replace(frames, seen=_ON_TEST)
    found = claim_table(frames)
    found.attrs |= {"notes": list(notes), "left_out": list(left_out)}
    return found


def is_table(source: Path) -> bool:
    """Whether a source is a plain table of trials, and none that another tool exports.

    Raises:
        UserError: It is not there.
    """
    from normlab.trackers.read import tool_of

    if not source.is_file():
        return False
    return tool_of(source) is None and (source.suffix.lower() in TABLES or _is_text(source))


def check_table(asked: Asked) -> None:
    """Refuse what only a tool's runs have.

    Raises:
        UserError: Names of runs, groups or ends are asked of a table.
    """
    for option, value in (
        ("--names", asked.names), ("--group", asked.group), ("--ends", asked.ends)
    ):  # fmt: skip
        if value is not None:
            raise UserError(f"{option} is for runs that another tool logged, not for a table")


def _columns(source: Path, record: PlanRecord, asked: Asked) -> dict[str, str]:
    """What a table calls our columns: as asked, and metrics of claims under a name that is sure."""
    from normlab.frames.external_table import PERCENT, header
    from normlab.metrics import METRICS
    from normlab.trackers.names import maybe_ours, ours
    from normlab.trackers.scores import asking, needed_metrics

    known = [*METRICS, *(metric + PERCENT for metric in METRICS)]
    written = header(source, known)
    renamed = dict(asked.map)
    for metric in needed_metrics(record):
        own = {metric, metric + PERCENT}
        found = [name for name in written.values() if ours(name) in own]
        if own & {*written, *renamed}:
            continue
        if len(found) == 1:
            renamed[str(ours(found[0]))] = found[0]
        elif any(metric.endswith(maybe_ours(name) or " ") for name in written.values()):
            raise UserError(f"{source}: {asking(metric, dict.fromkeys(written.values(), 0))}")
    return renamed


def _plan(study: Study) -> PlanRecord:
    from normlab.study.known_data import known_data
    from normlab.study.resolve import outline

    record, known = outline(study), known_data(study)
    arms = tuple(arm.model_copy(update=known.get(arm.label, {})) for arm in record.arms)
    return record.model_copy(update={"arms": arms})


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(4096)

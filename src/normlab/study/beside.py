"""The trials that stand beside what a study's source printed: one's own, else the released ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from normlab.records.plan import PlanRecord
from normlab.store import Store
from normlab.study.resolve import outline
from normlab.study.spec import Study
from normlab.study.stored import folder_of, frames_of, stored_name
from normlab.text import one_form

if TYPE_CHECKING:
    from normlab.frames import Frames

Origin = Literal["runs", "released", "none"]


class Beside(NamedTuple):
    """What is compared.

    Attributes:
        plan: Whose published numbers are shown.
        frames: The trials; None where there are none. Of released trials of the quick variant the
            plan is still the whole study's: every number of the source is shown.
        origin: The run folder, the findings that come with normlab, or nothing.
    """

    plan: PlanRecord
    frames: Frames | None
    origin: Origin


def beside(study: str | Study, runs: Path) -> Beside:
    """The trials in the study's run folder; if it has none, the released ones of a bundled study.

    Args:
        study: By bundled name, path or name of a run folder; or itself.
        runs: The folder that holds a folder for each study.

    Raises:
        UserError: No such study, or a mistake in it; a run folder of another study.
    """
    if isinstance(study, Study):
        folder, made = folder_of(study, runs), study
        if Store.is_made(folder):
            return _own(folder)
    else:
        if _is_there(one_form(study), runs):
            return _own(runs / stored_name(study, runs))
        made = Study.load(study)
    return _released(made)


def _is_there(name: str, runs: Path) -> bool:
    """Whether a study, given by its name or its file's path, was run."""
    return Store.is_made(runs / name) or Store.is_made(runs / Path(name).stem)


def _own(folder: Path) -> Beside:
    frames = frames_of(folder)
    return Beside(frames.plan, frames, "runs")


def _released(study: Study) -> Beside:
    from normlab.study.released import released_frames

    plan = outline(study)
    if not _is_bundled(study):
        return Beside(plan, None, "none")
    frames = released_frames(study)
    if frames is None and not study.rehearsal:
        frames = released_frames(study.vary(quick=True))
    return Beside(plan, frames, "none" if frames is None else "released")


def _is_bundled(study: Study) -> bool:
    """Whether it is what was released: no file of one's own, no other recipe values."""
    if not study.bundled:
        return False
    return study.overrides == Study.load(study.name).vary(quick=study.rehearsal).overrides

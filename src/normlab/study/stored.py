"""What a study's run folder holds: which trials are done, which files are lost, what is known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from normlab.errors import UserError
from normlab.records import FINISHED, UNFINISHED
from normlab.store import Loss, Store
from normlab.store.plans import as_written, not_ours
from normlab.study.files import find
from normlab.study.owner import check_owner
from normlab.study.spec import Study, check_name
from normlab.text import one_form
from normlab.wording import counted

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

    from normlab.frames import Frames
    from normlab.records.plan import PlanRecord
    from normlab.study.plan import Plan


def folder_of(study: str | Study, runs: str | Path) -> Path:
    """The run folder of a study, given by name or itself."""
    return Path(runs) / (study.name if isinstance(study, Study) else study)


def stored_name(study: str, runs: Path) -> str:
    """The name under which the runs of a study, given by bundled name or path, are stored.

    Raises:
        UserError: No such study, it was never run there, or the folder is another's.
    """
    name, path = one_form(study), None
    if _is_path(study) or not Store.is_made(runs / name):
        path = find(study)
        check_name(path)
        name = one_form(path.stem)
    if not Store.is_made(runs / name):
        raise UserError(f"{name} has no runs in {runs} yet: `normlab run {study}` makes them")
    if path is not None:
        with Store.read(runs / name) as store:
            check_owner(store, str(path.resolve()))
    return name


def _is_path(study: str) -> bool:
    return study != Path(study).name or Path(study).suffix in {".yaml", ".yml"}


def frames_of(folder: Path, *, details: bool = True) -> Frames:
    """What the last run of a study stored.

    Args:
        folder: The study's.
        details: See `normlab.frames.load_frames`.

    Raises:
        UserError: It was never run there.
    """
    from normlab.frames import load_frames

    with as_written(folder), Store.read(folder) as store:
        return load_frames(store, details=details)


def verdicts(folder: Path) -> pd.DataFrame:
    """The verdicts on a study's claims; see `normlab.frames.claim_table`.

    Raises:
        UserError: It was never run there.
    """
    from normlab.frames import claim_table

    with as_written(folder):
        return claim_table(frames_of(folder, details=False))


class StoredClaims(NamedTuple):
    """What a stored plan says of its claims.

    Attributes:
        plan: The plan.
        unfinished: Planned trials of each claim's arms that are still to be trained, by its name.
        waiting: The same of claims that are judged only when all are: where seeds are added at
            looks, a verdict is one of a look, and stays.
    """

    plan: PlanRecord
    unfinished: dict[str, int]
    waiting: dict[str, int]


def stored_claims(folder: Path) -> StoredClaims:
    """Which claims of the last run still wait for trials.

    Raises:
        UserError: It was never run there.
    """
    with as_written(folder), Store.read(folder) as store:
        plan = store.plan()
        states = store.states(list(plan.trials))
    by_arm = {
        arm.label: sum(states.get(trial.id) in UNFINISHED for trial in arm.trials)
        for arm in plan.arms
    }
    unfinished = {claim.name: sum(by_arm[arm] for arm in claim.arms) for claim in plan.judged}
    return StoredClaims(plan, unfinished, {} if plan.sequential else unfinished)


class TrialProgress(TypedDict):
    """How far a planned trial is: its state, `epochs` done `of` all, the `reason` of a failure."""

    arm: str
    seed: int
    id: str
    state: str
    epochs: int
    of: int | None
    reason: str | None


class LostFile(TypedDict):
    """A file of a finished trial that is gone or damaged, and in what way."""

    arm: str
    seed: int
    id: str
    kind: str
    path: str
    reason: str


def progress_of(folder: Path) -> tuple[str, list[TrialProgress], list[LostFile], int]:
    """The name of the stored plan, its trials, the files lost of them, and the runs at work.

    Raises:
        UserError: It was never run there.
    """
    with as_written(folder), Store.read(folder) as store:
        recorded = store.plan()
        ids = list(recorded.trials)
        rows = rows_of(store, recorded, store.rows("trials", ids))
        done = store.epochs_done(ids)
        lost = lost_files(recorded, store.losses(ids))
        # Asked after the rows were read: a run that ended meanwhile has left none that runs.
        held, at_work = store.held(ids), len(store.others())
    trials: list[TrialProgress] = [
        {
            "arm": arm.label,
            "seed": trial.seed,
            "id": trial_id,
            "state": state_of(rows[trial_id]["state"], gone=trial_id not in held),
            "epochs": done.get(trial_id, 0),
            "of": arm.epochs,
            "reason": rows[trial_id]["reason"],
        }
        for trial_id, (arm, trial) in recorded.trials.items()
    ]
    return recorded.name, trials, lost, at_work


def rows_of(
    store: Store, recorded: PlanRecord, rows: Iterable[sqlite3.Row]
) -> dict[str, sqlite3.Row]:
    """Rows about a recorded plan's trials, by their ids.

    Raises:
        UserError: A trial has none.
    """
    found = {row["id"]: row for row in rows}
    for missing in [trial_id for trial_id in recorded.trials if trial_id not in found]:
        raise not_ours(store.folder, f"its plan has a trial {missing} that it does not hold")
    return found


def state_of(stored: str, *, gone: bool) -> str:
    """A trial's state as it is shown: `interrupted` where it runs and who ran it is gone."""
    return "interrupted" if stored == "running" and gone else stored


def compared_files(folder: Path) -> tuple[int, list[LostFile]]:
    """How many files the finished trials should have, and those that are gone or damaged.

    Raises:
        UserError: It was never run there.
    """
    with Store.read(folder) as store:
        recorded = store.plan()
        ids = list(recorded.trials)
        states = store.states(ids)
        files = sum(
            len(store.artifacts(i)) for i in dict.fromkeys(ids) if states.get(i) in FINISHED
        )
        return files, lost_files(recorded, store.losses(ids, hashes=True))


def lost_files(recorded: PlanRecord, losses: Iterable[Loss]) -> list[LostFile]:
    """Lost files of a recorded plan's trials as plain mappings; see `normlab.Status`."""
    return [
        {
            "arm": recorded.trials[loss.trial_id][0].label,
            "seed": recorded.trials[loss.trial_id][1].seed,
            "id": loss.trial_id,
            "kind": loss.artifact.kind,
            "path": loss.artifact.path,
            "reason": loss.reason,
        }
        for loss in losses
    ]


def states_of(plan: Plan, runs: Path) -> dict[str, str]:
    """State of every trial of a plan by id, as far as the study's folder knows; else pending."""
    pending = dict.fromkeys(plan.trials, "pending")
    folder = folder_of(plan.study, runs)
    if not Store.is_made(folder):
        return pending
    with Store.read(folder) as store:
        return {**pending, **store.states(list(plan.trials))}


def claim_plans(
    plan: Plan, runs: Path, *, released: bool = True, frames: Frames | None = None
) -> pd.DataFrame:
    """What the planned seeds can say about each claim; see `normlab.frames.claim_plans`.

    Args:
        plan: The study's.
        runs: The folder that holds a folder for each study.
        released: Whether the released findings are the pilot of a bundled study that was never run;
            reading them takes a second or two.
        frames: From `frames_of_plan`, if the caller has it.
    """
    from normlab.frames import claim_plans as plans_of
    from normlab.study.released import released_frames

    frames = frames_of_plan(plan, runs) if frames is None else frames
    own = frames is not None and frames.trials["state"].isin(FINISHED).any()
    if own or not released or not plan.study.bundled or plan.study.varied:
        return plans_of(plan.record, frames)
    return plans_of(plan.record, released_frames(plan.study), pilot="released")


def counted_code(plan: Plan, runs: Path) -> tuple[list[str], list[str]]:
    """Which own code is part of the trials' ids, and what of it changed since the last run."""
    from normlab.study.own import said

    stored, folder = None, folder_of(plan.study, runs)
    if any(arm.code for arm in plan.record.arms) and Store.is_made(folder):
        try:
            with Store.read(folder) as store:
                stored = store.plan()
        except UserError:  # of an older schema, say: `run` brings it up to date
            pass
    return said(plan.record.arms, stored)


def changed_code(plan: Plan, runs: Path) -> list[str]:
    """What of a plan's own code changed since the last run, in sentences."""
    return counted_code(plan, runs)[1]


def other_rule(plan: Plan, runs: Path) -> str | None:
    """What becomes of the verdicts where the last run added seeds by another rule than this one."""
    folder = folder_of(plan.study, runs)
    if not Store.is_made(folder) or not plan.record.judged:
        return None
    try:
        with Store.read(folder) as store:
            before = store.plan()
            seen = any(state in FINISHED for state in store.states(list(before.trials)).values())
    except UserError:  # no plan yet, or of an older schema: `run` brings it up to date
        return None
    if not seen or bool(before.sequential) == bool(plan.record.sequential):
        return None
    if before.sequential:
        return (
            "the last run added seeds until claims were settled: without --until-settled they are "
            f"judged on {counted(len(plan.study.seeds), 'seed')} and marked exploratory, also later"
        )
    return (
        "results were seen before seeds were to be added at looks: the verdicts will be marked "
        "exploratory"
    )


def stranger(study: Study, runs: Path) -> str | None:
    """Why `run` will refuse the study's folder: it has the runs of another study file."""
    folder = folder_of(study, runs)
    if not Store.is_made(folder):
        return None
    with Store.read(folder) as store:
        try:
            check_owner(store, study.file)
        except UserError as error:
            return str(error)
    return None


def frames_of_plan(plan: Plan, runs: Path) -> Frames | None:
    """What is stored of a plan's trials, without diagnostics, if anything is."""
    from normlab.frames import load_frames

    folder = folder_of(plan.study, runs)
    if not Store.is_made(folder):
        return None
    with Store.read(folder) as store:
        return load_frames(store, plan.record, details=False)

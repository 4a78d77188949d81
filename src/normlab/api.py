"""The Python API: the command line's verbs as functions, results as data frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normlab.errors import UserError
from normlab.records import FINISHED
from normlab.store import Loss, Store
from normlab.store.plans import as_written, not_ours
from normlab.study.spec import Study

if TYPE_CHECKING:
    import pandas as pd

    from normlab.frames import Frames
    from normlab.records.plan import PlanRecord
    from normlab.study.plan import Plan


@dataclass(frozen=True)
class Results:
    """What a study's store holds after a run.

    Attributes:
        folder: The study's folder.
        arms: One row per arm: means and intervals; see `normlab.frames.arm_table`.
        trials: One row per trial; see `normlab.frames.Frames`.
        epochs: One row per epoch of a trial; see `normlab.frames.Frames`.
    """

    folder: Path
    arms: pd.DataFrame
    trials: pd.DataFrame
    epochs: pd.DataFrame

    def report(
        self,
        *,
        figures: str | Path | None = None,
        latex: str | Path | None = None,
        csv: str | Path | None = None,
    ) -> Path:
        """Write the report anew; returns its path.

        Args:
            figures: A folder for every figure as SVG and PDF, galleries as PNG too.
            latex: A folder for the tables of arms and verdicts as LaTeX and Markdown.
            csv: A file for every epoch of every finished trial, which `claims_from` reads.

        Raises:
            UserError: A folder or the file cannot be written.
        """
        from normlab.reports import write_exports, write_report

        write_exports(
            self.folder,
            figures=Path(figures) if figures is not None else None,
            latex=Path(latex) if latex is not None else None,
            csv=Path(csv) if csv is not None else None,
        )
        return write_report(self.folder)


@dataclass(frozen=True)
class Status:
    """How far a study is.

    Attributes:
        name: The study's name.
        trials: One mapping per planned trial: `arm`, `seed`, `id`, `state`, `epochs` done,
            `of` epochs, `reason` of a failure. A trial is `interrupted` where the process that
            ran it is gone.
        lost: One mapping per file of a finished trial that is gone or has another size: `arm`,
            `seed`, `id`, `kind`, `path`, `reason`.
    """

    name: str
    trials: list[dict[str, Any]]
    lost: list[dict[str, Any]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state, only states that occur."""
        return dict(Counter(trial["state"] for trial in self.trials))

    @property
    def finished(self) -> int:
        """Trials that will never run again."""
        return sum(trial["state"] in FINISHED for trial in self.trials)


@dataclass(frozen=True)
class Verified:
    """The files of a study's finished trials, held against their hashes.

    Attributes:
        files: How many there should be.
        lost: One mapping per file that is gone or damaged; see `Status.lost`.
    """

    files: int
    lost: list[dict[str, Any]]


def load_study(
    reference: str | Path,
    *,
    seeds: int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002 (the command line's word)
    quick: bool = False,
    trust: Iterable[str] = (),
) -> Study:
    """A study by bundled name or path, changed as the options of the command line change it.

    Args:
        reference: A bundled study's name, or the path of a study file.
        seeds: Use seeds 0 to seeds - 1.
        set: Recipe values that hold in every arm, by dotted key: ``{"epochs": 5}``.
        quick: Use the study's quick variant.
        trust: Packages of yours that the file may have imported, as `--trust` names them. Without
            it, and without `trust_study`, a plan of a file that names code is refused. What `set`
            names is your own word.

    Raises:
        UserError: No such study, or a mistake in it; the message names field and value.
    """
    return Study.load(reference, trust=trust).vary(quick=quick, overrides=set, seeds=seeds)


def trust_study(reference: str | Path) -> tuple[str, ...]:
    """Trust a study file as it is now: what it names may be imported. Imports nothing.

    Returns:
        The modules it names; none for a study of normlab's own parts, and nothing is written.

    Raises:
        UserError: No such study, a mistake in it, or the config folder cannot be written.
    """
    from normlab.study.trust import remember

    study = Study.load(reference)
    modules = tuple(sorted(study.modules()))
    if modules and study.file and study.digest:
        remember(study.file, study.digest, modules)
    return modules


def distrust_study(reference: str | Path) -> bool:
    """Take the trust in a study file back; returns whether there was any.

    Raises:
        UserError: No such file, or the record cannot be removed.
    """
    from normlab.study.files import find
    from normlab.study.trust import forget

    return forget(str(find(reference).resolve()))


def plan(study: Study) -> Plan:
    """The arms and trials of a study, each trial with its id. Trains and writes nothing.

    Raises:
        UserError: A recipe is not valid, or a model cannot be built as asked.
    """
    from normlab.study.plan import make_plan

    return make_plan(study)


def run(
    study: Study,
    *,
    runs: str | Path = "runs",
    workers: int | Literal["auto"] = 1,
    device: str = "auto",
    threads: int = 1,
    retry_failed: bool = False,
    same_machine: bool = False,
    retrain_lost: bool = False,
) -> Results:
    """Train what the study still lacks and return all its results.

    Args:
        study: From `load_study`, or made with `Study.parse`.
        runs: The folder that holds a folder for each study.
        workers: Trials trained side by side; "auto" is one per CPU core. With more than one, call
            this under ``if __name__ == "__main__":``, as worker processes import the script.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of each worker.
        retry_failed: Train failed trials again.
        same_machine: Train anew what was trained where bits are other than here (another chip,
            instruction set, number of threads, torch).
        retrain_lost: Train finished trials again whose weights or predictions are lost or damaged.

    Raises:
        UserError: A mistake in the study, missing data, or a folder that cannot be written; a full
            disk or the like, after which the same call goes on.
        KeyboardInterrupt: Interrupted; finished epochs are stored, run again to go on.
    """
    from normlab.study.runner import RunOptions, run_plan

    options = RunOptions(
        workers=workers,
        device=device,
        threads=threads,
        retry_failed=retry_failed,
        same_machine=same_machine,
        retrain_lost=retrain_lost,
    )
    summary = run_plan(plan(study), Path(runs), options)
    if summary.interrupted:
        raise KeyboardInterrupt
    return results(study.name, runs=runs)


def results(name: str, *, runs: str | Path = "runs") -> Results:
    """The stored results of a study, by its name.

    Raises:
        UserError: It was never run there.
    """
    from normlab.frames import arm_table, load_frames

    folder = Path(runs) / name
    with as_written(folder), Store.read(folder) as store:
        frames = load_frames(store)
        return Results(folder, arm_table(frames), frames.trials, frames.epochs)


def status(name: str, *, runs: str | Path = "runs") -> Status:
    """How far the last run of a study got; needs no torch and may be asked while it runs.

    Raises:
        UserError: It was never run there.
    """
    folder = Path(runs) / name
    with as_written(folder), Store.read(folder) as store:
        recorded = store.plan()
        ids = list(recorded.trials)
        rows = {row["id"]: row for row in store.rows("trials", ids)}
        for missing in [trial_id for trial_id in ids if trial_id not in rows]:
            raise not_ours(store.folder, f"its plan has a trial {missing} that it does not hold")
        done = store.epochs_done(ids)
        lost = lost_files(recorded, store.losses(ids))
    # Asked after the rows were read: a run that ended meanwhile has left none that runs.
    gone = not Store.is_being_written(Path(runs) / name)
    trials = [
        {
            "arm": arm.label,
            "seed": trial.seed,
            "id": trial_id,
            "state": _state(rows[trial_id]["state"], gone=gone),
            "epochs": done.get(trial_id, 0),
            "of": arm.epochs,
            "reason": rows[trial_id]["reason"],
        }
        for trial_id, (arm, trial) in recorded.trials.items()
    ]
    return Status(recorded.name, trials, lost)


def _state(stored: str, *, gone: bool) -> str:
    return "interrupted" if stored == "running" and gone else stored


def verify(name: str, *, runs: str | Path = "runs") -> Verified:
    """Read every file of a study's finished trials and hold it against its hash in the store.

    Raises:
        UserError: It was never run there.
    """
    with Store.read(Path(runs) / name) as store:
        recorded = store.plan()
        ids = list(recorded.trials)
        states = store.states(ids)
        files = sum(
            len(store.artifacts(i)) for i in dict.fromkeys(ids) if states.get(i) in FINISHED
        )
        lost = lost_files(recorded, store.losses(ids, hashes=True))
    return Verified(files, lost)


def lost_files(recorded: PlanRecord, losses: Iterable[Loss]) -> list[dict[str, Any]]:
    """Lost files of a recorded plan's trials as plain mappings; see `Status.lost`."""
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


def claim_plans(study_plan: Plan, *, runs: str | Path = "runs") -> pd.DataFrame:
    """What the planned seeds can say about each claim; see `normlab.frames.claim_plans`."""
    from normlab.frames import claim_plans as plans_of

    return plans_of(study_plan.record, _frames(study_plan, runs))


def expected_hours(study_plan: Plan, *, runs: str | Path = "runs") -> tuple[float | None, int]:
    """Hours of training left on one worker; see `normlab.frames.expected_hours`."""
    from normlab.frames import expected_hours as hours_of

    return hours_of(study_plan.record, _frames(study_plan, runs))


def code_said(study_plan: Plan, *, runs: str | Path = "runs") -> tuple[list[str], list[str]]:
    """Which own code is part of the trials' ids, and what of it changed since the last run."""
    from normlab.study.own import said

    stored = None
    if any(arm.code for arm in study_plan.record.arms) and has_runs(
        study_plan.study.name, runs=runs
    ):
        try:
            with Store.read(Path(runs) / study_plan.study.name) as store:
                stored = store.plan()
        except UserError:  # of an older schema, say: `run` brings it up to date
            pass
    return said(study_plan.record.arms, stored)


def _frames(study_plan: Plan, runs: str | Path) -> Frames | None:
    """What is stored of a plan's trials, if anything is."""
    from normlab.frames import load_frames

    name = study_plan.study.name
    if not has_runs(name, runs=runs):
        return None
    with Store.read(Path(runs) / name) as store:
        return load_frames(store, study_plan.record)


def claims(name: str, *, runs: str | Path = "runs") -> pd.DataFrame:
    """The verdicts on a study's claims from what its runs stored; see `report.claim_table`.

    Raises:
        UserError: It was never run there.
    """
    from normlab.frames import claim_table, load_frames

    folder = Path(runs) / name
    with as_written(folder), Store.read(folder) as store:
        return claim_table(load_frames(store))


def claims_from(
    csv: str | Path, study: str | Path | Study, *, test_images: int | None = None
) -> pd.DataFrame:
    """The verdicts on a study's claims from trials run elsewhere.

    Args:
        csv: A row per trial or per epoch, a column per factor; see
            `normlab.frames.load_from_csv`.
        study: Whose claims; its models are not built and its data not read.
        test_images: How many images an accuracy is a mean over: the floor of its spread.

    Raises:
        UserError: A mistake in the study or the file.
    """
    from normlab.frames import claim_table, frames_from_csv
    from normlab.study.known_data import known_data
    from normlab.study.resolve import outline

    made = study if isinstance(study, Study) else load_study(study)
    record, known = outline(made), known_data(made)
    arms = tuple(arm.model_copy(update=known.get(arm.label, {})) for arm in record.arms)
    record = record.model_copy(update={"arms": arms})
    return claim_table(frames_from_csv(Path(csv), record, test_images=test_images))


def looks(study: Study, *, max_seeds: int | None = None) -> list[Study]:
    """The study at each of its declared looks: what to run, one after the other, until settled.

    Args:
        study: Its `analysis.looks` are the numbers of seeds.
        max_seeds: The last look, instead of the last declared one.

    Raises:
        UserError: The study makes no claims, or fewer than 2 seeds are allowed.
    """
    from normlab.stats.sequential import declared_looks

    if not study.claims:
        raise UserError(f"{study.name} makes no claims that seeds could settle")
    if study.seeds != tuple(range(len(study.seeds))):
        raise UserError(
            f"{study.name} lists its seeds, {list(study.seeds)}: give their number, so that looks "
            "can add to them"
        )
    declared = study.analysis.looks
    seeds = declared_looks(max_seeds or declared[-1], declared)
    return [study.at_look(count, seeds) for count in seeds]


def unsettled(name: str, *, runs: str | Path = "runs") -> list[str]:
    """The claims of a study that its stored trials leave open."""
    found = claims(name, runs=runs)
    return [str(claim) for claim in found.loc[found["verdict"] == "inconclusive", "claim"]]


def has_runs(name: str, *, runs: str | Path = "runs") -> bool:
    """Whether the study has a store in that folder with something in it."""
    return Store.is_made(Path(runs) / name)


def stored_states(study_plan: Plan, *, runs: str | Path = "runs") -> dict[str, str]:
    """State of every trial of a plan by id, as far as the study's folder knows; else pending."""
    ids = list(study_plan.trials)
    name = study_plan.study.name
    if not has_runs(name, runs=runs):
        return dict.fromkeys(ids, "pending")
    with Store.read(Path(runs) / name) as store:
        return {**dict.fromkeys(ids, "pending"), **store.states(ids)}

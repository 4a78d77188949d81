"""The Python API: the command line's verbs as functions, results as data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from normlab.answers import (
    Comparison,
    Results,
    Status,
    Verified,
    compared,
    results_of,
    write_comparison,
    write_reports,
)
from normlab.deprecated import renamed_keyword
from normlab.errors import UserError
from normlab.study.spec import Study
from normlab.study.stored import compared_files, folder_of, progress_of, verdicts
from normlab.study.trusting import distrust_study as distrust_study  # noqa: PLC0414
from normlab.study.trusting import trust_study as trust_study  # noqa: PLC0414

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from normlab.norms import conformance
    from normlab.sentences import Scoreboard
    from normlab.study.costs import Costs
    from normlab.study.engines.machines import EngineName
    from normlab.study.events import Listener
    from normlab.study.lint import Finding
    from normlab.study.merging import Merged
    from normlab.study.plan import Plan
    from normlab.study.profiling import Profile
    from normlab.trackers.asked import Ends, SelectedOn
    from normlab.trackers.write.result import Exported


@renamed_keyword("set", "overrides")
def load_study(
    reference: str | Path,
    *,
    seeds: int | None = None,
    overrides: Mapping[str, object] | None = None,
    quick: bool = False,
    trust: Iterable[str] = (),
) -> Study:
    """A study by bundled name or path, changed as the options of the command line change it.

    Args:
        reference: A bundled study's name, or the path of a study file.
        seeds: Use seeds 0 to seeds - 1.
        overrides: Recipe values that hold in every arm, by dotted key: ``{"epochs": 5}``. What
            ``--set`` is on the command line.
        quick: Use the study's quick variant.
        trust: Packages of yours that the study file may import, as with ``--trust``. A file that
            names code cannot be planned unless its packages are listed here or `trust_study` was
            called. Code
            that `overrides` names is trusted.

    Raises:
        UserError: No such study, or a mistake in it; the message names field and value.
    """
    if not isinstance(reference, str | Path):
        raise UserError(f"a study is named by a str or a Path, not {type(reference).__name__}")
    if overrides is not None and not isinstance(overrides, Mapping):
        raise UserError(f"overrides is {overrides!r}: a mapping of recipe keys is needed")
    return Study.load(reference, trust=trust).vary(quick=quick, overrides=overrides, seeds=seeds)


def plan(study: Study) -> Plan:
    """The arms and trials of a study, each trial with its id. Trains and writes nothing.

    Args:
        study: From `load_study`, or made with `Study.parse`.

    Returns:
        The plan: `record` has arms, trials and claims as plain data, `trials` every trial by id.

    Raises:
        UserError: A recipe is not valid, or a model cannot be built as asked.
    """
    from normlab.study.plan import make_plan

    return make_plan(_loaded(study))


def _loaded(study: object) -> Study:
    if not isinstance(study, Study):
        kind = type(study).__name__
        raise UserError(f"a Study is needed, as load_study makes it, not {kind}: {study!r}")
    return study


def lint(study_or_plan: Study | Plan) -> list[Finding]:
    """Everything that looks like a confound or a slip in a study, as `normlab plan` warns of it.

    Args:
        study_or_plan: A study, or its plan where you have it already.

    Returns:
        Findings, each with `rule`, `says`, `why` and `reference`.

    Raises:
        UserError: The study cannot be planned.
    """
    from normlab.study.lint import lint as lint_plan
    from normlab.study.plan import Plan

    made = study_or_plan if isinstance(study_or_plan, Plan) else plan(study_or_plan)
    return lint_plan(made)


def costs(study_or_plan: Study | Plan, *, runs: str | Path = "runs", probe: bool = True) -> Costs:
    """What a study costs on this machine before it is trained, as `normlab plan` shows it.

    Floating point operations and memory come from the models, which are followed without values.
    Speeds come from stored trials of this machine, else from a probe: a few training steps on
    made-up images. Nothing is stored, and global random states stay as they are.

    Args:
        study_or_plan: A study, or its plan where you have it already.
        runs: The folder that holds a folder for each study.
        probe: Time arms that have no stored trial of this machine, which takes about 10 seconds;
            without it, their hours are unknown.

    Raises:
        UserError: The study cannot be planned.
    """
    from normlab.study.costs import costs_of
    from normlab.study.plan import Plan

    made = study_or_plan if isinstance(study_or_plan, Plan) else plan(study_or_plan)
    return costs_of(made, Path(runs), probing=probe)


def profile(
    study_or_plan: Study | Plan,
    *,
    arm: str | None = None,
    steps: int = 20,
    device: str = "auto",
    threads: int = 1,
) -> Profile:
    """Where one training step and one trial of an arm go on this machine.

    Each part of a step stands beside its floor: the seconds that this machine needs at least for
    its operations or its bytes, by rates that are measured first. Nothing is stored. Where the
    study's images are not on this machine, made-up ones of their shape take their place. Loops of
    norms and convolutions are compiled if they are not yet, which takes about a minute, once a
    machine.

    Args:
        study_or_plan: A study, or its plan where you have it already.
        arm: The label of the arm; None for the first one.
        steps: Steps to time of each of four kinds: undisturbed, by part, by layer, and watched as
            in a trial's first epoch.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads.

    Returns:
        The profile: `step` and `trial` are its tables.

    Raises:
        UserError: The study cannot be planned, or there is no such arm or device.
    """
    from normlab.study.plan import Plan
    from normlab.study.profiling import profile_of

    made = study_or_plan if isinstance(study_or_plan, Plan) else plan(study_or_plan)
    return profile_of(made, arm, steps=steps, device=device, threads=threads)


def run(
    study: Study,
    *,
    runs: str | Path = "runs",
    workers: int | Literal["auto"] = 1,
    device: str = "auto",
    threads: int = 1,
    until_settled: bool = False,
    max_seeds: int | None = None,
    retry_failed: bool = False,
    same_machine: bool = False,
    retrain_lost: bool = False,
    engine: EngineName = "auto",
    address: str | None = None,
    gpus_per_worker: float | None = None,
    memory_per_worker: float | None = None,
    shard: str | None = None,
    progress: bool | Listener = False,
) -> Results:
    """Train what the study still lacks, write its report and return all its results.

    Several calls, in processes of one machine, can share a study: each trial is trained by one of
    them, each returns when all are finished, and the last one writes the report.

    Args:
        study: From `load_study`, or made with `Study.parse`.
        runs: The folder that holds a folder for each study.
        workers: Processes that train side by side; "auto" is one per CPU core. With more than one,
            call this under ``if __name__ == "__main__":``, as worker processes import the script.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of each worker.
        until_settled: Add seeds at the study's looks until its claims are settled.
        max_seeds: With `until_settled`: the most seeds.
        retry_failed: Train failed trials again.
        same_machine: Train again what was trained on a machine or with software that gives
            different bits (another chip, instruction set, number of threads, torch).
        retrain_lost: Train finished trials again whose weights or predictions are lost or damaged.
        engine: "serial", "processes" or "ray"; "auto" is one of the first two, by `workers`. With
            "ray" the nodes of a Ray cluster train, which has to run already, and "auto" workers are
            what they have room for.
        address: Of the Ray cluster: HOST:PORT, or "auto" (also None) for the one that this machine
            is a node of. A process that is connected to a cluster stays with it.
        gpus_per_worker: GPUs of a Ray worker; 0.25 lets four workers share one. None is 1 if the
            trials train on GPUs.
        memory_per_worker: GiB of memory that Ray keeps for a worker; None keeps none.
        shard: "K/N" trains only the K-th of N parts of the seeds. Machines that share no disk train
            the others, and `merge` joins them.
        progress: True for the bars or lines of the command line; or a function that is called with
            each event of `normlab.events`. What it raises ends the run, and what was trained until
            then is stored.

    Raises:
        UserError: A mistake in the study, missing data, or a folder that cannot be written; a full
            disk or the like, after which the same call goes on.
        KeyboardInterrupt: Interrupted; finished epochs are stored, run again to go on.
    """
    from normlab.study.runner import RunOptions
    from normlab.study.session import train

    options = RunOptions(
        workers=workers,
        device=device,
        threads=threads,
        retry_failed=retry_failed,
        same_machine=same_machine,
        retrain_lost=retrain_lost,
        engine=engine,
        address=address,
        gpus_per_worker=gpus_per_worker,
        memory_per_worker=memory_per_worker,
        shard=shard,
    )
    with _listener(progress) as listener:
        summary = train(
            _loaded(study),
            Path(runs),
            options,
            until_settled=until_settled,
            max_seeds=max_seeds,
            listener=listener,
        )
    if not summary.others:
        report(study, runs=runs)
    if summary.interrupted:
        raise KeyboardInterrupt
    return results(study, runs=runs)


def _listener(progress: bool | Listener) -> AbstractContextManager[Listener]:
    if callable(progress):
        return nullcontext(progress)
    if progress:
        from normlab.progress import reporter

        return reporter()
    from normlab.study.telling import nobody

    return nullcontext(nobody)


def results(name: str | Study, *, runs: str | Path = "runs") -> Results:
    """The stored results of a study.

    Raises:
        UserError: It was never run there.
    """
    return results_of(folder_of(name, runs))


def report(
    name: str | Study,
    *,
    runs: str | Path = "runs",
    figures: str | Path | None = None,
    latex: str | Path | None = None,
    csv: str | Path | None = None,
) -> Path:
    """Write a study's report from what its last run stored; returns its path.

    Args:
        name: The study's name, or the study.
        runs: The folder that holds a folder for each study.
        figures: A folder for every figure as SVG and PDF, galleries as PNG too.
        latex: A folder for the tables of arms, verdicts and published numbers as LaTeX and
            Markdown.
        csv: A file for every epoch of every finished trial, which `claims_from` reads.

    Raises:
        UserError: It was never run there, or a folder or the file cannot be written.
    """
    return write_reports(folder_of(name, runs), figures=figures, latex=latex, csv=csv)


def status(name: str | Study, *, runs: str | Path = "runs") -> Status:
    """How far the last run of a study got; needs no torch and may be asked while it runs.

    Raises:
        UserError: It was never run there.
    """
    return Status(*progress_of(folder_of(name, runs)))


def verify(name: str | Study, *, runs: str | Path = "runs") -> Verified:
    """Read every file of a study's finished trials and compare it with its hash in the store.

    Raises:
        UserError: It was never run there.
    """
    return Verified(*compared_files(folder_of(name, runs)))


def claims(name: str | Study, *, runs: str | Path = "runs") -> pd.DataFrame:
    """The verdicts on a study's claims from what its runs stored; see `normlab.frames.claim_table`.

    Raises:
        UserError: It was never run there.
    """
    return verdicts(folder_of(name, runs))


def published(
    study: str | Path | Study,
    *,
    runs: str | Path = "runs",
    latex: str | Path | None = None,
    csv: str | Path | None = None,
) -> Comparison:
    """What a study's source printed beside ours, in the source's own measure.

    Args:
        study: A bundled study's name, the path of a study file, or the study.
        runs: The folder that holds a folder for each study. If this study was never run there, the
            released findings of a bundled study are shown.
        latex: A folder for the table as LaTeX and Markdown.
        csv: A file for the table.

    Returns:
        The comparison: `rows` is the table, `heading` and `notes` what to know of it.

    Raises:
        UserError: No such study, a mistake in it, or a folder or file that cannot be written.
    """
    made = study if isinstance(study, Study) else str(study)
    found = compared(made, Path(runs))
    write_comparison(
        found,
        latex=Path(latex) if latex is not None else None,
        csv=Path(csv) if csv is not None else None,
    )
    return found


@renamed_keyword("csv", "source")
def claims_from(
    source: str | Path,
    study: str | Path | Study,
    *,
    map: Mapping[str, str] | None = None,  # noqa: A002 (as the option is called)
    names: str | None = None,
    group: str | None = None,
    selected_on: SelectedOn | None = None,
    ends: Ends | None = None,
    test_images: int | None = None,
) -> pd.DataFrame:
    """The verdicts on a study's claims from trials run elsewhere.

    Args:
        source: A table, with a row per trial or per epoch and a column per factor (see
            `normlab.frames.frames_from_csv`); or the runs that MLflow, TensorBoard, trackio or
            Weights & Biases logged: the file or folder.
        study: Whose claims; its models are not built and its data not read.
        map: Our names (a factor, ``seed``, ``arm``, ``epoch``, a metric) to theirs (a parameter, a
            column or a metric), where they are not the same or not certain.
        names: What run names are made of: ``"{norm}-s{seed}"``; ``*`` is any text.
        group: Only runs of this experiment or project.
        selected_on: What chose epochs and hyperparameters there: "test", "validation" or
            "nothing"; with "test" the claims are exploratory. None is not known, and noted.
        ends: Where runs with curves of different lengths are compared: "common", at the last epoch
            that all have, or "own", each at its end. None refuses to compare them.
        test_images: The number of test images. It sets the smallest spread over seeds that normlab
            believes.

    Returns:
        As `claims`. ``attrs["left_out"]`` has the runs that do not count: for each `reason` how
        many `runs`, and the names of some as `examples`; ``attrs["notes"]`` has sentences.

    Raises:
        UserError: A mistake in the study or the source, what may be two things there, or no run
            of the study is in it.
    """
    from normlab.trackers.asked import Asked
    from normlab.trackers.judged import verdicts_from

    made = study if isinstance(study, Study) else load_study(study)
    asked = Asked(map=map or {}, names=names, group=group, selected_on=selected_on, ends=ends)
    return verdicts_from(Path(source), made, test_images=test_images, asked=asked)


def new_study(
    source: str | Path,
    *,
    out: str | Path | None = None,
    map: Mapping[str, str] | None = None,  # noqa: A002 (as the option is called)
    names: str | None = None,
    group: str | None = None,
) -> Path:
    """Write a study file for runs made elsewhere: their arms and seeds, and a claim to fill in.

    Factors are the parameters that vary between the runs and are no seed. Scores are not looked
    at.

    Args:
        source: A table, or the runs that another tool logged; see `claims_from`.
        out: The file, which must not exist; None is the source's name with ``.yaml``, in the
            working folder.
        map: Our names to theirs, as for `claims_from`. Where it names factors, there are no others.
        names: What run names are made of: ``"{norm}-s{seed}"``.
        group: Only runs of this experiment or project.

    Returns:
        The file.

    Raises:
        UserError: The file exists, nothing varies between the runs, or what may be two things.
    """
    from normlab.trackers.asked import Asked
    from normlab.trackers.sketch import write_study

    asked = Asked(map=map or {}, names=names, group=group)
    return write_study(Path(source), None if out is None else Path(out), asked)


def merge(others: Iterable[str | Path], *, into: str | Path) -> Merged:
    """Join the finished trials of other machines' stores into a study's folder.

    Each trial is there once, by its id. One that is there with the same numbers (result, weights,
    every epoch; not its seconds) is there already. One with other numbers is a conflict: what the
    folder had stays, and the other version is written to a file in its folder `conflicts`.

    Args:
        others: Run folders of the same study, or files that `export_trials` wrote.
        into: The study's run folder, or a new one.

    Returns:
        What was joined: `joined` tells whether every finished trial of the others is there now.

    Raises:
        UserError: One of the others is missing, damaged, of a newer normlab or of another study,
            or a run writes to the folder; nothing was changed.
    """
    from normlab.study.merging import merge as merge_stores

    if isinstance(others, str | Path):
        others = [others]
    return merge_stores([Path(other) for other in others], Path(into))


def export_trials(
    file: str | Path,
    name: str | Study,
    *,
    runs: str | Path = "runs",
    arms: Iterable[str] = (),
    seeds: Iterable[int] = (),
    weights: bool = False,
    predictions: bool = False,
) -> Path:
    """Write a study's finished trials to one file with a checksum, to send or to keep.

    The same trials give the same file. `normlab.store.portable` describes its form.

    Args:
        file: The file; what was there is replaced.
        name: The study's name, or the study.
        runs: The folder that holds a folder for each study.
        arms: Only trials of arms with these labels.
        seeds: Only trials of these seeds.
        weights: With weights and predictions, which take far more room than the numbers.
        predictions: With predictions, which some figures need.

    Raises:
        UserError: It was never run there, it has no such arm or seed, a trial is damaged, or the
            file cannot be written.
    """
    from normlab.study.merging import export_trials as export

    export(
        folder_of(name, runs),
        Path(file),
        arms=arms,
        seeds=seeds,
        weights=weights,
        predictions=predictions,
    )
    return Path(file)


def export(
    name: str | Study,
    *,
    to: str,
    dest: str | Path,
    runs: str | Path = "runs",
) -> Exported:
    """Write a study's finished trials, with its verdicts, for another tool.

    A run per arm with the mean, its interval and the verdicts, and a run per trial with its recipe
    and every epoch. A second call adds only what is new, and completes what an interrupted one
    left. Like a report it is no look at the results. `pip install 'normlab[trackers]'` has the
    tools' packages.

    Args:
        name: The study's name, or the study.
        to: "mlflow", "tensorboard", "wandb", "trackio" or "safetensors".
        dest: For MLflow an SQLite file or a tracking URI; for the others a folder, a new one or
            that of an earlier export. W&B gets offline runs, which `wandb sync` sends.
            "safetensors" are the weights, with a model card.
        runs: The folder that holds a folder for each study.

    Returns:
        What was added, what was there already and what was left out.

    Raises:
        UserError: It was never run there, a package is missing, or `dest` cannot be written or
            holds something else.
    """
    from normlab.trackers.write import export as write

    return write(folder_of(name, runs), to, str(dest))


def import_trials(
    file: str | Path, *, into: str | Path | None = None, runs: str | Path = "runs"
) -> Merged:
    """Join the trials of a file with those of a study's folder, as `merge` does.

    Args:
        file: What `export_trials` wrote.
        into: The study's run folder, or a new one; None for the study's own folder in `runs`.
        runs: The folder that holds a folder for each study.

    Returns:
        What was joined; see `merge`.

    Raises:
        UserError: The file is damaged, cut off or of a newer normlab, the folder is another
            study's, or a run writes to it; nothing was changed.
    """
    from normlab.study.merging import import_trials as import_file

    return import_file(Path(file), Path(into) if into is not None else None, Path(runs))


def scoreboard(source: str | None = None, *, verdict: str | None = None) -> Scoreboard:
    """Every sentence of the sources of the bundled studies, and what became of it.

    Trains nothing: the verdicts are those of the trials that come with normlab.

    Args:
        source: Only this one: A, B, C, D, or all for what normlab does for each of them.
        verdict: Only sentences that claims ask, with this verdict: supported, refuted,
            inconclusive, or none where nothing but a rehearsal was released.

    Returns:
        The rows as `rows`, as the data frame `table` and as the plain data `record()`.

    Raises:
        UserError: There is no such source or verdict.
    """
    from normlab.sentences.scoreboard import scoreboard as whole

    return whole().only(source, verdict)


def build_data(
    name: str, archive: str | Path | None = None, *, to: str | Path | None = None
) -> Path:
    """Make a data set from the public archive that it is a part of; returns its file.

    Args:
        name: The data set: ``caltech25``.
        archive: The archive, the tar in it or the folder of class folders, where you have it.
            Left out, it is downloaded.
        to: The folder to write the set to. Left out, it is where normlab looks for it: what
            ``NORMLAB_DATA`` names, else the cache.

    Raises:
        UserError: Another set, no such archive, or one that does not have the set's images.
    """
    from normlab.data import build

    return build(
        name,
        Path(archive) if archive is not None else None,
        to=Path(to) if to is not None else None,
    )


def draw_model(
    model: str, figure: str | Path, *, overrides: Mapping[str, object] | None = None
) -> Path:
    """Draw a model's blocks with their slots, and how many of which kind follow; returns the path.

    Nothing is typed by hand: the drawing is read off the model that is trained.

    Args:
        model: The kind of a model of normlab's.
        figure: The file, whose ending says what it becomes: .svg, .pdf or .png.
        overrides: Recipe values by dotted key, what ``--set`` is on the command line:
            ``{"model.norm_slots": 2}``. Without any the norm is batch norm, and the data are those
            that the model is made for.

    Raises:
        UserError: There is no such model, it is the user's own, a mistake in a value, another
            ending, or the file cannot be written.
    """
    from normlab.figures.blocks import block_drawing
    from normlab.models.scheme import scheme
    from normlab.reports.export import write_figure
    from normlab.study.shown_model import shown_model

    made = shown_model(model, overrides or {})
    drawn = block_drawing(scheme(made.recipe, made.facts.shape, made.facts.num_classes), made.words)
    return write_figure(drawn, Path(figure))


def check_norm(
    kind_or_class: str | Callable[..., nn.Module],
    *,
    against: str | None = None,
    options: Mapping[str, object] | None = None,
) -> list[conformance.Finding]:
    """Check a norm layer against its definition in float64.

    Args:
        kind_or_class: A kind's name, ``package.module:Class``, or a class.
        against: The kind whose definition a class is checked against.
        options: Create the layer with these instead of the definition's settings.

    Returns:
        Findings, each with `setting`, `check` and `wrong`, which is None where the check passed.

    Raises:
        UserError: There is no such norm or kind.
    """
    from normlab.norms import by_name
    from normlab.norms.conformance import KINDS, check

    norm = kind_or_class
    if isinstance(norm, str) and norm not in KINDS:
        norm = by_name(norm)
    return list(check(norm, against=against, options=None if options is None else dict(options)))

"""What the verbs of the API return, and how it shows itself in a console and in a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.records import FINISHED
from normlab.store.plans import as_written
from normlab.study.beside import Origin, beside
from normlab.study.stored import LostFile, TrialProgress, frames_of
from normlab.text import shown
from normlab.wording import counted, interval, percent, state_counts

if TYPE_CHECKING:
    import pandas as pd

    from normlab.frames import Frames
    from normlab.reports.published import BesideText
    from normlab.study.spec import Study


@dataclass(frozen=True, repr=False, eq=False)
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
    _frames: Frames = field(kw_only=True)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The verdicts on the study's claims; see `normlab.frames.claim_table`."""
        from normlab.frames import claim_table

        with as_written(self.folder):
            return claim_table(self._frames)

    @cached_property
    def notices(self) -> list[str]:
        """Warnings: arms that trained identically, rules that never acted, different machines."""
        from normlab.reports import notices

        with as_written(self.folder):
            return notices(self._frames)

    def report(
        self,
        *,
        figures: str | Path | None = None,
        latex: str | Path | None = None,
        csv: str | Path | None = None,
    ) -> Path:
        """Write the report again; see `normlab.report`."""
        return write_reports(self.folder, figures=figures, latex=latex, csv=csv)

    def __repr__(self) -> str:
        arms, trials = counted(len(self.arms), "arm"), counted(len(self.trials), "trial")
        states = state_counts(Counter(self.trials["state"].astype(str)))
        return f"<Results of {self.folder}: {arms}, {trials}: {states}>"

    def __str__(self) -> str:
        rows = [
            f"  {arm}: {mean} ({limits}), {counted(seeds, 'seed')}"
            for arm, mean, limits, seeds in _arm_rows(self.arms)
        ]
        verdicts = [f"  {name}: {verdict}" for name, verdict, _ in _claim_rows(self.claims)]
        lines = [f"{self.folder}, test accuracy in % with its 95 % interval:", *rows, *verdicts]
        return "\n".join(shown(line) for line in lines)

    def _repr_html_(self) -> str:
        columns = ["arm", "test accuracy, %", "95 % interval", "seeds"]
        made = _html_table(str(self.folder), columns, _arm_rows(self.arms))
        if len(self.claims):
            columns = ["claim", "verdict", "measured"]
            made += _html_table("Verdicts", columns, _claim_rows(self.claims))
        return made


@dataclass(frozen=True, repr=False)
class Status:
    """How far a study is.

    Attributes:
        name: The study's name.
        trials: One mapping per planned trial: `arm`, `seed`, `id`, `state`, `epochs` done,
            `of` epochs, `reason` of a failure. A trial is `interrupted` where the process that
            ran it is gone.
        lost: One mapping per file of a finished trial that is gone or has another size: `arm`,
            `seed`, `id`, `kind`, `path`, `reason`.
        at_work: Runs that share the study's folder now.
    """

    name: str
    trials: list[TrialProgress]
    lost: list[LostFile] = field(default_factory=list)
    at_work: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state, only states that occur."""
        return dict(Counter(trial["state"] for trial in self.trials))

    @property
    def finished(self) -> int:
        """Trials that will never run again."""
        return sum(trial["state"] in FINISHED for trial in self.trials)

    def by_arm(self) -> list[tuple[str, int, int, dict[str, int]]]:
        """For each arm its label, epochs done, epochs planned, and trials by state."""
        arms: dict[str, list[TrialProgress]] = {}
        for trial in self.trials:
            arms.setdefault(trial["arm"], []).append(trial)
        return [
            (
                arm,
                sum(trial["epochs"] for trial in trials),
                sum(trial["of"] or 0 for trial in trials),
                dict(Counter(trial["state"] for trial in trials)),
            )
            for arm, trials in arms.items()
        ]

    def __repr__(self) -> str:
        return f"<Status of {self}>"

    def __str__(self) -> str:
        lost = f"; {counted(len(self.lost), 'file')} of them lost" if self.lost else ""
        trials = counted(len(self.trials), "trial")
        return (
            f"{self.name}: {self.finished} of {trials} finished ({state_counts(self.counts)}){lost}"
        )

    def _repr_html_(self) -> str:
        rows = [
            (arm, f"{done}/{of}", state_counts(states)) for arm, done, of, states in self.by_arm()
        ]
        return _html_table(str(self), ["arm", "epochs", "trials"], rows)


@dataclass(frozen=True, repr=False)
class Verified:
    """The files of a study's finished trials, compared with their hashes.

    Attributes:
        files: How many there should be.
        lost: One mapping per file that is gone or damaged; see `Status`.
    """

    files: int
    lost: list[LostFile]

    def __repr__(self) -> str:
        intact = self.files - len(self.lost)
        return f"<Verified: {intact} of {counted(self.files, 'file')} as stored>"


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """What a study's source printed beside what trials gave.

    Attributes:
        name: The study's name.
        rows: One row per published number; see `normlab.frames.published_table`.
        notes: What a reader of the numbers must know: a sentence each, without its full stop.
        origin: Where the trials are from: `runs`, the study's run folder; `released`, the findings
            that come with normlab; `none`, if there are neither.
        rehearsal: Whether they are those of the quick variant, whose numbers answer nothing.
    """

    name: str
    rows: pd.DataFrame
    notes: list[str]
    origin: Origin
    rehearsal: bool

    @property
    def heading(self) -> str:
        """Which trials stand beside the published numbers, in words."""
        if self.origin == "none":
            return f"published numbers alone: `normlab run {self.name}` makes ours"
        own = self.origin == "runs"
        words = "the study's runs" if own else "the released findings, which come with normlab"
        if not self.rehearsal:
            return f"published numbers beside {words}"
        from normlab.reports.published import REHEARSAL

        return f"REHEARSAL. Published numbers beside {words}. They are of {REHEARSAL}"

    @cached_property
    def text(self) -> BesideText:
        """The rows as text, measure by measure; `text.typeset()` has `latex()` and `markdown()`."""
        from normlab.reports.published import beside_text

        return beside_text(self.rows, rehearsal=self.rehearsal)

    def __repr__(self) -> str:
        return f"<Comparison of {self.name}: {counted(len(self.rows), 'published number')}>"

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.heading}"]
        for measure in self.text.measures:
            lines.append(measure.title)
            lines += [
                "  " + ", ".join(f"{c}: {v}" for c, v in zip(self.text.columns, row, strict=True))
                for row in measure.rows
            ]
        return "\n".join(shown(line) for line in [*lines, *self.notes])

    def _repr_html_(self) -> str:
        table = self.text.typeset()
        columns = [name for name, _ in table.columns]
        return _html_table(f"{self.name}: {self.heading}", columns, table.rows)


def compared(study: str | Study, runs: Path) -> Comparison:
    """Published numbers beside ours; see `normlab.published`.

    Raises:
        UserError: No such study, a mistake in it, or a run folder of another study.
    """
    from normlab.frames.published import published_notes, published_table

    plan, frames, origin = beside(study, runs)
    table = published_table(plan, frames)
    return Comparison(
        name=plan.name,
        rows=table,
        notes=published_notes(plan, table),
        origin=origin,
        rehearsal=frames is not None and frames.plan.rehearsal,
    )


def write_comparison(found: Comparison, latex: Path | None, csv: Path | None) -> list[Path]:
    """Write a comparison's table as files; see `normlab.published`."""
    from normlab.frames.csv_text import csv_text
    from normlab.reports.export import write_each

    files: dict[Path, bytes] = {}
    if latex is not None:
        made = found.text.typeset()
        files[latex / "published.tex"] = made.latex().encode()
        files[latex / "published.md"] = made.markdown().encode()
    if csv is not None:
        files[csv] = csv_text(found.rows).encode()
    return write_each(files)


def results_of(folder: Path) -> Results:
    """What a study's folder holds; see `normlab.results`.

    Raises:
        UserError: It was never run there, or its store has something that normlab does not write.
    """
    from normlab.frames import arm_table

    with as_written(folder):
        frames = frames_of(folder)
        return Results(folder, arm_table(frames), frames.trials, frames.epochs, _frames=frames)


def write_reports(
    folder: Path,
    *,
    figures: str | Path | None = None,
    latex: str | Path | None = None,
    csv: str | Path | None = None,
) -> Path:
    """Write a study's report, and files to take along; see `normlab.report`."""
    from normlab.reports import write_exports, write_report

    path = write_report(folder)
    write_exports(
        folder,
        figures=Path(figures) if figures is not None else None,
        latex=Path(latex) if latex is not None else None,
        csv=Path(csv) if csv is not None else None,
    )
    return path


def _arm_rows(arms: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    """Label, mean, interval and seeds of every arm, accuracies in percent."""
    return [
        (
            str(arm["arm"]),
            percent(arm["test_mean"]),
            interval((arm["test_low"], arm["test_high"])),
            int(arm["finished"]),
        )
        for arm in arms.to_dict("records")
    ]


def _claim_rows(claims: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Name, verdict and what was measured of every claim."""
    return [
        (str(row["claim"]), str(row["verdict"]), _text(row["measured"]))
        for row in claims.to_dict("records")
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""  # a claim that this variant lacks has none


def _html_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table without style or script; whatever a cell has is text."""

    def cells(tag: str, values: Sequence[object]) -> str:
        row = "".join(f"<{tag}>{escape(shown(str(value)))}</{tag}>" for value in values)
        return f"<tr>{row}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return (
        f"<table><caption>{escape(shown(caption))}</caption>"
        f"<thead>{cells('th', columns)}</thead><tbody>{body}</tbody></table>"
    )

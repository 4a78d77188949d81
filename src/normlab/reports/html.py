"""The report: one HTML file that opens offline, and its tables as CSV beside it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import vl_convert
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    UndefinedError,
)
from markupsafe import Markup

from normlab.errors import for_user, os_words
from normlab.figures import FIGURES
from normlab.figures.drawing import VEGA_LITE, Shown, figures_of, specification
from normlab.files import write_files
from normlab.frames.answer import Answer, answer, words_of_arms
from normlab.frames.chosen import MANY, chosen_arms
from normlab.frames.claim_words import margin_text, published_text
from normlab.frames.collapses import collapse_table, never_learned, without_collapsed
from normlab.frames.csv_text import csv_text
from normlab.frames.effects import effect_table, robust_table
from normlab.frames.in_progress import in_progress
from normlab.frames.load import Frames, load_frames
from normlab.frames.published import published_notes, published_table
from normlab.frames.scores import chance, measured
from normlab.frames.shares import arms_with_shares
from normlab.frames.tables import arm_table, check_table, curve_table
from normlab.frames.times import report_times
from normlab.frames.verdicts import claim_table
from normlab.metrics import METRICS, at_text
from normlab.recipe import value_text
from normlab.records.plan import ArmRecord, ClaimRecord
from normlab.reports.notices import notices
from normlab.reports.provenance import where_it_ran
from normlab.reports.published import REHEARSAL, beside_text
from normlab.stats.collapse import collapse_bar
from normlab.store import Store, refuse_links
from normlab.store.plans import as_written
from normlab.wording import (
    SHARE,
    counted,
    interval,
    is_missing,
    number,
    percent,
    rough_hours,
    seeds_text,
    share_mark,
)

MOST_EPOCHS = 200_000
"""Epochs of a study up to which a report has tables of each epoch: they are most of its time."""
MOST_TRIALS = 5000
"""Trials that a page has a row for each; its reader's browser would show more of them slowly."""
_BY_EPOCH = ("times", "epochs")
_BEGINNING = b"arm,seed,id,"
_PAGE = 50  # rows


def write_report(folder: Path) -> Path:
    """Write `report.html` and `tables/*.csv` into a study's folder, from its store alone.

    Returns:
        The path of the report.

    Raises:
        UserError: The folder holds no runs, is a link, or cannot be written.
    """
    with read_as_written(folder):
        return _write_report(folder)


@contextmanager
def read_as_written(folder: Path) -> Iterator[None]:
    """Within it, what a run does not write is the store's fault, also where a template finds it.

    Raises:
        UserError: The folder is a link, or what is read of the store is not what normlab writes.
    """
    refuse_links(folder)
    with as_written(folder):
        try:
            yield
        except UndefinedError as error:
            raise LookupError(error) from error


def _write_report(folder: Path) -> Path:
    frames, lost, bare, whole = stored(folder)
    arms = arm_table(frames)
    curves = {metric: curve_table(frames, metric) for metric in ("accuracy", "loss")}
    effects, robust = effect_table(frames), robust_table(frames, folder)
    figures = figures_of(frames, folder)
    page = render(
        context(frames, arms, effects, robust, figures, lost=lost, bare=bare, whole=whole)
    )
    trials = frames.trials.drop(columns=["provenance", "checks", "details"], errors="ignore")
    tables = {
        "arms": arms,
        "trials": trials,
        "effects": effects,
        "robust": robust,
        "claims": claim_table(frames),
        "published": published_table(frames.plan, frames),
        "collapses": collapse_table(frames),
        "arms_without_collapsed": arm_table(without_collapsed(frames)),
        "checks": check_table(frames),
        **(_by_epoch(frames) if whole else {}),
        **{f"curves_{metric}": table for metric, table in curves.items()},
    }
    path = folder / "report.html"
    written = {
        folder / "tables" / f"{name}.csv": csv_text(table).encode()
        for name, table in tables.items()
    }
    try:
        write_files({**written, path: page.encode()})
        if not whole:
            _remove_older(folder / "tables")
    except OSError as error:
        words = f"the report cannot be written to {folder}: {os_words(error)}"
        raise for_user(error, words) from None
    return path


class Stored(NamedTuple):
    """What a report is made of; see `context`."""

    frames: Frames
    lost: frozenset[str]
    bare: frozenset[str]
    whole: bool


def stored(folder: Path, *, details: bool = True) -> Stored:
    """Read a study's store for its report.

    Args:
        folder: The study's.
        details: Read the diagnostics of epochs where the store is not too large, for its tables;
            otherwise only where a figure shows some.

    Raises:
        UserError: The folder holds no runs, or something that normlab does not write.
    """
    with Store.read(folder) as store:
        plan = store.plan()
        whole = sum(store.epochs_done(list(plan.trials)).values()) <= MOST_EPOCHS
        shows = any(FIGURES[figure.kind].uses_details for figure in plan.figures)
        frames = load_frames(store, plan, details=(details and whole) or shows)
        ids = frames.trials["id"].tolist()
        losses = store.losses(ids)
        kept = {row["trial_id"] for row in store.rows("artifacts", ids) if row["kind"] == "weights"}
    lost = frozenset(loss.trial_id for loss in losses if loss.artifact.kind == "weights")
    return Stored(frames, lost, frozenset(set(ids) - kept), whole)


def _remove_older(tables: Path) -> None:
    """Remove what the report of a smaller run wrote: it would be taken for this one's."""
    for path in (tables / f"{name}.csv" for name in _BY_EPOCH):
        if not path.is_file():
            continue
        with path.open("rb") as stream:  # an export that a user put there begins otherwise
            ours = stream.read(len(_BEGINNING)) == _BEGINNING
        if ours:
            path.unlink()


def _by_epoch(frames: Frames) -> dict[str, pd.DataFrame]:
    """The tables with several rows for each trial."""
    epochs = frames.epochs.assign(details=frames.epochs["details"].map(json.dumps))
    return {"times": report_times(frames), "epochs": epochs}


def render(shown: Mapping[str, object]) -> str:
    """The page as text: figures as Vega-Lite specifications with the script that draws them.

    Args:
        shown: From `context`.
    """
    return (
        environment()
        .get_template("report.html")
        .render(
            shown,
            script=Markup(bundle()),  # noqa: S704 (the library's own code)
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def environment(*further: BaseLoader) -> Environment:
    """What the report's templates are rendered in: everything escaped, a missing name an error.

    Args:
        further: Loaders of other templates, which may include the report's parts.
    """
    made = Environment(
        loader=ChoiceLoader([*further, PackageLoader("normlab.reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals |= {"REHEARSAL": REHEARSAL, "SHARE": SHARE, "MANY": MANY, "PAGE": _PAGE}
    made.filters |= {
        "percent": percent,
        "interval": interval,
        "number": number,
        "seeds": seeds_text,
        "value": value_text,
        "model": _model,
        "share_mark": share_mark,
        "counted": counted,
        "rough_hours": rough_hours,
    }
    return made


def context(
    frames: Frames,
    arms: pd.DataFrame,
    effects: pd.DataFrame,
    robust: pd.DataFrame,
    figures: Iterable[Shown] = (),
    *,
    lost: Collection[str] = (),
    bare: Collection[str] = (),
    whole: bool = True,
) -> dict[str, object]:
    """What `parts/body.html` shows of a study.

    Args:
        frames: The study; one that is `watched` is shown by a server, which has no files beside the
            page to link to.
        arms: From `arm_table`.
        effects: From `effect_table`.
        robust: From `robust_table`.
        figures: From `figures_of`.
        lost: Ids of the trials whose weights are gone or damaged: the page has no link to them.
        bare: Ids of the trials that came here without weights: no link either.
        whole: Whether the tables of epochs are written beside the page.
    """
    models = {_model(arm) for arm in frames.plan.arms if arm.layers}
    found = answer(frames)
    drawn = [figure_shown(figure) for figure in figures]
    collapses = collapse_table(frames)
    collapsed = collapses.query("collapsed > 0")
    chosen = chosen_arms(frames)
    opened = frozenset(chosen.arms)
    shown = shown_trials(frames, opened)
    robust = robust[robust["arm"].isin(opened)]
    checks = check_table(frames)
    checks = checks[checks["arm"].isin(opened)]
    return {
        "plan": frames.plan,
        "model": models.pop() if len(models) == 1 else None,
        "answer": found,
        "so_far": in_progress(frames),
        "lead": _lead(drawn, found),
        "rehearsal": " · rehearsal" if frames.plan.rehearsal else "",
        "judged_at": _judged_title(frames),
        "set_aside": never_learned(collapses) if frames.plan.rehearsal else [],
        "arms": _arms(frames, arms),
        "opened": [(at, arm) for at, arm in enumerate(frames.plan.arms, 1) if arm.label in opened],
        "linked_arms": opened,
        "how": chosen.how,
        "trials": {arm: group.to_dict("records") for arm, group in shown.groupby("arm")},
        "whole": whole,
        "linked": frozenset(shown["id"]) if len(shown) < len(frames.trials) else None,
        "checks": {arm: group.to_dict("records") for arm, group in checks.groupby("arm")},
        "claims": _claims(frames),
        "published": _published(frames),
        "effects": effects.to_dict("records"),
        "robust": robust.dropna(how="all", subset=robust.columns[1:]).to_dict("records"),
        "collapsed": collapsed.to_dict("records"),
        "collapse_bar": collapse_bar(chance(frames)),
        "invalid": frames.trials[frames.trials["state"] == "invalid"].to_dict("records"),
        "states": frames.trials["state"].value_counts().to_dict(),
        "total": len(frames.trials),
        "lost": lost,
        "bare": bare,
        "shares": arms_with_shares(frames),
        "notices": notices(frames),
        "provenance": where_it_ran(frames),
        "figures": drawn,
        "live": frames.watched,
    }


def shown_trials(frames: Frames, arms: Collection[str]) -> pd.DataFrame:
    """The trials of these arms that the page has a row for: all, or some of each arm.

    Of an arm with too many those that did not simply complete come before the others.
    """
    trials = frames.trials
    if len(arms) < len(frames.arms):
        trials = trials[trials["arm"].isin(arms)]
    if len(trials) <= MOST_TRIALS:
        return trials
    most = max(MOST_TRIALS // max(len(arms), 1), 10)
    odd_first = (trials["state"] == "complete").sort_values(kind="stable").index
    rank = trials.loc[odd_first].groupby("arm", sort=False).cumcount()
    return trials[rank.reindex(trials.index) < most]


def _claims(frames: Frames) -> list[dict[str, object]]:
    """The verdicts as the page shows them: margins and published numbers in words."""
    shown = []
    for row, record in zip(claim_table(frames).to_dict("records"), frames.plan.claims, strict=True):
        cells = {str(k): None if is_missing(v) or v == "" else v for k, v in row.items()}
        shown.append(
            {
                **cells,
                "margin": margin_text(record) if isinstance(record, ClaimRecord) else None,
                "published": published_text(frames.plan, record),
                "source": getattr(record, "source", None),
                "confound": getattr(record, "confound", None),
            }
        )
    return shown


def _published(frames: Frames) -> dict[str, object] | None:
    """Published numbers beside ours as the page shows them, or why there are none."""
    if not (frames.plan.published or frames.plan.published_notes):
        return None
    table = published_table(frames.plan, frames)
    text = beside_text(table, rehearsal=frames.plan.rehearsal)
    notes = published_notes(frames.plan, table)
    return {"columns": text.columns, "measures": text.measures, "notes": notes}


def _model(arm: ArmRecord) -> str:
    """Depth and outputs of an arm's model in words."""
    return f"{arm.layers} layers with weights from image to class, {arm.classes} classes"


def figure_shown(figure: Shown) -> dict[str, object]:
    """What the page needs of a figure; one that cannot be drawn has no specification."""
    shown: dict[str, object] = {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "source": figure.source,
    }
    if figure.drawn is None:
        return {**shown, "spec": None}
    spec = json.dumps(specification(figure.drawn), allow_nan=False, separators=(",", ":"))
    # Inside a script element only "<" could end it.
    return {**shown, "spec": Markup(spec.replace("<", "\\u003c"))}  # noqa: S704


def static_files() -> dict[str, str]:
    """What a page that is served links to, by its name, but for the script that draws figures.

    The report writes the same into itself.
    """
    folder = files("normlab.reports") / "templates"

    def text(*names: str) -> str:
        return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)

    return {
        "report.css": text("report.css", "figures.css", "paged.css"),
        "report.js": text("paged.js", "report.js"),
    }


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version the charts are written for."""
    script: str = vl_convert.javascript_bundle(
        None,  # type: ignore[arg-type]  # its stub forgets the documented default
        vl_version=VEGA_LITE,
    )
    return script.replace("</script", "<\\/script")


def _lead(figures: list[dict[str, object]], found: Answer) -> dict[str, object] | None:
    """The figure beside the answer: the claims' estimates, or the first that is drawn."""
    if not found.sentences:
        return None
    drawn = [figure for figure in figures if figure["spec"] is not None]
    first = [figure for figure in drawn if str(figure["name"]).startswith("effects")]
    return next(iter([*first, *drawn]), None)


def _judged_title(frames: Frames) -> str:
    """What the study judges where that is not the test accuracy of the last epoch, in words."""
    metric, at = frames.plan.analysis.metric, frames.plan.analysis.at
    if (metric, at) == ("test_accuracy", "last"):
        return ""
    words = METRICS[metric].words
    when = "" if at == "last" or not METRICS[metric].per_epoch else f", {at_text(at)}"
    return f"{words[0].upper()}{words[1:]}{when}"


def _arms(frames: Frames, arms: pd.DataFrame) -> list[dict[str, object]]:
    """The arms with their place on the page, and at the study's own metric and epoch."""
    analysis = frames.plan.analysis
    digits = 2 if METRICS[analysis.metric].points else 4
    own = measured(frames, analysis.metric, analysis.at).intervals()
    words = words_of_arms(frames)
    shown = []
    for at, (arm, row) in enumerate(zip(frames.arms, arms.to_dict("records"), strict=True)):
        mean, low, high = (number(float(values[at]), digits) for values in own)
        cells: dict[str, object] = {str(key): value for key, value in row.items()}
        cells |= {"place": at + 1, "words": words[arm], "judged": mean}
        cells["judged_interval"] = low if is_missing(float(own.low[at])) else f"{low} to {high}"
        shown.append(cells)
    return shown

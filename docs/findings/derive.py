"""Every number of the findings pages, from the CSV files in `src/normlab/studies/findings`.

    python docs/findings/derive.py                  # write the pages' tables and figures anew
    python docs/findings/derive.py --check          # only compare; exit code 1 if a page differs
    python docs/findings/derive.py --collect runs   # first take in the trials of the studies there

A page marks what is made here: between `<!-- arms mnist-norms -->` and `<!-- end -->` stands the
table of the arms in `mnist-norms.csv`, and likewise `run`, `claims`, `published`, `last` (the last
epochs) and `figure` (with the figure's name); `setup` says whether what was run is the source's own
set-up; `<!-- scoreboard A -->` is the table of source A's sentences; `<!-- candidates A
resnet50-final -->` what its studies try and what its final models, those of that study, have;
`<!-- rehearsed counts -->` and `<!-- rehearsed studies -->` say which arms of the quick variants
train. A file `<study>-quick.csv` holds trials of the study's quick variant (`--collect RUNS
--quick`). Collecting replaces what a file has of the same arm and seed and keeps the rest, so that a
study grows over several machines and days. Figures are drawn from the files too; galleries need the
trials' predictions, and are drawn while collecting.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from normlab import api
from normlab.errors import UserError, unknown
from normlab.figures.drawing import Shown, figures_of
from normlab.files import write_whole
from normlab.frames import Frames, load_frames
from normlab.frames.collapses import collapse_table
from normlab.frames.epoch_rows import epoch_rows
from normlab.frames.published import published_notes, published_table
from normlab.frames.scores import score_array
from normlab.frames.tables import COUNTED
from normlab.reports.export import figure_files
from normlab.reports.published import beside_text
from normlab.reports.typeset import Table, arms_typeset, escape_markdown, verdicts_typeset
from normlab.sentences import Scoreboard
from normlab.sentences.candidates import candidates_table
from normlab.sentences.page import counts_table, source_table, studies_table
from normlab.store import DATABASE, Store
from normlab.study.files import bundled
from normlab.study.released import FOLDER, QUICK, released, released_frames
from normlab.wording import counted

HERE = Path(__file__).parent
FILES = "../../src/normlab/studies/findings"
"""The CSV files, from a page."""
TARGET = 0.994
"""What source B asks for."""
ONE_CLASS = 1e-4
"""How near macro F1 is to that of a net that predicts one class, where the classes are equal."""


def page_derived(page: str) -> str:
    """A page's text with all its parts made anew.

    Raises:
        UserError: A mark without its end, an end without a mark, or a study without a file.
    """

    def part(found: re.Match[str]) -> str:
        start, kind, name, option, end = found.groups()
        return f"{start}\n{PARTS[kind](name, option)}\n{end}"

    whole = len(PART.findall(page))
    if len(START.findall(page)) > whole:
        raise UserError(f"a mark has no '{END}'")
    if page.count(END) > whole:
        raise UserError(f"a '{END}' has no mark; those known are {', '.join(PARTS)}")
    return PART.sub(part, page)


def run_sentence(name: str, _: str | None) -> str:
    """How much was trained, on what, how long."""
    trials = read(name).trials
    trials = trials[trials["state"] != "pending"]
    states = trials["state"].value_counts()
    odd = "".join(f", {n} of them {state}" for state, n in states.items() if state != "complete")
    variant = " of its quick variant" if name.endswith(QUICK) else ""
    arms, seeds = trials["arm"].nunique(), trials.groupby("arm")["seed"].nunique()
    hours = trials["seconds"].sum() / 3600
    where = ", ".join(sorted(set(trials["chip"].dropna())))
    torch = ", ".join(sorted(set(trials["torch"].dropna())))
    return (
        f"[`{name}.csv`]({FILES}/{name}.csv): {len(trials)} trials{variant}{odd}; "
        f"{counted(arms, 'arm')}, {_span(seeds)} {'seed' if seeds.max() == 1 else 'seeds'}, "
        f"{_span(trials['epoch'])} {'epoch' if trials['epoch'].max() == 1 else 'epochs'} on "
        f"{_span(trials['train_images'])} images. {hours:.2f} hours of training steps on {where} "
        f"({_span(trials['threads'])} thread a trial, torch {torch}).\n"
    )


def arms_part(name: str, _: str | None) -> str:
    """The table of arms."""
    return arms_typeset(read(name)).markdown()


def claims_part(name: str, _: str | None) -> str:
    """The table of verdicts."""
    return verdicts_typeset(read(name)).markdown()


def published_part(name: str, _: str | None) -> str:
    """What the source printed beside the released trials, and what to know of it."""
    frames = read(name)
    table = published_table(frames.plan, frames)
    text = beside_text(table, rehearsal=frames.plan.rehearsal).typeset().markdown()
    notes = "".join(f"- {escape_markdown(n)}.\n" for n in published_notes(frames.plan, table))
    return f"{text}\n{notes}"


def last_part(name: str, _: str | None) -> str:
    """The worst of the last five epochs beside the best of all, and who reached a target at all."""
    frames = read(name)
    worst = score_array(frames, "test_accuracy", "worst_of_last_5")
    counts = frames.trials["state"].isin(COUNTED)
    best = frames.epochs.groupby("id")["test_accuracy"].max()
    rows = []
    for arm, scores in zip(frames.arms, worst, strict=True):
        ids = frames.trials.loc[counts & (frames.trials["arm"] == arm), "id"]
        both = (scores[~np.isnan(scores)], best.reindex(ids).to_numpy())
        means = [f"{100 * values.mean():.2f}" if len(values) else "–" for values in both]
        reached = [
            f"{(values >= TARGET).sum()} of {len(values)}" if len(values) else "–"
            for values in both
        ]
        rows.append([arm, *means, *reached])
    goal = f"{100 * TARGET:g} %"
    names = ("Worst of the last 5", "Best of all", f"All of the last 5 at {goal}", f"Any at {goal}")
    return Table([("Arm", "l"), *((name, "r") for name in names)], rows).markdown()


def figure_part(name: str, option: str | None) -> str:
    """A figure of the study, drawn from the file, or a gallery as `collect` left it."""
    figure = figure_of(read(name), option)
    suffix = "png" if figure.is_gallery else "svg"
    return f"![{figure.title}](figures/{name}-{option}.{suffix})\n"


@cache
def board() -> Scoreboard:
    """Every sentence of the sources with its verdict."""
    return api.scoreboard()


def scoreboard_part(name: str, _: str | None) -> str:
    """Of the scoreboard: its counts, its studies, or the sentences of a source."""
    made = {"counts": counts_table, "studies": studies_table}
    return made[name](board()) if name in made else source_table(board(), name)


def candidates_part(name: str, option: str | None) -> str:
    """What a source tried and what its final models have."""
    return candidates_table(board(), name, str(option))


def setup_part(name: str, _: str | None) -> str:
    """Whether the released trials are the source's own set-up, and what of it they are not."""
    (found,) = (study for study in board().studies if study.study == name)
    if found.scale == "full":
        text = "This is the source's own set-up"
        return (
            f"{text}, but for this: {'; '.join(found.changed)}.\n"
            if found.changed
            else text + ".\n"
        )
    return f"This is not the source's own set-up: {'; '.join((*found.differs, *found.changed))}.\n"


class Rehearsed(NamedTuple):
    """How many arms of a quick variant learned something, by what they did in every seed."""

    study: str
    arms: int
    one_class: int
    near_chance: int

    @property
    def train(self) -> int:
        """Arms of which some trial ended above twice chance."""
        return self.arms - self.one_class - self.near_chance


@cache
def rehearsed() -> tuple[Rehearsed, ...]:
    """Every quick variant that was released."""
    return tuple(_rehearsed(name) for name in released() if name.endswith(QUICK))


def _rehearsed(name: str) -> Rehearsed:
    frames = read(name)
    table = collapse_table(frames).set_index("arm")
    counted_ = frames.trials[frames.trials["state"].isin(COUNTED)]
    classes = max(arm.classes for arm in frames.plan.arms if arm.classes)
    # F1 is 2 / (classes + 1) for the class predicted and 0 for all others.
    one = (counted_["test_macro_f1"] - 2 / (classes + 1) / classes).abs() < ONE_CLASS
    flat = one.groupby(counted_["arm"]).all()
    never = table["collapsed"] == table["trials"]
    only = [label for label, is_flat in flat.items() if is_flat]
    near = [label for label, is_never in never.items() if is_never and label not in only]
    return Rehearsed(name, len(table), len(only), len(near))


def rehearsed_part(name: str, _: str | None) -> str:
    """Of the quick variants: how many arms train, in a sentence or by study."""
    made = {"counts": _rehearsed_counts, "studies": _rehearsed_studies}
    if name not in made:
        raise UserError(unknown("part of the rehearsals", name, made))
    return made[name]()


def _rehearsed_counts() -> str:
    every = rehearsed()
    arms, one, near = (sum(getattr(each, key) for each in every) for key in Rehearsed._fields[1:])
    return (
        f"Of the {arms} arms of the {len(every)} quick variants, {one} predict one class for every "
        f"test image in every seed and {near} more score below twice chance in every seed; the "
        f"other {arms - one - near} train.\n"
    )


def _rehearsed_studies() -> str:
    names = ("Quick variant of", "Arms", "One class only", "Below twice chance", "Train")
    rows = [
        (each.study.removesuffix(QUICK), *map(str, (*each[1:], each.train))) for each in rehearsed()
    ]
    return Table(
        [(name, "r" if place else "l") for place, name in enumerate(names)], rows
    ).markdown()


PARTS = {
    "run": run_sentence,
    "arms": arms_part,
    "last": last_part,
    "claims": claims_part,
    "published": published_part,
    "figure": figure_part,
    "scoreboard": scoreboard_part,
    "candidates": candidates_part,
    "setup": setup_part,
    "rehearsed": rehearsed_part,
}
END = "<!-- end -->"
START = re.compile(rf"<!-- ({'|'.join(PARTS)}) ([\w-]+)(?: ([\w-]+))? -->\n")
PART = re.compile(rf"({START.pattern})(?:(?!<!-- ).)*({END})", re.DOTALL)
"""A part holds no mark of another one, so that a forgotten end takes no text away."""


@cache
def read(name: str) -> Frames:
    """The trials of a file as a study's frames."""
    frames = released_frames(api.load_study(name.removesuffix(QUICK), quick=name.endswith(QUICK)))
    if frames is None:
        raise UserError(f"{name}.csv is not there: --collect RUNS takes trials in")
    return frames


def figure_of(frames: Frames, option: str | None, folder: Path | None = None) -> Shown:
    """A study's figure by name."""
    figures = {figure.name: figure for figure in figures_of(frames, folder)}
    if option not in figures:
        raise UserError(f"{frames.plan.name}: {unknown('figure', str(option), figures)}")
    return figures[option]


def drawings(page: str) -> Iterator[tuple[Path, bytes]]:
    """A page's figures, but for its galleries: where each is, and what the file says it is."""
    for _, kind, name, option, _ in PART.findall(page):
        if kind == "figure":
            figure = figure_of(read(name), option)
            if not figure.is_gallery:
                if figure.drawn is None:
                    raise UserError(f"{name}, {option}: {figure.caption}")
                yield (
                    HERE / "figures" / f"{name}-{option}.svg",
                    figure_files(figure)[f"{option}.svg"],
                )


def draw_galleries(page: str, name: str, frames: Frames, folder: Path) -> None:
    """Draw a study's galleries that a page shows, from the predictions in its folder."""
    for _, kind, study, option, _ in PART.findall(page):
        if (kind, study) == ("figure", name):
            figure = figure_of(frames, option, folder)
            if figure.is_gallery:
                if figure.drawn is None:
                    raise UserError(f"{name}, {option}: {figure.caption}")
                content = figure_files(figure)[f"{option}.png"]
                write_whole(HERE / "figures" / f"{name}-{option}.png", content)


def collect(runs: Path, quick: bool) -> None:
    """Take the finished trials of every bundled study's folder into the files here.

    Raises:
        UserError: No such folder, or trials of another variant; nothing is taken in then.
    """
    every = {}
    for folder in sorted(path.parent for path in runs.glob(f"*/{DATABASE}")):
        if folder.name not in bundled():
            print(f"left alone: {folder.name} is no bundled study")
            continue
        with Store.read(folder) as store:
            every[folder] = load_frames(store)
        declared, found = api.load_study(folder.name, quick=quick), every[folder].plan.overrides
        if found != declared.overrides:
            raise UserError(f"{folder}: was run with other values: {found}")
    if not every:
        raise UserError(f"no bundled study was run under {runs}")
    for folder, frames in every.items():
        new = pd.read_csv(io.StringIO(epoch_rows(frames)), dtype=str, keep_default_na=False)
        if not len(new):
            continue
        name = folder.name + (QUICK if quick else "")
        path = FOLDER / f"{name}.csv"
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            fresh = set(zip(new["arm"], new["seed"], strict=True))
            kept = [key not in fresh for key in zip(old["arm"], old["seed"], strict=True)]
            new = pd.concat([old[kept], new], ignore_index=True)
        order = {arm: place for place, arm in enumerate(frames.arms)}
        key = new.assign(arm=new["arm"].map(order), seed=new["seed"].astype(int))
        key = key.assign(epoch=new["epoch"].astype(int)).sort_values(["arm", "seed", "epoch"])
        new.loc[key.index].to_csv(path, index=False, lineterminator="\n")
        for page in HERE.glob("*.md"):
            draw_galleries(page.read_text(encoding="utf-8"), name, frames, folder)
        print(f"collected {path.name}")


def _span(numbers: pd.Series[float]) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Derive the findings pages from their CSV files.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--collect", type=Path, metavar="RUNS", help="take in trials first")
    parser.add_argument("--quick", action="store_true", help="those are quick variants")
    given = parser.parse_args()
    try:
        if given.collect:
            collect(given.collect, given.quick)
        differ = [name for path in sorted(HERE.glob("*.md")) for name in derive(path, given.check)]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'differ' if given.check else 'written'}: {', '.join(differ) or 'none'}")
    return 1 if given.check and differ else 0


def derive(path: Path, check: bool) -> list[str]:
    """Make a page and its figures anew, or only compare; names of those that are not as derived."""
    text = path.read_text(encoding="utf-8")
    try:
        derived, drawn = page_derived(text), list(drawings(text))
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from None
    differ = [] if derived == text else [path.name]
    if differ and not check:
        write_whole(path, derived.encode())
    for figure, content in drawn:
        stored = figure.read_bytes() if figure.exists() else b""
        if marks(stored.decode()) != marks(content.decode()):
            differ.append(f"{figure.parent.name}/{figure.name}")
        if not check and stored != content:
            write_whole(figure, content)
    return differ


def marks(svg: str) -> list[str]:
    """What a figure draws of its data: long paths and labels, which no font of a machine moves."""
    return re.findall(r' d="([^"]{60,})"', svg) + re.findall(r'aria-label="([^"]*: [^"]*)"', svg)


if __name__ == "__main__":
    sys.exit(main())

"""A study file for runs that are there already: their arms, seeds and metric, and a claim to write.

Scores are never looked at: which arm a claim says is better is for its author to state.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import yaml

from normlab.errors import UserError, listing
from normlab.files import write_whole
from normlab.frames.external_table import LARGEST, MISSING, PERCENT, number, read_table, whole
from normlab.metrics import METRICS
from normlab.study.spec import check_name
from normlab.text import one_form, shown
from normlab.trackers.asked import OWN_WORDS, Asked, name_pattern, option
from normlab.trackers.factors import telling_parameters, varying_parameters
from normlab.trackers.names import may_be_seed, maybe_ours, ours, the_seed
from normlab.trackers.read import read_runs
from normlab.trackers.runs import COMPLETE, Run, Runs, Series, of_group
from normlab.wording import counted

_MOST_ARMS = 200
_MOST_ASIDE = 12
_MARGIN = {"points": "0.3 points", "nats": "0.05 nats", "s": "5 %", "steps": "1 steps"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a source holds for a study.

    Attributes:
        factors: Parameters that vary, with their levels.
        arms: Levels of every arm that has runs, and how many.
        seeds: Of all arms, ascending; empty where no run says one.
        metric: What its claim is about.
        runs: How many are of these arms.
        aside: What was not read or does not count, a sentence each.
    """

    factors: Mapping[str, Sequence[object]]
    arms: Sequence[tuple[Mapping[str, object], int]]
    seeds: Sequence[int]
    metric: str
    runs: int
    aside: Sequence[str] = ()


def look(source: Path, asked: Asked) -> Found:
    """What varies between the runs of a source.

    Args:
        source: A table, or what another tool logged.
        asked: Factors' and metrics' names; a factor of `map` is one whatever its values are.

    Raises:
        UserError: Nothing varies, no metric is certain, or the source cannot be read.
    """
    from normlab.trackers.judged import check_table, is_table

    told = _Told(asked)
    aside: tuple[str, ...] = ()
    if is_table(source):
        check_table(asked)
        runs = _rows(source, told)
    else:
        read = read_runs(source)
        grouped = of_group(read, asked.group)
        runs = [run for run in grouped if run.state == COMPLETE]
        aside = _aside(read, len(grouped) - len(runs))
    if not runs:
        raise UserError(". ".join([f"{source} has no finished runs", *aside]))
    metric = _metric(runs, asked)
    every = [told.parameters(run) for run in runs if any(map(told.column, run.metrics))]
    said = [values for values in every if values is not None]
    seed = _seed(said)
    varying = varying_parameters(said, seed)
    if told.factors:
        names = [name for name in varying if name in told.factors]
    else:
        names = telling_parameters(varying, said)
    if not names:
        raise UserError(
            f"{source}: no parameter takes several values in {len(said)} runs, or too many to be "
            "a factor. --map FACTOR=PARAMETER names one, --names what run names are made of"
        )
    arms = Counter(tuple(_level(values.get(name)) for name in names) for values in said)
    if len(arms) > _MOST_ARMS:
        raise UserError(
            f"{source}: {listing(names)} make {len(arms)} arms: name the factors that you mean "
            "with --map FACTOR=PARAMETER"
        )
    return Found(
        factors={name: _ordered({of[at] for of in arms}) for at, name in enumerate(names)},
        arms=[(dict(zip(names, of, strict=True)), count) for of, count in arms.items()],
        seeds=_seed_numbers(values.get(seed, "") for values in said) if seed else (),
        metric=metric,
        runs=len(said),
        aside=aside,
    )


class _Told:
    """The names of a source by what the user said of them.

    Attributes:
        factors: Those that were named; without any, whatever varies is one.
    """

    def __init__(self, asked: Asked) -> None:
        self._ours = {theirs: name for name, theirs in asked.map.items()}
        self._pattern: re.Pattern[str] | None = None
        self._fields: list[str] = []
        if asked.names:
            self._pattern, self._fields = name_pattern(asked.names, {})
        self.factors = [name for name in asked.map if name not in OWN_WORDS or name == "arm"]
        self.factors += [name for name in self._fields if name not in OWN_WORDS]

    def column(self, name: str) -> str | None:
        """The column of ours that a metric is, as told or for certain."""
        told = self._ours.get(name, "")
        return told if told.removesuffix(PERCENT) in METRICS else ours(name)

    def parameters(self, run: Run) -> dict[str, str] | None:
        """A run's parameters by our names; None where its name does not fit."""
        found = {self._ours.get(name) or name: text for name, text in run.params.items()}
        if self._pattern is not None:
            fitting = self._pattern.fullmatch(run.name)
            if fitting is None:
                return None
            found |= dict(zip(self._fields, fitting.groups(), strict=True))
        return found


def _aside(read: Runs, unfinished: int) -> tuple[str, ...]:
    """What of a source is not looked at."""
    reasons = Counter(one.reason for one in read.left_out).most_common()
    found = [f"Left out: {counted(count, 'run')}: {reason}" for reason, count in reasons]
    if unfinished:
        found.append(f"Left out: {counted(unfinished, 'run')}: failed, killed or still running")
    found += read.notes
    more = len(found) - _MOST_ASIDE
    return (*found[:_MOST_ASIDE], *([f"And {more} more"] if more > 0 else []))


def _seed_numbers(texts: Iterable[str]) -> list[int]:
    found = {whole(text, comma=False) for text in texts}
    return sorted(seed for seed in found if seed is not None and 0 <= seed <= LARGEST)


def _rows(source: Path, told: _Told) -> list[Run]:
    """Rows of a table as runs: numbers of a metric's name are metrics, all else parameters."""
    read = read_table(source, [*OWN_WORDS], [])
    found: dict[object, Run] = {}
    written = {str(name): read.written.get(str(name), str(name)) for name in read.cells}
    scores = {name for name, text in written.items() if told.column(text) or maybe_ours(text)}
    for at, row in enumerate(read.cells.to_dict("records")):
        cells = {str(name): str(cell) for name, cell in row.items()}
        params = {
            name: cell
            for name, cell in cells.items()
            if name in {"arm", "seed"} or (name not in OWN_WORDS and name not in scores)
        }
        metrics = {
            written[name]: Series(steps=(0,), values=(0.0,))
            for name in scores
            if cells[name].lower() not in MISSING
        }
        key = tuple(params.items()) if "epoch" in cells else at
        found.setdefault(
            key,
            Run(
                id=str(at), name=read.where(at), group="", state=COMPLETE, params=params,
                metrics=metrics,
            ),
        )  # fmt: skip
    return list(found.values())


def _metric(runs: Sequence[Run], asked: Asked) -> str:
    from normlab.trackers.scores import metrics_of

    columns = metrics_of(runs, (), asked)
    there = [column.removesuffix(PERCENT) for column in columns]
    for metric in METRICS:  # the test images' first
        if metric in there:
            return metric
    metrics_of(runs, ["test_accuracy"], asked)  # says what there is, and what to write
    raise UserError("no metric of these runs is one of normlab's: --map test_accuracy=NAME")


def _seed(said: Sequence[Mapping[str, str]]) -> str | None:
    names = dict.fromkeys(name for values in said for name in values)
    if "seed" in names:
        return "seed"
    found = the_seed(name for name in names if may_be_seed(name))
    return found[0] if found else None


def _level(text: str | None) -> object:
    """A parameter's text as a study file has it."""
    if text is None or text.lower() in MISSING - {"none"}:
        return None
    if text in {"True", "true", "False", "false"}:
        return text.lower() == "true"
    value = number(text, comma=False)
    if value is None or not abs(value) < float("inf"):
        return one_form(text)
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _ordered(levels: Iterable[object]) -> list[object]:
    every = list(levels)
    if all(isinstance(level, int | float) and not isinstance(level, bool) for level in every):
        return sorted(every, key=lambda level: float(str(level)))
    return sorted(every, key=lambda level: (level is None, str(level)))


def claims_command(file: Path, source: Path, asked: Asked) -> str:
    """The command that judges a study file's claims on a source, as a shell takes it."""
    words = [f"normlab claims {shlex.quote(str(file))} --from {shlex.quote(str(source))}"]
    words += [option(name, theirs) for name, theirs in asked.map.items()]
    words += [f"--names {shlex.quote(asked.names)}"] if asked.names else []
    words += [f"--group {shlex.quote(asked.group)}"] if asked.group else []
    return shown(" ".join(words))


def study_text(found: Found, source: Path, command: str) -> str:
    """A study file for what was found.

    Args:
        found: By `look`.
        source: Where.
        command: The one that judges it, in one line.
    """
    is_grid = len(found.arms) == prod(map(len, found.factors.values()))
    counts = [count for _, count in found.arms]
    each = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else f"{counts[0]}"
    said = f"{found.runs} runs, {len(found.arms)} arms, {each} runs each"
    unit = METRICS[found.metric].unit
    lines = [
        f"# From {shown(source.name)}: {said}.",
        *(f"# {shown(one).removesuffix('.')}." for one in found.aside),
        f"# Judge them: {command}",
        "# Scores were not looked at. Claims written after somebody saw them are exploratory.",
        "# Factors are that source's parameters: to train the study, they must be recipe keys.",
        f"question: Which of these arms has the better {METRICS[found.metric].words}?",
        "base: {}",
    ]
    if is_grid:
        lines.append("factors:")
        lines += [f"  {_key(name)}: {_flow(levels)}" for name, levels in found.factors.items()]
    else:
        lines.append("arms:")
        lines += [
            f"  - {_flow({'label': _label(levels), 'set': dict(levels)})}  # {count} runs"
            for levels, count in sorted(found.arms, key=lambda arm: _label(arm[0]))
        ]
    seeds = list(found.seeds) if len(found.seeds) > 1 else max(counts)
    lines += [
        f"seeds: {_flow(seeds)}" + ("" if found.seeds else "  # no run says its seed"),
        f"analysis: {_flow({'metric': found.metric})}",
        "claims:",
    ]
    kinds = [
        n for n, of in found.factors.items() if not all(isinstance(x, int | float) for x in of)
    ]
    name = next(iter([*kinds, *found.factors]))
    levels = found.factors[name]
    sides: list[object] = [{name: level} for level in levels[:2]]
    if not is_grid:
        sides = [_label(of) for of, _ in found.arms[:2]]
    lines += [
        "  # The side and the margin (the smallest difference that matters) are yours to state.",
        f"  - {_flow({'kind': 'better', 'arm': sides[0], 'over': sides[1]})[:-1]}, "
        f"margin: {_MARGIN[unit]}}}",
    ]
    return "\n".join(lines) + "\n"


def _label(levels: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {'null' if level is None else level}" for name, level in levels.items()
    )


def _key(name: str) -> str:
    return _flow({name: 0})[1:-1].rpartition(":")[0]


def _flow(data: object) -> str:
    """Data as YAML in one line."""
    text: str = yaml.safe_dump(data, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def write_study(source: Path, out: Path | None, asked: Asked) -> Path:
    """Write a study file for a source, and never over another file; see `normlab.new_study`.

    Raises:
        UserError: It is there already or cannot be written, or the source does not tell enough.
    """
    file = out if out is not None else Path(f"{source.resolve().stem or 'study'}.yaml")
    check_name(file)
    if file.exists():
        raise UserError(f"{file} is there already: --out names another file")
    text = study_text(look(source, asked), source, claims_command(file, source, asked))
    try:
        write_whole(file, text.encode())
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from None
    return file

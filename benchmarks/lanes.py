"""A training step of trials in vector lanes beside the torch path, for every model of the bundled studies.

    python benchmarks/lanes.py                                          # every row
    python benchmarks/lanes.py --only mnist-7288 --seconds 30
    python benchmarks/lanes.py --wide                                   # those that the rule refuses, too
    python benchmarks/lanes.py --instructions avx2 --json benchmarks/results/lanes_avx2_epyc_threads1.json
    python benchmarks/lanes.py --check                                  # errors and accuracies, no times
    python benchmarks/lanes.py --write benchmarks/results/lanes_*.json  # the tables, from stored rows

A row is a model, a kind of norm, a batch size and a size of images, trained as the first arm that has them; images
are made up. Some further widths of ResNet-14 show where the gain ends. Both sides are the real loops, whole steps:
batches, augmentation, masks, forward, backward, update. A group of trials and one trial on the torch path train an
epoch of a few steps in turn; the first epoch of each is not counted. Shown are milliseconds per trial and step, and
the median ratio of the rounds: above 1 lanes are faster. `MB` is the memory of the largest group, without its trials'
own. One thread, seconds of the processor (`--clock wall` for those of the clock).

`--write` puts the rows of models that train in lanes into `normlab.train.lanes.gains`, and the tables into
`benchmarks/README.md` and `docs/performance.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from lanes_check import check
from shapes import every_recipe
from timing import begin, keep, options

from normlab.data import Splits, describe
from normlab.models import build
from normlab.native import compiled
from normlab.recipe import Recipe
from normlab.recipe.regularizers import EarlyStopping
from normlab.recipe.training import Constant
from normlab.records import EpochRecord
from normlab.train.lanes import gains, rule
from normlab.train.lanes.group import Group
from normlab.train.lanes.translate import translate
from normlab.train.loop import Trainer
from normlab.train.stand_in import made_up

HERE = Path(__file__).parent
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
STEPS = 6
ANY_WIDTH = 1 << 30
FURTHER = ({"width": 4}, {"width": 8})
"""Options of ResNet-14 beside those of the studies."""
CPU = torch.device("cpu")
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What a row is about.

    Attributes:
        study: Whose arm it is.
        recipe: The arm's.
        form: What its trials share in lanes, or why they have none, whatever their width.
        refusal: Why the rule has them on the torch path; empty where it does not.
    """

    study: str
    recipe: Recipe
    form: rule.Form | str
    refusal: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return describe(self.recipe.data).shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return describe(self.recipe.data).num_classes

    def least_bytes(self, lanes: int) -> int:
        """Of a group's maps alone."""
        model = build(self.recipe, self.shape, self.classes, device="meta").model
        graph = translate(model, self.shape)
        return sum(4 * lanes * self.recipe.batch_size * each.size for each in graph.maps)

    def images(self) -> Splits:
        """Of an epoch."""
        return made_up(self.shape, self.classes, STEPS * self.recipe.batch_size, 1)


def name_of(recipe: Recipe) -> str:
    """Model, norm, batch size and image of a row."""
    size = "x".join(map(str, describe(recipe.data).shape))
    return f"{model_of(recipe)}, {recipe.norm.kind}, {recipe.batch_size} x {size}"


def model_of(recipe: Recipe) -> str:
    """A model's kind and the options that are not as usual."""
    changed = recipe.model.model_dump(mode="json", exclude_defaults=True)
    words = [f"{key} {value}" for key, value in changed.items() if key != "kind"]
    return ", ".join([recipe.model.kind, *words])


def cases(only: str = "") -> list[Case]:
    """One for every model, kind of norm, batch size and image of the bundled studies, and further widths.

    Args:
        only: What a row's name has, a regular expression.
    """
    found: dict[tuple[object, ...], Case] = {}
    for study, recipe in _recipes():
        model = recipe.model.model_dump_json()
        key = (model, recipe.norm.kind, recipe.batch_size, describe(recipe.data).shape)
        if not re.search(only, name_of(recipe)):
            continue
        if key not in found or isinstance(found[key].form, str):
            case = case_of(study, recipe)
            # Of two arms the first that lanes can train.
            if key not in found or not isinstance(case.form, str):
                found[key] = case
    return list(found.values())


def _recipes() -> Iterator[tuple[str, Recipe]]:
    known = list(every_recipe())
    yield from known
    study, plain = next(
        (study, r) for study, r in known if r.model.kind == "resnet" and r.norm.kind == "batch"
        and r.batch_size == 32
    )  # fmt: skip
    for more in FURTHER:
        yield study, plain.model_copy(update={"model": plain.model.model_copy(update=more)})


def case_of(study: str, recipe: Recipe) -> Case:
    """A recipe that goes on for ever, and its form."""
    recipe = recipe.model_copy(
        update={
            "epochs": 1_000_000,
            "early_stopping": EarlyStopping(),
            "schedule": Constant(kind="constant"),
        }
    )
    facts = describe(recipe.data)
    given = (recipe, facts.shape, facts.num_classes, STEPS * recipe.batch_size, "cpu")
    form = by_rule = rule.form(*given)
    if isinstance(by_rule, str):
        with patch.object(rule, "WIDEST", ANY_WIDTH):
            rule._form.cache_clear()
            form = rule.form(*given)
    rule._form.cache_clear()
    return Case(study, recipe, form, by_rule if isinstance(by_rule, str) else "")


Window = Callable[[], float]
"""An epoch; returns seconds per trial and step."""


def torch_window(case: Case, images: Splits) -> Window:
    """A trial on the torch path."""
    trainer, epoch = Trainer(case.recipe, 0, images, CPU, probes=False), 0

    def window() -> float:
        nonlocal epoch
        epoch += 1
        return trainer.epoch(epoch).seconds / STEPS

    return window


def lanes_window(case: Case, images: Splits, trials: int, group: Group) -> Window:
    """A group of trials.

    Raises:
        RuntimeError: A trial has fallen back to torch.
    """
    trainers: list[Trainer] = []
    for seed in range(trials):
        beside = trainers[0] if trainers else None
        trainers.append(Trainer(case.recipe, seed, images, CPU, probes=False, beside=beside))
    epoch = 0

    def window() -> float:
        nonlocal epoch
        epoch += 1
        outcomes = group.epoch(trainers, [epoch] * trials)
        failed = [*filter(None, map(str_of, outcomes)), *group.missed.values()]
        if failed:
            raise RuntimeError(failed[0])
        return sum(r.seconds for r in outcomes if isinstance(r, EpochRecord)) / trials / STEPS

    return window


def str_of(outcome: EpochRecord | Exception) -> str:
    """What an exception says; empty for a record."""
    return f"{outcome}" if isinstance(outcome, Exception) else ""


def measure(case: Case, given: argparse.Namespace) -> Row:
    """A row; without times where there are no lanes, or no memory for them."""
    recipe = case.recipe
    row: Row = {
        "model": model_of(recipe),
        "norm": recipe.norm.kind,
        "batch": recipe.batch_size,
        "image": list(case.shape),
        "study": case.study,
        "optimizer": recipe.optimizer.kind,
        "dropout": recipe.dropout.p
        if isinstance(recipe.dropout.p, float)
        else str(recipe.dropout.p),
        "transforms": [spec.kind for spec in recipe.augment],
        "lanes": compiled.lanes(),
        "clock": given.clock,
        "refusal": case.refusal,
    }
    if isinstance(case.form, str):
        return row
    row["key"] = list(gains.key(case.form))
    if case.refusal and not given.wide:
        return row
    sizes = [size for size in gains.SIZES if size <= rule.size()]
    if (least := case.least_bytes(max(sizes))) > given.memory * 1e9:
        return row | {"least_mb": round(least / 1e6)}
    images, ratios, milliseconds = case.images(), {}, {}
    torch_ms: list[float] = []
    for trials in sizes:
        group = Group()
        sides = (torch_window(case, images), lanes_window(case, images, trials, group))
        with patch.object(time, "perf_counter", CLOCKS[given.clock]):
            times = in_turn(sides, given.seconds / len(sizes))
        ratios[str(trials)] = round(median(a / b for a, b in times), 3)
        milliseconds[str(trials)] = round(1000 * median(b for _, b in times), 4)
        torch_ms += [1000 * a for a, _ in times]
        row["mb"] = round(sum(program.bytes for program in group.programs.values()) / 1e6)
        row.setdefault("rounds", {})[str(trials)] = len(times)
    return row | {"torch_ms": round(median(torch_ms), 4), "ms": milliseconds, "ratio": ratios}


def in_turn(
    sides: tuple[Window, Window], seconds: float, least: int = 3
) -> list[tuple[float, float]]:
    """Windows of both sides in turn, until the time is over."""
    for window in sides:
        window()
    until, times = time.monotonic() + seconds, []
    while len(times) < least or time.monotonic() < until:
        times.append((sides[0](), sides[1]()))
    return times


def text(row: Row) -> str:
    """A row as it is printed."""
    image = "x".join(map(str, row["image"]))
    begun = f"{row['model']:34}{row['norm']:15}{row['batch']:>5} {image:9}"
    if "ratio" not in row:
        memory = f"; maps alone {row['least_mb']} MB" if "least_mb" in row else ""
        return f"{begun} {row['refusal']}{memory}"
    beside = "".join(
        f"{row['ms'][size]:>9.2f}{row['ratio'][size]:>6.2f}" for size in reversed(row["ms"])
    )
    why = f"  {row['refusal']}" if row["refusal"] else ""
    return f"{begun}{row['torch_ms']:>9.2f}{beside}{row['mb']:>7}{why}"


# The tables.


def kept(paths: list[Path]) -> dict[int, list[Row]]:
    """Stored rows by the lanes of their processor, with its name in each; a later file's row counts."""
    found: dict[int, dict[str, Row]] = {}
    for path in paths:
        stored = json.loads(path.read_text())
        for row in stored["rows"]:
            key = json.dumps([row[part] for part in ("model", "norm", "batch", "image")])
            mine = found.setdefault(row["lanes"], {})
            if "ratio" in row or key not in mine:
                mine[key] = row | {"processor": stored["processor"]}
    return {lanes: list(rows.values()) for lanes, rows in sorted(found.items(), reverse=True)}


def whole_table(rows: list[Row], sizes: list[str]) -> Iterator[str]:
    """Every row with its times, then what has none."""
    heads = [f"{size} {'trials' if size != '1' else 'trial'}" for size in sizes]
    yield f"| model | norm | batch | torch, ms | {' | '.join(heads)} | MB | in lanes |"
    yield f"| --- | --- | {' | '.join(['---:'] * (len(sizes) + 3))} | --- |"
    for row in rows:
        if "ratio" in row:
            cells = [f"{row['ms'][size]:.3g} ms, {row['ratio'][size]:.2f}" for size in sizes]
            words = [row["model"], row["norm"], str(row["batch"]), f"{row['torch_ms']:.3g}"]
            last = [f"{row['mb']:,}", "no" if row["refusal"] else "yes"]
            yield f"| {' | '.join([*words, *cells, *last])} |"


def refused_table(rows: list[Row]) -> Iterator[str]:
    """What trains on the torch path, and why."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["refusal"]:
            groups.setdefault((row["model"].split(",")[0], row["refusal"]), []).append(row)
    yield "| model | norms, batch sizes | why on the torch path |"
    yield "| --- | --- | --- |"
    for (model, why), mine in groups.items():
        norms = ", ".join(sorted({row["norm"] for row in mine}))
        batches = ", ".join(map(str, sorted({row["batch"] for row in mine})))
        least = [row["least_mb"] for row in mine if "least_mb" in row]
        memory = f"; a group's maps would take {min(least) / 1000:.0f} GB and more" if least else ""
        yield f"| {model} | {norms}; {batches} | {why}{memory} |"


def short_table(rows: list[Row], sizes: list[str]) -> Iterator[str]:
    """The range over norms and batch sizes, a line for each model."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        if "ratio" in row:
            groups.setdefault((row["model"], bool(row["refusal"])), []).append(row)
    heads = ["16 trials" if size == "16" else size for size in sizes]
    yield f"| model | torch, ms a step | {' | '.join(heads)} | MB of a group | in lanes |"
    yield f"| --- | {' | '.join(['---:'] * (len(sizes) + 2))} | --- |"
    for (model, refused), mine in groups.items():
        cells = [spread([row["ratio"][size] for row in mine], "{:.1f}") for size in sizes]
        times = spread([row["torch_ms"] for row in mine], "{:.3g}")
        memory = spread([row["mb"] for row in mine], "{:,}")
        answer = "no" if refused else "yes"
        yield f"| {model} | {times} | {' | '.join(cells)} | {memory} | {answer} |"


def spread(values: list[float], form: str) -> str:
    """The least and the largest value, or the one they both look like."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def tables(found: dict[int, list[Row]]) -> dict[str, str]:
    """The texts of all tables by their names."""
    made: dict[str, str] = {}
    for lanes, rows in found.items():
        sizes = [size for size in ("16", "8", "4", "1") if int(size) <= lanes]
        made[f"whole {lanes}"] = "\n".join(whole_table(rows, sizes))
        made[f"refused {lanes}"] = "\n".join(refused_table(rows))
        made[f"short {lanes}"] = "\n".join(short_table(rows, sizes))
    return made


def write(paths: list[Path]) -> None:
    """Put stored rows into the table of gains and into the pages."""
    found = kept(paths)
    module = Path(gains.__file__)
    begun, _, _ = module.read_text().partition("TABLE: ")
    lines = ["TABLE: dict[int, dict[Key, tuple[float, ...]]] = {"]
    for lanes in (16, 8):
        lines += [f"    {lanes}: {{"]
        mine = [row for row in found.get(lanes, []) if "ratio" in row and not row["refusal"]]
        for row in sorted(mine, key=lambda row: row["key"]):
            name, image, norm, batch = row["key"]
            values = ", ".join(f"{row['ratio'][size]:.2f}" for size in row["ratio"])
            lines += [f'        ("{name}", "{image}", "{norm}", {batch}): ({values}),']
        lines += ["    },"]
    module.write_text(begun + "\n".join([*lines, "}", ""]))
    made = tables(found)
    for page in (HERE / "README.md", HERE.parent / "docs" / "performance.md"):
        place = re.compile(r"(<!-- lanes: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)

        def filled(match: re.Match[str]) -> str:
            begin, name, end = match.groups()
            return f"{begin}{made.get(name, 'not measured')}\n{end}"

        page.write_text(place.sub(filled, page.read_text()))
        print(f"{page}: written")


def in_child(instructions: str) -> int:
    """The same command in a process that is held to some instructions."""
    words = [word for word in sys.argv if word not in {"--instructions", instructions}]
    held = {"ATEN_CPU_CAPABILITY": instructions, "ONEDNN_MAX_CPU_ISA": instructions.upper()}
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **held}, check=False
    ).returncode


def main() -> None:
    """Read the command line, time, keep the rows."""
    parser = options(__doc__.splitlines()[0] if __doc__ else "", rounds=0)
    parser.set_defaults(threads=1)
    parser.add_argument("--seconds", type=float, default=8.0, help="for a row, about")
    parser.add_argument("--only", default="", help="part of a row's name, a regular expression")
    parser.add_argument("--wide", action="store_true", help="time those that the rule refuses, too")
    parser.add_argument(
        "--memory", type=float, default=2.0, help="GB that the maps of a group may take"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--instructions", choices=("avx2",), help="hold both sides to these")
    parser.add_argument("--write", nargs="+", type=Path, help="make the tables from these results")
    parser.add_argument("--check", action="store_true", help="errors and accuracies, no times")
    parser.add_argument(
        "--images", type=int, default=10000, help="with --check: to train on, at most"
    )
    given = parser.parse_args()
    if given.write:
        write(given.write)
        return
    if given.instructions:
        raise SystemExit(in_child(given.instructions))
    begin(given)
    if given.check:
        taken = [case for case in cases(given.only) if not case.refusal]
        keep(check({name_of(case.recipe): case.recipe for case in taken}, given.images), given)
        return
    print(f"{compiled.lanes()} lanes; for each group milliseconds of a trial's step, torch / lanes")
    print(f"{'':64}{'torch':>9}{''.join(f'{n:>15}' for n in (16, 8, 4, 1) if n <= rule.size())}")
    rows: list[Row] = []
    for case in cases(given.only):
        try:
            rows.append(measure(case, given))
        except RuntimeError as error:
            print(f"{name_of(case.recipe)}: {error}", flush=True)
            continue
        print(text(rows[-1]), flush=True)
        keep(rows, given)


if __name__ == "__main__":
    main()

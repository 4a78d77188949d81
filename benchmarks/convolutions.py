"""Every convolution of every bundled model by every way, and the table of the best ones.

    python benchmarks/convolutions.py --threads 1                   # compare
    python benchmarks/convolutions.py --threads 1 --write           # and put the best into the table

One row is a pass (result, gradient of the map, gradient of the weights) of one shape. Ways run in
turn, with their data out of the caches as after another layer; the median of each counts. torch's own
convolution is timed in both layouts, and the sum per model takes its better one for each pass: no
program written with torch alone does better. `--write` keeps a way other than torch's where it gains
5 % and more. `ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2` holds all ways to AVX2.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from statistics import median

import torch
from shapes import bundled_recipes
from timing import begin, keep, machine, options

from normlab import convolutions
from normlab.convolutions import choice, table, ways
from normlab.convolutions.shape import Shape
from normlab.convolutions.table import TABLE
from normlab.data import describe
from normlab.models import MODELS, build
from normlab.recipe import Recipe

Found = dict[tuple[str, int], Counter[tuple[Shape, bool]]]
"""Model, and images of its batch -> shapes, whether the gradient of the map is wanted, and how often."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GAIN = 1.05
FLUSH = torch.empty(4_000_000)  # 16 MB: more than the caches of a core by itself


def shapes_of(recipe: Recipe) -> Counter[tuple[Shape, bool]]:
    """The convolutions of a recipe's model; the map of the first one, the images, wants no gradient."""
    facts = describe(recipe.data)
    model = build(recipe, facts.shape, facts.num_classes, device="meta").model
    counted = convolutions.shapes(model, (recipe.batch_size, *facts.shape))
    return Counter({(shape, bool(i)): count for i, (shape, count) in enumerate(counted.items())})


def bundled(wanted: list[str]) -> Found:
    """The convolutions of the bundled models, each at the middle one of its batch sizes."""
    sizes: dict[tuple[str, ...], list[Recipe]] = {}
    for recipe in bundled_recipes():
        facts = describe(recipe.data)
        if recipe.model.kind in wanted:
            name = recipe.model.kind, str(getattr(recipe.model, "n", "")), str(facts.shape)
            sizes.setdefault(name, []).append(recipe)
    found: Found = {}
    for (kind, depth, size), recipes in sizes.items():
        ordered = sorted(recipes, key=lambda recipe: recipe.batch_size)
        recipe = ordered[len(ordered) // 2]
        name = f"{kind} {depth} {size}".replace("  ", " ")
        found[name, recipe.batch_size] = shapes_of(recipe)
    return found


def times(
    shape: Shape, images: int, dtype: torch.dtype, rounds: int, *, cold: bool
) -> dict[str, dict[str, float]]:
    """Seconds of each pass by each way that can; `contiguous` is torch's other layout."""
    last = torch.channels_last
    source = torch.Generator().manual_seed(0)
    x = torch.randn((images, shape.inputs, shape.height, shape.width), generator=source)
    weight = torch.randn((shape.outputs, shape.inputs, *shape.kernel), generator=source)
    dy = torch.randn((images, shape.outputs, *shape.out_size), generator=source)
    plain = tuple(t.to(dtype) for t in (x, weight, dy))
    lasting = tuple(t.contiguous(memory_format=last) for t in plain)
    # With one thread CPU time is that of the pass, whatever else the machine does.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found: dict[str, dict[str, float]] = {}
    for which in ways.PASSES:
        sides = {
            way: (way, lasting) for way in ways.WAYS if ways.can(way, which, shape, images, dtype)
        }
        sides["contiguous"] = "torch", plain
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(rounds + 1):
            for name, (way, (a, w, g)) in sides.items():
                if cold:
                    FLUSH.add_(1)
                start = clock()
                if which == "forward":
                    ways.forward(way, shape, a, w, None)  # type: ignore[arg-type]
                elif which == "input":
                    ways.input_gradient(way, shape, a, w, g)  # type: ignore[arg-type]
                else:
                    ways.weight_gradient(way, shape, a, w, g)  # type: ignore[arg-type]
                if turn:
                    taken[name].append(clock() - start)
        found[which] = {name: median(seconds) for name, seconds in taken.items()}
    return found


def best(seconds: dict[str, float]) -> str:
    """The way for the table: torch's unless another gains enough."""
    name = min((n for n in seconds if n != "contiguous"), key=seconds.__getitem__)
    return name if seconds["torch"] / seconds[name] >= GAIN else "torch"


def compare(given: argparse.Namespace, dtype: torch.dtype) -> list[dict[str, object]]:
    """Time all, print, and write what was asked for."""
    rows: list[dict[str, object]] = []
    known: dict[tuple[Shape, int], dict[str, dict[str, float]]] = {}
    listed: dict[str, str] = {}
    for (model, images), shapes in bundled(given.models).items():
        sums: Counter[str] = Counter()
        for (shape, back), count in shapes.items():
            if (shape, images) not in known:
                known[shape, images] = times(shape, images, dtype, given.rounds, cold=given.cold)
                listed[choice.text(shape)] = " ".join(map(best, known[shape, images].values()))
            found = known[shape, images]
            chosen = choice.choose(shape, images, dtype)
            ruled = choice.rule(shape, dtype)
            for which, way, by_rule in zip(ways.PASSES, chosen, ruled, strict=True):
                if which == "input" and not back:
                    continue
                seconds = found[which]
                theirs = min(seconds["torch"], seconds["contiguous"])
                sums["torch"] += count * theirs
                sums["channels_last"] += count * seconds["torch"]
                sums["contiguous"] += count * seconds["contiguous"]
                sums["ours"] += count * seconds[way]
                sums["rule"] += count * seconds.get(by_rule, seconds["torch"])
                sums["best"] += count * min(seconds[n] for n in seconds if n != "contiguous")
                listed_ms = {name: round(value * 1e3, 3) for name, value in seconds.items()}
                rows.append(
                    {"model": model, "shape": choice.text(shape), "images": images, "pass": which,
                     "count": count, "dtype": given.dtype, "chosen": way, "ms": listed_ms}
                )  # fmt: skip
        report(f"{model}, batch of {images}", sums)
    if given.write:
        write(choice.kind(dtype), listed)
    return rows


def report(model: str, sums: Counter[str]) -> None:
    """Milliseconds of all convolutions of a model, and what is gained over torch's better layout."""
    print(model)
    for name in ("contiguous", "channels_last", "torch", "ours", "rule", "best"):
        label = "torch, the better layout of each pass" if name == "torch" else name
        gain = sums["torch"] / sums[name]
        print(f"    {label:40} {sums[name] * 1e3:9.2f} ms {gain:6.2f}", flush=True)


def write(kind: str, listed: dict[str, str]) -> None:
    """Put the best ways of a kind of processor into the table."""
    known = {**TABLE, kind: {**TABLE.get(kind, {}), **listed}}
    path = Path(table.__file__)
    begin, _, _ = path.read_text().partition("TABLE: ")
    lines = ["TABLE: dict[str, dict[str, str]] = {"]
    for processor, shapes in sorted(known.items()):
        lines += [f'    "{processor}": {{']
        lines += [f'        "{shape}": "{ways}",' for shape, ways in sorted(shapes.items())]
        lines += ["    },"]
    path.write_text(begin + "\n".join([*lines, "}", ""]))
    print(f"{path}: {len(listed)} shapes of {kind}")


def main() -> None:
    """Read the command line, time, keep the rows."""
    parser = options(__doc__.splitlines()[0] if __doc__ else "", rounds=9)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--warm", dest="cold", action="store_false", help="data stays in the caches"
    )
    parser.add_argument("--write", action="store_true", help="put the best ways into the table")
    given = parser.parse_args()
    begin(given)
    print(" ".join(machine().values()), choice.kind(DTYPES[given.dtype]))
    keep(compare(given, DTYPES[given.dtype]), given)


if __name__ == "__main__":
    main()

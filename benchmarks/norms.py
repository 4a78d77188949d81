"""Norm and ReLU, forward and backward: ours beside torch.nn and beside another checkout, as ratios.

    python benchmarks/norms.py                   # every kind on every map of every bundled model
    python benchmarks/norms.py --threads 1       # on one core
    python benchmarks/norms.py --models resnet50-as-published --kinds batch layer --shapes small
    python benchmarks/norms.py --before ../normlab-before    # the same rows for that checkout as well
    python benchmarks/norms.py --compiled        # torch.nn under torch.compile as well (needs a C++ compiler)
    python benchmarks/norms.py --copy            # beside a copy of the map
    python benchmarks/norms.py --dtype bfloat16  # bfloat16 maps, as under autocast; ours in float32 beside them

Maps are those of the bundled models at the batch sizes of their studies (`shapes.py` asks the models),
each shape timed once, contiguous and channels_last. Kinds are those of the catalog. Sides take turns
within one run; a row shows the median of each side and the median of
the ratios turn by turn: above 1 ours is faster. `theirs` is torch's layer of that kind and a ReLU, for
ghost batch norm a loop of F.batch_norm over torch.chunk; kinds that torch has not stand beside our
batch norm. With `--dtype bfloat16` the maps of all sides are bfloat16 and the parameters stay float32;
`float32/ours` then compares with our layer on the same maps in float32. With `--before` two more processes take part, one for each checkout, each with its own
clock: `before/ours` compares these two. How exact that is on a machine, `--before .` tells: the same
code against itself.

In every turn a side runs one step before the clock, since another side's data is in the caches, and
then as many as fill a millisecond. Rounds are as many as fit into `--seconds`, ten at least.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import prod
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import torch
from layer_steps import DTYPES, LAYOUTS, Checkout, maps, step
from shapes import Shape, bundled_shapes
from timing import Side, begin, in_turns, keep, options, ratio, timed
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.models import MODELS
from normlab.norms import NORMS, MomentNorm, kernels, make

KINDS = tuple(kind for kind in NORMS if kind != "none" and not kind.startswith("torch_"))
OPTIONS: dict[str, dict[str, Any]] = {
    "group": {"channels_per_group": 4},
    "evonorm_s0": {"channels_per_group": 4},
    "ghost_batch": {"splits": 8},
}
OWN = "own (generic)"
SMALL = 1 << 20  # numbers in a map, 4 MB: up to here a core's caches hold much of it
Row = dict[str, Any]


class Chunks(nn.Module):
    """Ghost batch norm as it is found in public code: a loop over chunks of the batch."""

    def __init__(self, channels: int, splits: int) -> None:
        super().__init__()
        self.norm, self.splits = nn.BatchNorm2d(channels), splits

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        parts = [
            F.batch_norm(part, n.running_mean, n.running_var, n.weight, n.bias, True, 0.1, n.eps)
            for part in x.chunk(self.splits)
        ]
        return torch.cat(parts).relu()


class MyBatchNorm(MomentNorm):
    """An own kind: batch norm without running statistics, on the generic path."""

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        center = mean.mean(0)
        scale = (var.mean(0) + (mean - center).square().mean(0) + self.eps).rsqrt()
        return scale, (mean - center) * scale


def options_of(kind: str) -> dict[str, Any]:
    """Options of a kind here: a ReLU follows wherever it can."""
    relu = {} if getattr(NORMS.get(kind), "contains_activation", False) else {"activation": "relu"}
    return {**OPTIONS.get(kind, {}), **relu}


def ours(kind: str, channels: int) -> nn.Module:
    """Our layer of a kind."""
    if kind == OWN:
        return MyBatchNorm(channels, activation="relu")
    return make(kind, channels, **options_of(kind))


def theirs(kind: str, channels: int) -> nn.Module | None:
    """Torch's layer of a kind with a ReLU, or the chunk loop; None if torch has none."""
    if kind == "ghost_batch":
        return Chunks(channels, OPTIONS["ghost_batch"]["splits"])
    if f"torch_{kind}" not in NORMS:
        return None
    bare = {k: v for k, v in options_of(kind).items() if k != "activation"}
    return nn.Sequential(make(f"torch_{kind}", channels, **bare), nn.ReLU())


def main() -> None:
    given = arguments().parse_args()
    begin(given)
    paths = {"now": Path(__file__).resolve().parent.parent, "before": given.before}
    checkouts = {n: Checkout(p, given.threads) for n, p in paths.items() if given.before}
    print(
        f"{'shape':18}{'layout':15}{'kind':16}{'backend':11}{'ours us':>9}"
        f"{'theirs us':>11}{'theirs/ours':>13}{'before/ours':>13}"
    )
    rows: list[Row] = []
    try:
        for shape, models in chosen(given).items():
            for layout in given.layouts:
                found = measure(shape, layout, given, checkouts)
                rows.extend({**row, "models": list(models)} for row in found)
    finally:
        for checkout in checkouts.values():
            checkout.close()
    for line in summary(rows):
        print(line)
    keep(rows, given)


def arguments() -> argparse.ArgumentParser:
    parser = options("Norm and ReLU beside torch.nn, as ratios.", rounds=60)
    parser.add_argument("--kinds", nargs="*", default=[*KINDS, OWN], choices=[*KINDS, OWN])
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--shapes", choices=("small", "large", "all"), default="all")
    parser.add_argument("--dtype", default="float32", choices=list(DTYPES), help="of the maps")
    parser.add_argument("--layouts", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--seconds", type=float, default=0.4, help="for a row, about")
    parser.add_argument("--before", type=Path, help="another checkout to time beside this one")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--copy", action="store_true")
    return parser


def chosen(given: argparse.Namespace) -> dict[Shape, tuple[str, ...]]:
    """The shapes that the command line asks for, with their models."""
    found = bundled_shapes(given.models)
    if given.shapes == "all":
        return found
    small = given.shapes == "small"
    return {shape: models for shape, models in found.items() if (prod(shape) <= SMALL) == small}


def refused(layer: nn.Module, x: Tensor) -> bool:
    """Whether the kind takes no such maps: instance norm of single pixels has no statistics."""
    try:
        layer(x)
    except ValueError:
        return True
    return False


def measure(
    shape: Shape, layout: str, given: argparse.Namespace, checkouts: dict[str, Checkout]
) -> Iterator[Row]:
    """A row per kind on one shape and layout."""
    x, dy = maps(shape, layout, given.dtype)
    channels = shape[1]
    for kind in given.kinds:
        layer = ours(kind, channels)
        if refused(layer, x):
            continue
        sides: dict[str, Side] = {"ours": timed(step(layer, x, dy))}
        other = theirs(kind, channels)
        if other is not None:
            sides["theirs"] = timed(step(other, x, dy))
            if given.compiled:
                sides["compiled"] = timed(step(torch.compile(other), x, dy))
        else:
            sides["batch"] = timed(step(ours("batch", channels), x, dy))
        if given.dtype != "float32":
            sides["float32"] = timed(step(ours(kind, channels), *maps(shape, layout)))
        if kind != OWN:
            for name, checkout in checkouts.items():
                sides[name] = checkout.side(kind, shape, layout, given.dtype, options_of(kind))
        if given.copy:
            room = torch.empty_like(x)
            sides["copy"] = timed(lambda room=room: room.detach().copy_(x.detach()))
        times = in_turns(sides, least=10, most=given.rounds, seconds=given.seconds)
        row: Row = {"shape": list(shape), "layout": layout, "kind": kind, "dtype": given.dtype}
        row["backend"] = kernels.choose(x).NAME
        row["rounds"] = len(times["ours"])
        row |= {f"{name}_us": round(1e6 * median(taken), 1) for name, taken in times.items()}
        beside = times.keys() - {"ours", "now", "before"}
        row |= {f"{name}/ours": round(ratio(times, name, "ours"), 3) for name in sorted(beside)}
        if "before" in times:
            row["before/ours"] = round(ratio(times, "before", "now"), 3)
        print(text(row), flush=True)
        yield row


def text(row: Row) -> str:
    """A row as it is printed."""
    beside = "theirs" if "theirs_us" in row else "batch"
    marks = {"theirs": "", "batch": " (batch)"}
    extra = "".join(
        f"  {name} {row[f'{name}/ours']:.2f}"
        for name in ("float32", "compiled", "copy")
        if f"{name}/ours" in row
    )
    earlier = f"{row['before/ours']:.2f}" if "before/ours" in row else ""
    return (
        f"{'x'.join(map(str, row['shape'])):18}{row['layout']:15}{row['kind']:16}{row['backend']:11}"
        f"{row['ours_us']:>9}{row[f'{beside}_us']:>11}{row[f'{beside}/ours']:>13.2f}"
        f"{earlier:>13}{marks[beside]}{extra}"
    )


def summary(rows: list[Row]) -> Iterator[str]:
    """Geometric mean and worst row of each kind in each layout: the numbers the goals speak of."""
    for title, column in (
        ("theirs / ours", "theirs/ours"),
        ("our batch norm / ours", "batch/ours"),
        ("ours in float32 / ours", "float32/ours"),
        ("before / ours", "before/ours"),
    ):
        timed_rows = [row for row in rows if column in row]
        if not timed_rows:
            continue
        yield f"\n{title}, geometric mean and least"
        for layout in LAYOUTS:
            for kind in (*KINDS, OWN):
                here = [r for r in timed_rows if r["layout"] == layout and r["kind"] == kind]
                big = [r for r in here if min(r["shape"][2:]) >= 16]
                if here:
                    parts = [_line("all maps", here, column)]
                    parts += [_line("16x16 and larger", big, column)] if big else []
                    yield f"{layout:15}{kind:16}{'   '.join(parts)}"
        yield f"{'all':31}{_line('all maps', timed_rows, column)}"


def _line(name: str, rows: list[Row], column: str) -> str:
    worst = min(rows, key=lambda row: row[column])
    mean = geometric_mean([row[column] for row in rows])
    shape = "x".join(map(str, worst["shape"]))
    return f"{name} {mean:.2f}, {worst[column]:.2f} on {shape} ({len(rows)})"


if __name__ == "__main__":
    main()

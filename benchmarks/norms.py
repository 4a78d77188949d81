"""Norm and ReLU, forward and backward: ours beside torch.nn, as ratios.

    python benchmarks/norms.py                   # every kind on every shape, this machine's threads
    python benchmarks/norms.py --threads 1       # on one core
    python benchmarks/norms.py --compiled        # torch.nn under torch.compile as well (needs a C++ compiler)
    python benchmarks/norms.py --large           # maps of 64 MB, beside a copy of the same size

Each row times its sides in turn, A B A B, after a warm-up, and shows the median of each and the
median of the ratios theirs / ours: above 1 ours is faster. Shapes are those of the bundled models
at their batch sizes. Sides: `ours` (norm and ReLU in one layer, backend printed), `torch` (torch.nn
and nn.ReLU), `chunks` for ghost batch norm (a loop of F.batch_norm over torch.chunk).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import geometric_mean, median

import torch
from timing import begin, interleaved, keep, options, ratio
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.norms import MomentNorm, kernels, make

SHAPES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "mnist-7288": ((128, 8, 26, 26), (128, 8, 24, 24), (128, 8, 22, 22), (128, 16, 9, 9), (128, 16, 7, 7), (128, 16, 5, 5)),
    "mnist-7704": ((64, 8, 26, 26), (64, 16, 24, 24), (64, 16, 10, 10), (64, 16, 8, 8), (64, 16, 6, 6)),
    "digits-small": ((32, 16, 8, 8), (32, 32, 4, 4)),
    "resnet-14": ((32, 16, 32, 32), (32, 32, 16, 16), (32, 64, 8, 8)),
}  # fmt: skip
LARGE = {"large (64 MB)": ((64, 256, 32, 32), (256, 64, 32, 32))}
OPTIONS: dict[str, dict[str, int]] = {
    "group": {"channels_per_group": 4},
    "ghost_batch": {"splits": 8},
}
KINDS = (
    "batch",
    "instance",
    "group",
    "layer",
    "ghost_batch",
    "batch_instance",
    "rms",
    "switchable",
    "batch_renorm",
)


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


def theirs(kind: str, channels: int) -> nn.Module | None:
    """Torch's layer of a kind with a ReLU, or the chunk loop."""
    made: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(channels),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
        "group": lambda: nn.GroupNorm(channels // 4, channels),
        "layer": lambda: nn.GroupNorm(1, channels),
    }
    if kind == "ghost_batch":
        return Chunks(channels, OPTIONS["ghost_batch"]["splits"])
    return nn.Sequential(made[kind](), nn.ReLU()) if kind in made else None


def step(layer: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], object]:
    """Forward and backward of one layer, gradients of input and parameters.

    Gradients are handed over, as in the middle of a net: a leaf's `.grad` would be a copy more.
    """
    wanted = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), wanted, dy)


def main() -> None:
    parser = options("Norm and ReLU beside torch.nn, as ratios.", rounds=60)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    given = parser.parse_args()
    begin(given)
    print(
        f"{'model':14}{'shape':20}{'layout':18}{'kind':16}{'backend':11}{'ours us':>9}{'theirs us':>11}{'ratio':>8}"
    )
    rows: list[dict[str, object]] = []
    for model, shapes in (LARGE if given.large else SHAPES).items():
        for shape in shapes:
            for layout in (torch.contiguous_format, torch.channels_last):
                rows += measure(model, shape, layout, given)
    summary(rows)
    keep(rows, given)


def measure(
    model: str,
    shape: tuple[int, int, int, int],
    layout: torch.memory_format,
    given: argparse.Namespace,
) -> list[dict[str, object]]:
    """A row per kind on one shape and layout."""
    rows: list[dict[str, object]] = []
    source = torch.randn(shape).contiguous(memory_format=layout)
    dy = torch.randn(shape).contiguous(memory_format=layout)
    channels = shape[1]
    reference = make("batch", channels, activation="relu")
    copy = torch.empty_like(source)
    for kind in [*given.kinds, "own (generic)"]:
        x = source.clone(memory_format=torch.preserve_format).requires_grad_()
        if kind == "own (generic)":
            ours: nn.Module = MyBatchNorm(channels, activation="relu")
        else:
            ours = make(kind, channels, activation="relu", **OPTIONS.get(kind, {}))
        backend = kernels.choose(x).NAME
        sides: dict[str, Callable[[], object]] = {"ours": step(ours, x, dy)}
        other = theirs(kind, channels)
        if other is not None:
            sides["theirs"] = step(other, x, dy)
            if given.compiled:
                sides["compiled"] = step(torch.compile(other), x, dy)
        else:  # no counterpart in torch: beside our own batch norm
            sides["batch"] = step(reference, x, dy)
        if given.large:
            sides["copy"] = lambda: copy.copy_(source)
        times = interleaved(sides, max(8, given.rounds // (10 if given.large else 1)))
        row: dict[str, object] = {
            "model": model,
            "shape": list(shape),
            "layout": str(layout).split(".")[1],
            "kind": kind,
            "backend": backend,
        }
        row |= {f"{name}_us": round(1e6 * median(taken), 1) for name, taken in times.items()}
        row |= {
            f"{name}/ours": round(ratio(times, name, "ours"), 3) for name in times if name != "ours"
        }
        if kind in {"batch_instance", "own (generic)"}:
            row["ours/batch"] = round(1 / ratio(times, "batch", "ours"), 3)
        rows.append(row)
        named = "theirs" if other is not None else "batch"
        extra = "".join(
            f"  {name} {row[f'{name}/ours']:.2f}"
            for name in ("compiled", "copy")
            if f"{name}/ours" in row
        )
        print(
            f"{model:14}{'x'.join(map(str, shape)):20}{row['layout']!s:18}{kind:16}{backend:11}"
            f"{row['ours_us']:>9}{row[f'{named}_us']:>11}{row[f'{named}/ours']:>8.2f} {named}{extra}"
        )
    return rows


def summary(rows: list[dict[str, object]]) -> None:
    """The geometric means and the worst rows the goals speak of."""
    print()
    for layout in ("contiguous_format", "channels_last"):
        here = [
            r
            for r in rows
            if r["layout"] == layout
            and r["kind"] in {"batch", "group", "layer", "instance"}
            and "theirs/ours" in r
        ]
        big = [r for r in here if r["shape"][2] >= 16]  # type: ignore[index]
        for name, some in (("maps of 16x16 and larger", big), ("all shapes", here)):
            if some:
                values = [float(str(r["theirs/ours"])) for r in some]
                worst = min(some, key=lambda r: float(str(r["theirs/ours"])))
                print(
                    f"{layout}, {name}: geometric mean {geometric_mean(values):.2f}, "
                    f"least {min(values):.2f} ({worst['kind']} on {worst['shape']})"
                )
        ghost = [
            float(str(r["theirs/ours"]))
            for r in rows
            if r["layout"] == layout and r["kind"] == "ghost_batch"
        ]
        if ghost:
            print(
                f"{layout}, ghost batch at 8 splits beside a chunk loop: {min(ghost):.2f} to {max(ghost):.2f}"
            )
        for kind in ("batch_instance", "own (generic)"):
            cost = [
                float(str(r["ours/batch"]))
                for r in rows
                if r["layout"] == layout and r["kind"] == kind
            ]
            if cost:
                print(
                    f"{layout}, {kind} beside our batch, time: {min(cost):.2f} to {max(cost):.2f}"
                )


if __name__ == "__main__":
    main()

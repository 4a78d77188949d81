"""Dropout, forward and backward, beside `torch.nn.Dropout`, as ratios.

    python benchmarks/dropout.py
    python benchmarks/dropout.py --threads 1

Each row times its sides in turn, A B A B, after a warm-up: median milliseconds, and the median of the
ratios theirs / ours. The shapes are of the 7,704-parameter net at batch 64 and of a ResNet-50 at batch
32 on 32x32. Ours draws from a generator of its own, as in a training.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from timing import begin, interleaved, keep, options, ratio
from torch import Tensor, nn

from normlab.regularizers import Dropout

SHAPES = [(64, 10, 26, 26), (64, 16, 8, 8), (32, 256, 32, 32)]
RATES = [0.01, 0.03, 0.1, 0.2, 0.5]


def step(layer: nn.Module, x: Tensor, upstream: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(layer(x), x, upstream)


def main() -> None:
    given = options("Dropout beside torch.nn's, as ratios.", rounds=60).parse_args()
    begin(given)
    rows: list[dict[str, object]] = []
    for shape in SHAPES:
        for p in RATES:
            x = torch.randn(shape, requires_grad=True)
            upstream, ours = torch.randn(shape), Dropout(p)
            ours.generator = torch.Generator().manual_seed(0)
            times = interleaved(
                {"ours": step(ours, x, upstream), "theirs": step(nn.Dropout(p), x, upstream)},
                given.rounds,
            )
            row: dict[str, object] = {"shape": "x".join(map(str, shape)), "p": p}
            row |= {f"{name}_ms": round(1e3 * median(took), 4) for name, took in times.items()}
            row["theirs / ours"] = round(ratio(times, "theirs", "ours"), 2)
            rows.append(row)
            print(row)
    keep(rows, given)


if __name__ == "__main__":
    main()

"""What the training loop chose by measurement: the form of the optimizer, the images scored at a time.

    python benchmarks/loop.py --threads 1

The first table is a step of SGD with momentum and of Adam on the parameters of each bundled model:
torch's single, foreach and fused form and our call of its fused loops, in turn, with a walk through
16 MB between them, as amid a training, where the caches hold other things. The second is the
forward pass in eval mode of the same images in batches of several sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from shapes import bundled_recipes
from timing import begin, interleaved, keep, options
from torch import Tensor, nn, optim

from normlab.data import describe
from normlab.models import build
from normlab.train.fused import FusedStep

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": partial(optim.SGD, lr=1e-3, momentum=0.9),
    "adam": partial(optim.Adam, lr=1e-3),
}
FORMS: dict[str, dict[str, bool]] = {
    "single": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "torch fused": {"fused": True},
    "ours": {"fused": True},
}
SIZES = (16, 64, 128, 256, 512, 1024)
WALK = 4 << 20  # float32 values


def networks() -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
    """Kind, model and shape of its images, the first of each kind in the bundled studies."""
    seen: set[str] = set()
    for recipe in bundled_recipes():
        if recipe.model.kind not in seen:
            seen.add(recipe.model.kind)
            facts = describe(recipe.data)
            yield (
                recipe.model.kind,
                build(recipe, facts.shape, facts.num_classes).model,
                facts.shape,
            )


def updates(model: nn.Module, kind: str, rounds: int) -> dict[str, float]:
    """Seconds of a step of an optimizer in each form."""
    walk = torch.zeros(WALK)
    sides: dict[str, Callable[[], object]] = {}
    for form, chosen in FORMS.items():
        own = [nn.Parameter(p.detach().clone()) for p in model.parameters()]
        for parameter in own:
            parameter.grad = torch.randn_like(parameter)
        optimizer = OPTIMIZERS[kind](own, **chosen)
        sides[f"walk before {form}"] = partial(walk.add_, 1.0)
        sides[form] = FusedStep(optimizer) if form == "ours" else optimizer.step
    times = interleaved(sides, rounds)
    return {form: median(times[form]) for form in FORMS}


@torch.no_grad()
def scoring(model: nn.Module, shape: tuple[int, ...], rounds: int) -> dict[int, float]:
    """Seconds of the forward pass of 1024 images by images at a time."""
    model.eval()
    images = torch.randn(max(SIZES), *shape)

    def side(size: int) -> list[Tensor]:
        return [model(part) for part in images.split(size)]

    times = interleaved({str(size): partial(side, size) for size in SIZES}, rounds)
    return {size: median(times[str(size)]) for size in SIZES}


def main() -> None:
    """Print both tables."""
    given = options(__doc__.splitlines()[0], rounds=7).parse_args()
    begin(given)
    rows: list[dict[str, object]] = []
    print(f"{'us of a step':24}{'':6}" + "".join(f"{form:>13}" for form in FORMS))
    found = list(networks())
    for name, model, _ in found:
        for kind in OPTIMIZERS:
            seconds = updates(model, kind, given.rounds)
            cells = "".join(f"{value * 1e6:13.0f}" for value in seconds.values())
            print(f"{name:24}{kind:6}{cells}", flush=True)
            rows.append({"model": name, "optimizer": kind, "seconds": seconds})
    print(f"{'over the best':24}" + "".join(f"{size:>7}" for size in SIZES))
    for name, model, shape in found:
        by_size = scoring(model, shape, given.rounds)
        least = min(by_size.values())
        cells = "".join(f"{value / least:7.2f}" for value in by_size.values())
        print(f"{name:24}{cells}", flush=True)
        rows.append({"model": name, "scoring": by_size})
    keep(rows, given)


if __name__ == "__main__":
    main()

"""What is compiled before a model trains is all that it runs."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
import torch

from normlab.convolutions import Conv2d, prepare, shapes
from normlab.convolutions.loops import run, run_winograd
from normlab.models import build
from normlab.native import compiled
from normlab.recipe import Recipe
from normlab.train.loop import Trainer
from normlab.train.stand_in import made_up


def test_a_shape_is_found_for_each_convolution_that_has_ways() -> None:
    net = torch.nn.Sequential(
        Conv2d(3, 8, 3), Conv2d(8, 8, 3, padding=1), Conv2d(8, 8, 3, padding=1),
        Conv2d(8, 8, 3, groups=2), torch.nn.Conv2d(8, 4, 1),
    ).to("meta")  # fmt: skip
    found = shapes(net, (2, 3, 9, 9))
    assert [(shape.inputs, shape.height, count) for shape, count in found.items()] == [
        (3, 9, 1),
        (8, 7, 2),
    ]


def test_nothing_is_compiled_as_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling: list[str] = []
    real = compiled.function

    def noted(name: str, *rest: object) -> int:
        compiling.append(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compiled, "function", noted)
    for module, plan in product((run, run_winograd), ("_plan", "_weights_plan")):
        fresh = cache(getattr(module, plan).__wrapped__)
        monkeypatch.setattr(module, plan, fresh)
    values = {"data": "digits", "model": "digits-small", "batch_size": 20}
    recipe = Recipe.parse(values, "a test")
    trainer = Trainer(recipe, 0, made_up((1, 8, 8), 10, 20, 20), torch.device("cpu"), probes=False)
    prepared = build(recipe, (1, 8, 8), 10, device="meta").model
    prepare(shapes(prepared, (20, 1, 8, 8)), 20, torch.float32)
    ahead = len(compiling)
    assert ahead
    trainer.epoch(1)
    assert len(compiling) == ahead

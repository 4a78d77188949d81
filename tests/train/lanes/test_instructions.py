"""A trial's bits do not hang on the width of the processor's vectors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from normlab.models import build
from normlab.recipe import Recipe
from normlab.train.lanes import rule
from normlab.train.lanes.program import Program
from normlab.train.streams import initialize

SHAPE = (1, 28, 28)


def digest() -> str:
    """Of the gradients of one step in 4 lanes."""
    recipe = Recipe.parse({"model": "mnist-7288", "norm": "batch", "data": "mnist"})
    models = [build(recipe, SHAPE, 10).model.train() for _ in range(4)]
    for seed, model in enumerate(models):
        initialize(model, seed)
    program = Program.of(models[0], SHAPE, 4, 5)
    for lane, model in enumerate(models):
        rows = [p.detach().flatten() for p in model.parameters()]
        program.parameters[:, lane] = torch.cat(rows).numpy()
    for name, norm in program.norms.items():
        layer = models[0].get_submodule(name)
        program.buffers[name] = {
            short: np.repeat(layer.get_buffer(short).numpy()[..., None], 4, axis=-1)
            for short in norm.buffers
        }
    draw = torch.Generator().manual_seed(1)
    images = [torch.randn((5, *SHAPE), generator=draw) for _ in range(4)]
    targets = np.zeros((5, 10, 4), np.float32)
    targets[:, 3] = 1
    program.step(images, targets)
    return hashlib.sha256(program.gradients.tobytes()).hexdigest()


def test_programs_for_avx2_and_avx512_give_the_same_bits() -> None:
    if rule.size() < 16:
        pytest.skip("this processor has no AVX-512")
    told = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "avx2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["8", digest()]


if __name__ == "__main__":
    sys.stdout.write(f"{rule.size()} {digest()}")

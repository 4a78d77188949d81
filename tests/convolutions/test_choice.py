"""The table and the rule beside it."""

from __future__ import annotations

import re

import pytest
import torch

from normlab.convolutions import ways
from normlab.convolutions.choice import TORCH, choose, rule, text
from normlab.convolutions.shape import Shape
from normlab.convolutions.table import TABLE

SHAPE = Shape(16, 32, 8, 9, (3, 3), (2, 2), (1, 1))


def test_the_table_names_ways_of_all_passes() -> None:
    name = re.compile(r"\d+>\d+ \d+x\d+ k[\dx]+ s[\dx]+ p[\dx]+")
    for kind, listed in TABLE.items():
        processor, dtype = kind.split()
        assert processor in {"amx", "avx512_bf16", "avx512", "avx2", "default"}
        assert dtype in {"float32", "bfloat16"}
        for shape, chosen in listed.items():
            assert name.fullmatch(shape)
            passes = chosen.split()
            assert len(passes) == len(ways.PASSES)
            assert set(passes) <= set(ways.WAYS)


def test_shapes_have_names() -> None:
    assert text(SHAPE) == "16>32 8x9 k3 s2 p1"
    assert text(SHAPE._replace(kernel=(1, 3))) == "16>32 8x9 k1x3 s2 p1"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_dtypes_are_torchs(dtype: torch.dtype) -> None:
    assert choose(SHAPE, 8, dtype) == TORCH


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_chosen_can_be_done(dtype: torch.dtype) -> None:
    for inputs in (1, 3, 8, 12, 16, 64):
        for outputs in (8, 10, 32):
            for size in (1, 4, 9, 32):
                for kernel, stride in ((1, 1), (1, 2), (3, 1), (3, 2), (7, 2)):
                    shape = Shape(
                        inputs, outputs, size, size, (kernel, kernel), (stride, stride),
                        (kernel // 2, kernel // 2),
                    )  # fmt: skip
                    for which, way in zip(ways.PASSES, choose(shape, 8, dtype), strict=True):
                        assert ways.can(way, which, shape, 8, dtype)


def test_a_processor_without_vectors_leaves_all_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normlab.convolutions.choice.processor", lambda: "default")
    assert rule(SHAPE, torch.float32) == TORCH
    assert rule(SHAPE._replace(kernel=(1, 1)), torch.bfloat16) == TORCH

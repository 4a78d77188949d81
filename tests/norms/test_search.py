"""Every kind in ways that Hypothesis draws, held against float64 or the error that is due.

`benchmarks/fuzz_layers.py` runs the same search at length, in child processes.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from normlab.norms import NORMS
from tests.norms.planted import over_everything, plain
from tests.norms.search import GOOD, KINDS, Case, draw, judge

ROOT = Path(__file__).parents[2]


@st.composite
def cases(draw_from: st.DrawFn, kind: str) -> Case:
    return draw(lambda options: draw_from(st.sampled_from(options)), (kind,))


@pytest.mark.filterwarnings("ignore")  # of modes that torch calls experimental
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_right_or_says_what_is_wrong(kind: str) -> None:
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(kind))
    def search(case: Case) -> None:
        verdict = judge(case)
        assert verdict.name in GOOD, f"{verdict.name}: {verdict.words}\n--case '{case.line()}'"

    search()


@pytest.mark.parametrize("seed", range(20))
def test_a_line_repeats_its_case(seed: int) -> None:
    case = draw(random.Random(seed).choice)
    assert Case.of(case.line()) == case


def fuzz(*options: str) -> tuple[int, dict[str, int], str]:
    """Status, counts and text of a run of the script."""
    command = [sys.executable, "benchmarks/fuzz_layers.py", *options]
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    rows = [line[:8] + line[8:22] for line in done.stdout.splitlines()[1:8]]
    return (
        done.returncode,
        {row[9:].strip(): int(row[:8]) for row in rows},
        done.stdout + done.stderr,
    )


def test_the_script_counts_every_case() -> None:
    status, counts, text = fuzz("--cases", "40", "--seed", "3")
    assert status == 0, text
    assert sum(counts.values()) == counts["right"] + counts["refused"] == 40


def test_an_unchecked_pointer_is_found() -> None:
    status, counts, text = fuzz("--cases", "40", "--seed", "3", "--plant", "unchecked")
    assert status == 1, text
    assert counts["wrong"] + counts["crashed"] + counts["not refused"] > 0
    assert sum(counts.values()) == 40  # a crash is one case's: the others are judged all the same


class Passes(nn.Module):
    """A layer that lets anything pass."""

    def __init__(self, num_channels: int, **_: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * 1


@pytest.mark.parametrize(
    ("layer", "line", "verdict"),
    [
        (plain("layer"), '{"kind": "layer"}', "right"),
        (plain("layer", forward=over_everything), '{"kind": "layer"}', "wrong"),
        (
            plain("layer", refuse=False),
            '{"kind": "layer", "state": {"weight": "short"}}',
            "nameless",
        ),
        (
            plain("layer", refuse=False),
            '{"kind": "layer", "state": {"weight": "meta"}}',
            "refused",  # torch's own words for another device do
        ),
        (plain("layer"), '{"kind": "layer", "rank": "image"}', "nameless"),
        (Passes, '{"kind": "layer", "state": {"weight": "short"}}', "not refused"),
        (Passes, '{"kind": "layer", "dtype": "uint8"}', "not refused"),
        (Passes, '{"kind": "layer", "dtype": "complex64"}', "not refused"),
        (Passes, '{"kind": "layer", "layer_device": "meta", "shape": [4, 5, 5]}', "not refused"),
    ],
)
def test_the_judge_sees(
    layer: type[nn.Module], line: str, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NORMS, "layer", layer)
    assert judge(Case.of(line)).name == verdict

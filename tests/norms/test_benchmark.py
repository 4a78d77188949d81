"""The benchmark's maps are those of the bundled models, and it times this checkout beside another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from normlab.models import MODELS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shapes() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import shapes as found  # type: ignore[import-not-found]

        yield found
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def found(shapes: ModuleType) -> dict[tuple[int, int, int, int], tuple[str, ...]]:
    return shapes.bundled_shapes()  # type: ignore[no-any-return]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_the_catalog_has_maps_in_the_benchmark(
    model: str, found: dict[tuple[int, int, int, int], tuple[str, ...]]
) -> None:
    assert any(name.startswith(f"{model} at ") for names in found.values() for name in names)


@pytest.mark.parametrize(
    "shape",
    [
        # By hand: 32x32 images, a stem and a pool of stride 2, then halves; the last stage is 1x1.
        (64, 2048, 1, 1),
        (256, 2048, 1, 1),
        (64, 1024, 2, 2),
        (256, 1024, 2, 2),
        (256, 512, 4, 4),
        # A 3x3 convolution without padding on 28x28 digits.
        (128, 8, 26, 26),
    ],
)  # fmt: skip
def test_maps_by_hand_are_among_them(
    shape: tuple[int, int, int, int],
    found: dict[tuple[int, int, int, int], tuple[str, ...]],
) -> None:
    assert shape in found


def rows_of(folder: Path, *asked: str) -> list[dict[str, Any]]:
    """The rows of a short run on the smallest model's maps."""
    rows = folder / "rows.json"
    command = [
        sys.executable, "benchmarks/norms.py", "--models", "digits-small", "--layouts", "contiguous",
        "--threads", "1", "--seconds", "0", "--json", str(rows), *asked,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    kept = json.loads(rows.read_text())
    assert {"processor", "vectors", "torch", "threads"} <= kept.keys()
    found: list[dict[str, Any]] = kept["rows"]
    return found


def test_rows_stand_beside_torch_and_beside_another_checkout(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "--kinds", "batch", "rms", "--before", str(ROOT))
    assert {(row["kind"], tuple(row["shape"])) for row in rows} == {
        (kind, shape) for kind in ("batch", "rms") for shape in ((32, 16, 8, 8), (32, 32, 4, 4))
    }
    assert all(row["before/ours"] > 0 and row["rounds"] >= 10 for row in rows)
    assert all(("theirs/ours" in row) == (row["kind"] == "batch") for row in rows)


def test_bfloat16_rows_stand_beside_float32(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "--kinds", "batch", "--dtype", "bfloat16")
    assert rows
    assert all(row["dtype"] == "bfloat16" and row["backend"] == "cpu" for row in rows)
    assert all(row["float32/ours"] > 0 and row["theirs/ours"] > 0 for row in rows)

"""Whether bfloat16 has a fast path here: measured once, kept, and never in the way."""

import json
from pathlib import Path

import pytest
import torch

from normlab.train import fast_path
from normlab.train.fast_path import Bfloat16Speed, bfloat16_speed, measured


def test_it_is_measured_and_leaves_threads_and_random_state_alone() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    found = measured(threads + 1)
    assert found.product > 0
    assert found.convolution > 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("product", "convolution", "is_fast"),
    [(3.0, 1.5, True), (1.6, 0.9, True), (0.72, 0.4, False), (0.04, 0.2, False), (2, 0.2, False)],
)
def test_fast_is_by_both(product: float, convolution: float, is_fast: bool) -> None:
    assert Bfloat16Speed(product, convolution).is_fast is is_fast


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The thread counts that were measured."""
    found: list[int] = []

    def measure(threads: int) -> Bfloat16Speed:
        found.append(threads)
        return Bfloat16Speed(2.0, 0.5 + threads)

    monkeypatch.setattr(fast_path, "measured", measure)
    return found


def test_it_is_kept_by_processor_torch_and_threads(
    tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    first = bfloat16_speed("A", 1, folder=folder)
    assert first == bfloat16_speed("A", 1, folder=folder) == Bfloat16Speed(2.0, 1.5)
    assert calls == [1]
    bfloat16_speed("A", 2, folder=folder)
    bfloat16_speed("B", 1, folder=folder)
    assert calls == [1, 2, 1]
    assert bfloat16_speed("A", 1, folder=folder) == first
    monkeypatch.setattr(torch, "__version__", "0.1")
    bfloat16_speed("A", 1, folder=folder)
    assert calls == [1, 2, 1, 1]


def test_without_measuring_only_what_is_kept_is_told(tmp_path: Path, calls: list[int]) -> None:
    assert bfloat16_speed("A", 1, measure=False, folder=tmp_path) is None
    assert not calls
    known = bfloat16_speed("A", 1, folder=tmp_path)
    assert bfloat16_speed("A", 1, measure=False, folder=tmp_path) == known


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: "no JSON",
        lambda kept: "[]",
        lambda kept: json.dumps({key: [1.0] for key in kept}),
        lambda kept: json.dumps({key: [0.0, 1.0] for key in kept}),
        lambda kept: json.dumps({key: ["1", "2"] for key in kept}),
        lambda kept: json.dumps({key: [float("nan"), 1.0] for key in kept}),
    ],
)
def test_what_is_damaged_is_measured_anew(tmp_path: Path, calls: list[int], change: object) -> None:
    bfloat16_speed("A", 1, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(change(json.loads(file.read_text())))  # type: ignore[operator]
    assert bfloat16_speed("A", 1, folder=tmp_path) == Bfloat16Speed(2.0, 1.5)
    assert bfloat16_speed("A", 1, folder=tmp_path) == Bfloat16Speed(2.0, 1.5)
    assert calls == [1, 1]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, calls: list[int]) -> None:
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        assert bfloat16_speed("A", 1, folder=tmp_path / "file") == Bfloat16Speed(2.0, 1.5)
    assert calls == [1, 1]


def test_it_lies_in_the_user_s_cache(
    tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "there"))
    bfloat16_speed("A", 1)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["bfloat16.json"]

"""What the guide says of predicted costs is what the benchmark's rows say."""

import json
from pathlib import Path

from normlab.study.files import bundled

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / "benchmarks" / "results" / "costs_epyc_threads1.json").read_text("utf-8"))
PAGE = " ".join((ROOT / "docs" / "first-study.md").read_text("utf-8").split())


def test_the_rows_are_of_bundled_studies_and_name_their_processor() -> None:
    assert KEPT["processor"]
    assert {row["study"] for row in KEPT["rows"]} <= set(bundled())
    assert len(KEPT["rows"]) >= 3


def test_the_guide_quotes_the_rows() -> None:
    rows = KEPT["rows"]
    *ratios, last = sorted(f"{row['predicted / wall']:.2f}" for row in rows)
    assert f"predicted to take {', '.join(ratios)} and {last} times as long" in PAGE
    memory = sorted(row["peak memory"] for row in rows)
    assert f"Peak memory was {memory[0]} to {memory[-1]} times" in PAGE
    least = min(row["images/s, least"] for row in rows)
    most = max(row["images/s, most"] for row in rows)
    assert f"images per second of single arms {least:.1f} to {most:.0f} times" in PAGE

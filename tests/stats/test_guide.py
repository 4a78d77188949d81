"""The guide to the statistics: its example runs, and what it names is there."""

import importlib
import re
from pathlib import Path

import pytest

from normlab import stats
from normlab.stats.claims.trend import CONTRASTS

GUIDE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_the_example_runs_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    exec(compile(code, "statistics.md", "exec"), {"__name__": "guide"})
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("supported None 0.0005")
    assert float(second.split()[0]) == pytest.approx(0.0014, abs=2e-4)
    assert "no p below 0.1" in third


def test_every_contrast_is_explained() -> None:
    for name in CONTRASTS:
        assert f"`{name}`" in GUIDE


def test_what_the_guide_names_is_there() -> None:
    table = GUIDE[GUIDE.index("## Each statistic") : GUIDE.index("## Tests other")]
    named = re.findall(
        r"`((?:\w+\.)?[A-Za-z_]+)`",
        "\n".join(line.split("|")[3] for line in table.splitlines() if line.count("|") == 4),
    )
    assert len(named) > 20
    for name in named:
        if name == "normlab.stats":
            continue
        module, _, attribute = name.rpartition(".")
        owner = importlib.import_module(f"normlab.stats.{module}") if module else stats
        assert hasattr(owner, attribute), name

"""What the sources printed, one run a cell, settles none of their sentences."""

import csv
from pathlib import Path

import pytest

from normlab import api
from normlab.metrics import METRICS
from normlab.stats.claims import CLAIMS
from normlab.stats.claims.claim import TOO_FEW
from normlab.study.files import bundled
from normlab.study.resolve import outline


def numbers(values: dict[str, object]) -> dict[str, object]:
    """A row's printed metrics by name, the best epoch's for the last one's."""
    known = {name.removeprefix("best_"): value for name, value in values.items()}
    return {
        f"{name}_percent" if METRICS[name].points else name: value
        for name, value in known.items()
        if name in METRICS and isinstance(value, int | float)
    }


PRINTED = [  # source B printed no number
    name for name in bundled() if any(numbers(row.values) for row in api.load_study(name).published)
]


@pytest.mark.parametrize("name", PRINTED)
def test_one_printed_run_an_arm_is_inconclusive_with_the_reason(name: str, tmp_path: Path) -> None:
    plan = outline(api.load_study(name))
    rows: dict[str, dict[str, object]] = {
        arm.label: {"arm": arm.label, "seed": 0} for arm in plan.arms
    }
    for printed in plan.published:
        for arm in printed.arms:
            rows[arm] |= numbers(printed.values)
    columns = {key: None for row in rows.values() for key in row}
    for time in (claim.time for claim in plan.judged):
        if time:
            columns |= {f"{time.clock}_to_{time.target:g}": None, time.clock: None}
    with (tmp_path / "printed.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows.values())
    found = api.claims_from(tmp_path / "printed.csv", name)
    assert len(found) == len(plan.claims) > 0
    assert set(found["verdict"]) == {"inconclusive"}
    fewest = {TOO_FEW.format(CLAIMS[claim.kind].fewest) for claim in plan.judged}
    assert set(found["reason"]) == fewest

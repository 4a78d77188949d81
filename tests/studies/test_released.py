"""What the released trials say of the claims that were changed after they had been seen."""

from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from normlab import api
from normlab.frames import claim_table
from normlab.study import released as module
from normlab.study.files import bundled
from normlab.study.released import QUICK, released, released_frames
from normlab.study.spec import Study

WHOLE = [name for name in released() if not name.endswith(QUICK)]


@cache
def verdicts(name: str) -> pd.DataFrame:
    frames = released_frames(api.load_study(name))
    assert frames is not None
    return claim_table(frames).set_index("claim")


@pytest.mark.parametrize(
    ("claim", "points"),
    [("L1 alone beats L1 with L2", 0.38), ("L2 alone beats L1 with L2", 0.24)],
)
def test_one_penalty_is_above_both_over_the_last_ten_epochs(claim: str, points: float) -> None:
    row = verdicts("mnist-l1-l2-gbn").loc[claim]
    assert row["verdict"] == "supported"
    assert 100 * row["estimate"] == pytest.approx(points, abs=0.005)
    # On the pilot's seeds, 0 to 4, it was 0.42 and 0.27.
    assert 0 < row["low"]


def test_l1_brings_no_improvement_over_the_baseline() -> None:
    row = verdicts("mnist-l1-l2-gbn").loc["L1 with BatchNorm is no better than the baseline"]
    assert row["verdict"] == "supported"
    assert row["high"] < 0


def test_the_own_batch_norm_ends_at_torch_s_loss_on_caltech() -> None:
    row = verdicts("resnet14-norms").loc["The own BatchNorm ends at torch's loss"]
    assert (row["verdict"], row["seeds"]) == ("supported", 3)
    assert max(abs(row["low"]), abs(row["high"])) < 0.02


@pytest.mark.parametrize("name", WHOLE)
def test_changed_claims_alone_are_exploratory_on_the_seeds_that_were_seen(name: str) -> None:
    study = api.load_study(name)
    frames = released_frames(study)
    assert frames is not None
    is_fresh = min(frames.plan.seeds) >= study.first_seed  # nobody had seen them
    changed = {claim.name for claim in study.claims if claim.declared and not is_fresh}
    why = verdicts(name)["exploratory"]
    assert set(why[why.notna()].index) == changed


@pytest.mark.parametrize("name", [name for name in bundled() if name != "digits-norms"])
def test_its_seeds_are_fresh_but_for_the_quick_variant(name: str) -> None:
    study = Study.load(name)
    assert study.seeds[0] == study.first_seed == 100
    assert study.vary(quick=True).seeds == (0, 1)
    assert {claim.declared for claim in study.claims} <= {None, "0.2"}


def test_a_pilot_is_left_out_once_there_are_fresh_seeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = api.load_study("mnist-norms")
    (pilot,) = (path for name, path in module.released().items() if name == study.name)
    header, *lines = pilot.read_text(encoding="utf-8").splitlines()
    place = header.split(",").index("seed")
    fresh = []
    for line in lines:
        cells = line.split(",")
        cells[place] = str(int(cells[place]) + study.first_seed)
        fresh.append(",".join(cells))
    (tmp_path / pilot.name).write_text("\n".join([header, *lines, *fresh]), encoding="utf-8")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    frames = module.released_frames(study)
    assert frames is not None
    assert frames.plan.seeds == (100, 101, 102)
    assert set(frames.trials["seed"]) == set(frames.epochs["seed"]) == {100, 101, 102}
    assert claim_table(frames)["exploratory"].isna().all()

"""The plan's record: stored as JSON, read back, and read from stores of earlier versions."""

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.plans import plan_of

from normlab import api
from normlab.figures.drawing import figures_of
from normlab.frames import claim_table, load_frames
from normlab.frames.csv_text import csv_text
from normlab.records.plan import PLAN_VERSION, ArmRecord, PlanRecord, TrialRecord, UnresolvedClaim
from normlab.reports import write_report
from normlab.store import Store
from normlab.study.plan import make_plan
from normlab.study.spec import Study

ASSETS = Path(__file__).parents[1] / "store" / "assets"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with the store that normlab 0.1 wrote for `plan-1.yaml`."""
    folder = tmp_path / "runs" / "kept"
    folder.mkdir(parents=True)
    shutil.copy(ASSETS / "plan-1.sqlite", folder / "store.sqlite")
    Store.bring_up_to_date(folder)  # its schema; the plan stays of the version before
    return folder


def study() -> Study:
    return Study.load(ASSETS / "plan-1.yaml").model_copy(update={"name": "kept"})


def test_a_plan_of_the_version_before_is_the_plan_of_today(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normlab.recipe.recipe.SEMANTICS", 2)  # its trials are of that time
    with Store.read(old) as store:
        found = store.plan()
    made = make_plan(study()).record
    assert found.version == made.version == PLAN_VERSION
    assert found.claims == made.claims  # hashes among them
    assert found.arms == made.arms  # trial ids among them
    assert (found.analysis, found.published) == (made.analysis, made.published)
    assert [f.name for f in found.figures] == [f.name for f in made.figures]
    assert found.declaration == made.declaration


def test_its_verdicts_are_those_that_it_had(old: Path) -> None:
    with Store.read(old) as store:
        table = claim_table(load_frames(store))
    now = pd.read_csv(io.StringIO(csv_text(table)))
    before = pd.read_csv(ASSETS / "plan-1.claims.csv")
    # Its arms have two seeds, of which normlab 0.1 gave intervals: what is measured is as it was.
    same = ["claim", "kind", "says", "metric", "verdict", "margin", "seeds", "alpha"]
    pd.testing.assert_frame_equal(now[same], before[same], rtol=1e-12)
    # Of several pairs the one with the lowest limit was shown.
    single = ~now["kind"].isin(["ranking", "best"])
    # What falls has a minus since 0.2.
    pd.testing.assert_series_equal(
        now["estimate"][single].abs(), before["estimate"][single], rtol=1e-12
    )
    assert now["low"].isna().all()


def test_its_figures_are_drawn(old: Path) -> None:
    with Store.read(old) as store:
        shown = figures_of(load_frames(store))
    assert [figure.name for figure in shown if figure.drawn] == [
        "effects",
        "factor",
        "dots",
        "curves",
    ]
    assert "Dropout" in write_report(old).read_text(encoding="utf-8")


def test_its_trials_are_not_trained_again(old: Path) -> None:
    for trial in make_plan(study()).trials:
        for name in ("weights.pt", "predictions.npz"):
            (old / "artifacts" / trial).mkdir(parents=True, exist_ok=True)
            (old / "artifacts" / trial / name).write_bytes(b"")
    assert api.status("kept", runs=old.parent).finished == 8
    api.run(study(), runs=old.parent)
    with Store.read(old) as store:
        assert store.plan().version == PLAN_VERSION
        (look, *_) = store.looks()
        assert look.declared == store.plan().declaration
        assert claim_table(load_frames(store))["exploratory"].isna().all()


def test_a_plan_comes_back_as_it_was() -> None:
    arm = ArmRecord(
        label="a",
        levels={"norm": {"kind": "group", "groups": 4}},
        trials=(
            TrialRecord(seed=0, id="x", phase="tuning", variant="lr=0.1"),
            TrialRecord(seed=7, id="y"),
        ),
    )
    lacking = UnresolvedClaim(name="c", kind="best", unresolved="no arm")
    made = plan_of([arm.model_dump(), "b"], claims=[lacking.model_dump()], seeds=[0, 7])
    assert PlanRecord.from_json(made.to_json()) == made
    assert made.judged == ()


def test_arms_may_have_different_seeds_and_are_trained_seed_by_seed() -> None:
    arms = [
        {"label": "a", "trials": [{"seed": 0, "id": "a0"}, {"seed": 1, "id": "a1"}]},
        {"label": "b", "trials": [{"seed": 5, "id": "b5"}]},
    ]
    made = plan_of(arms)
    assert [trial.id for _, trial in made.by_seed()] == ["a0", "b5", "a1"]
    assert made.names == {"a0": "a, seed 0", "a1": "a, seed 1", "b5": "b, seed 5"}


def test_what_is_declared_has_a_hash_of_its_own() -> None:
    made = make_plan(study()).record
    assert made.declared == make_plan(study()).record.declared
    for change in ({"seeds": (0,)}, {"sequential": (2, 4)}):
        assert made.model_copy(update=change).declared != made.declared


@pytest.mark.parametrize("text", ["[]", "{}", '{"version": 2, "name": 3}', "3"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"PlanRecord"):
        PlanRecord.from_json(text)


def test_claims_are_resolved_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from normlab.stats.claims.keys import ClaimKeys

    resolved: list[str] = []
    record = ClaimKeys.record

    def counted(self: ClaimKeys, *arguments: object) -> object:
        resolved.append(self.kind)
        return record(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ClaimKeys, "record", counted)
    results = api.run(study(), runs=tmp_path)
    results.report()
    api.claims("kept", runs=tmp_path)
    assert len(resolved) == len(study().claims)


def test_other_values_leave_nothing_behind_of_the_old_ones() -> None:
    made = plan_of([{"label": "a", "trials": [{"seed": 0, "id": "x"}]}])
    assert (set(made.trials), set(made.names), made.judged) == ({"x"}, {"x"}, ())
    arm = ArmRecord(label="b", trials=(TrialRecord(seed=1, id="y"),))
    changed = made.model_copy(update={"arms": (arm,)})
    assert (set(changed.trials), set(changed.names)) == ({"y"}, {"y"})


def test_a_path_of_bytes_that_are_no_text_is_kept() -> None:
    made = plan_of().model_copy(update={"file": "../dir\udcff/s.yaml"})
    assert PlanRecord.from_json(made.to_json()).file == made.file


@pytest.mark.parametrize(
    ("arms", "why"),
    [
        (["a", "a"], "two arms have one label"),
        ([{"label": "a", "trials": [{"seed": s, "id": "x"} for s in (0, 1)]}], "two trials have"),
        ([{"label": "a", "trials": [{"seed": 0, "id": i} for i in "xy"]}], "'a' have one seed"),
    ],
)
def test_what_is_there_twice_is_refused(arms: list[object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        plan_of(arms)  # type: ignore[arg-type]

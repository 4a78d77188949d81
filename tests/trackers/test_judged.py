"""Claims judged on a source: what is said beside the verdicts, and on trials that others ran."""

import csv
import dataclasses
import errno
import shlex
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from tests.trackers.made_runs import SCORES, of, run, runs, study

import normlab
from normlab.errors import UserError
from normlab.trackers import judged, sketch
from normlab.trackers.runs import LeftOut

ASSETS = Path(__file__).parent / "assets"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    rows = [f"{norm},{i},{v}" for norm, vs in SCORES.items() for i, v in enumerate(vs)]
    path.write_text("\n".join(["norm,seed,accuracy", *rows]))
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is read as runs made in this test."""
    folder = tmp_path / "store"
    folder.mkdir()
    others = [run(f"o{i}", {"lr": i}) for i in range(5)]
    found = of([*runs("val_acc"), *others])
    monkeypatch.setattr("normlab.trackers.read.read_runs", lambda source: found)
    monkeypatch.setattr(sketch, "read_runs", lambda source: found)
    return folder


TOLD = {"test_accuracy": "val_acc"}


def test_what_is_left_out_and_not_known_stands_beside_the_verdicts(store: Path) -> None:
    found = normlab.claims_from(store, study(), map=TOLD)
    assert found["verdict"].tolist() == ["supported"]
    assert found.attrs["left_out"] == [
        {"reason": "no parameter 'norm'", "runs": 5, "examples": ["o0", "o1", "o2"]}
    ]
    (note,) = found.attrs["notes"]
    assert note.startswith("Not known: whether the test images chose epochs or hyperparameters")
    for chosen in ("validation", "nothing"):
        found = normlab.claims_from(store, study(), map=TOLD, selected_on=chosen)  # type: ignore[arg-type]
        assert found.attrs["notes"] == []
        assert found["exploratory"].tolist() == [None]
    found = normlab.claims_from(store, study(), map=TOLD, selected_on="test")
    assert "the test images chose epochs" in found["exploratory"][0]


def test_a_table_s_columns_are_told_or_asked(table: Path) -> None:
    with pytest.raises(UserError, match="'accuracy' does not say which images"):
        normlab.claims_from(table, study())
    found = normlab.claims_from(table, study(), map={"test_accuracy": "accuracy"})
    assert found["estimate"][0] == pytest.approx(sum(SCORES["batch"]) / 3 - sum(SCORES["none"]) / 3)
    with pytest.raises(
        UserError, match=r"--map seed=x: .*has no column 'x'; it has norm, seed, acc"
    ):
        normlab.claims_from(table, study(), map={"test_accuracy": "accuracy", "seed": "x"})
    with pytest.raises(UserError, match="--names is for runs that another tool logged"):
        normlab.claims_from(table, study(), names="{norm}")
    sure = table.with_name("sure.csv")
    sure.write_text(table.read_text().replace("accuracy", "test_acc"))
    assert len(normlab.claims_from(sure, study())) == 1


def test_a_column_that_is_told_takes_the_place_of_the_one_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{n},{i},0.5,{v}" for n, vs in SCORES.items() for i, v in enumerate(vs)]
    path.write_text("\n".join(["norm,seed,test_accuracy,final", *rows]))
    found = normlab.claims_from(path, study(), map={"test_accuracy": "final"})
    assert found["estimate"][0] > 0.1


def test_the_first_argument_still_has_its_old_name(table: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"claims_from\(csv=...\) is now .*source=..."):
        normlab.claims_from(  # type: ignore[call-arg]
            csv=table, study=study(), map={"test_accuracy": "accuracy"}
        )


def test_a_source_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        normlab.claims_from(tmp_path / "nowhere", study())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="an empty folder without runs"):
        normlab.claims_from(tmp_path / "empty", study())
    binary = tmp_path / "x.bin"
    binary.write_bytes(b"\0\1\2")
    with pytest.raises(UserError, match="a file without runs"):
        normlab.claims_from(binary, study())
    assert not judged.is_table(binary)


def test_trials_that_others_ran_are_judged_as_scipy_does() -> None:
    """Perceptrons on MNIST: see assets/README.md."""
    source, file = ASSETS / "mnist-mlps.csv", ASSETS / "mnist-mlps.yaml"
    found = normlab.claims_from(source, file, selected_on="validation")
    rows = {row["claim"]: row for row in found.to_dict("records")}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "dropout helps two layers": "supported",
        "dropout does nothing for a wide layer": "supported",
        "decay helps": "refuted",
    }
    with source.open() as lines:
        cells = list(csv.DictReader(lines))

    def scores(architecture: str, regularizer: str) -> list[float]:
        return [
            float(row["test_accuracy_percent"]) / 100
            for row in cells
            if (row["architecture"], row["regularizer"]) == (architecture, regularizer)
        ]

    welch: Any = stats.ttest_ind(
        scores("2*115", "dropout"), scores("2*115", "none"), equal_var=False
    )
    interval = welch.confidence_interval(1 - 0.05 / 3)
    row = rows["dropout helps two layers"]
    assert row["seeds"] == 10
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), rel=1e-7)


# -- a study file for what is there ---------------------------------------------------------


def judge(file: Path, source: Path, **asked: Any) -> list[str]:
    return list(normlab.claims_from(source, file, **asked)["verdict"])


def test_a_study_file_is_written_for_a_store_and_judges_it(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run of the study has a metric 'loss'"):
        normlab.new_study(store, out=tmp_path / "no.yaml", map={"validation_loss": "loss"})
    assert not (tmp_path / "no.yaml").exists()
    file = normlab.new_study(store, out=tmp_path / "s.yaml", map=TOLD)
    text = file.read_text()
    assert "6 runs, 2 arms, 3 runs each" in text
    assert "norm: [batch, none]" in text
    assert "seeds: [0, 1, 2]" in text
    assert "--map test_accuracy=val_acc" in text
    assert "lr" not in text.split("factors:")[1]
    assert judge(file, store, map=TOLD) == ["supported"]
    with pytest.raises(UserError, match=r"s\.yaml is there already"):
        normlab.new_study(store, out=file, map=TOLD)
    assert file.read_text() == text


def test_the_command_in_a_study_file_is_one_that_a_shell_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = of(runs("val acc here"))
    monkeypatch.setattr(sketch, "read_runs", lambda source: found)
    source, file = tmp_path / "my runs", tmp_path / "of them.yaml"
    source.mkdir()
    told = {"test_accuracy": "val acc here"}
    normlab.new_study(source, out=file, map=told, names="{norm}-s{seed}", group="g")
    (line,) = [line for line in file.read_text().splitlines() if "Judge them" in line]
    assert shlex.split(line.removeprefix("# Judge them: ")) == [
        "normlab", "claims", str(file), "--from", str(source), "--map",
        "test_accuracy=val acc here", "--names", "{norm}-s{seed}", "--group", "g",
    ]  # fmt: skip
    with pytest.raises(UserError, match="no experiment or project 'h'; there are: g"):
        normlab.new_study(source, out=tmp_path / "h.yaml", map=told, group="h")


def test_what_is_not_looked_at_stands_in_the_study_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [LeftOut(run=f"r{i}", reason="it was deleted") for i in range(2)]
    going = run("now", {"norm": "batch", "seed": 9}, state="running")
    found = dataclasses.replace(
        of([*runs("test_acc"), going], left_out=lost), notes=("q.db cannot be read",)
    )
    monkeypatch.setattr(sketch, "read_runs", lambda source: found)
    (tmp_path / "s").mkdir()
    text = normlab.new_study(tmp_path / "s", out=tmp_path / "s.yaml").read_text()
    assert text.splitlines()[1:4] == [
        "# Left out: 2 runs: it was deleted.",
        "# Left out: 1 run: failed, killed or still running.",
        "# q.db cannot be read.",
    ]
    monkeypatch.setattr(sketch, "read_runs", lambda source: of([], left_out=lost))
    with pytest.raises(UserError, match=r"has no finished runs\. Left out: 2 runs: it was deleted"):
        normlab.new_study(tmp_path / "s", out=tmp_path / "t.yaml")


def test_a_study_file_is_written_whole_or_not_at_all(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("normlab.files.os.fsync", full)
    with pytest.raises(UserError, match=r"w\.yaml cannot be written: No space left on device"):
        normlab.new_study(store, out=store.parent / "w.yaml")
    assert [path.name for path in store.parent.iterdir()] == ["store"]


def test_a_metric_of_validation_alone_is_what_the_claim_is_about(store: Path) -> None:
    text = normlab.new_study(store, out=store.parent / "v.yaml").read_text()
    assert "metric: validation_accuracy" in text
    assert judge(store.parent / "v.yaml", store) == ["supported"]


def test_names_of_runs_make_the_factors(store: Path) -> None:
    file = normlab.new_study(store, out=store.parent / "n.yaml", names="{norm}-s{seed}", map=TOLD)
    assert "--names '{norm}-s{seed}'\n" in file.read_text()
    assert judge(file, store, names="{norm}-s{seed}", map=TOLD) == ["supported"]


def test_a_study_file_for_a_table_needs_no_more(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [
        f"{norm},{size},{seed},{0.8 + seed / 100 + (norm == 'a') / 10},{seed * 7 + size}"
        for norm in "ab"
        for size in (4, 64)
        for seed in range(3)
    ]
    path.write_text("\n".join(["Norm,batch size,seed,test_acc,seconds", *rows]))
    file = normlab.new_study(path, out=tmp_path / "t.yaml")
    text = file.read_text()
    assert "Norm: [a, b]" in text
    assert "batch size: [4, 64]" in text
    assert "arm: {Norm: a}, over: {Norm: b}" in text
    assert judge(file, path) == ["supported"]


def test_arms_that_are_no_grid_are_written_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    arms = [("batch", ""), ("group", "4"), ("group", "8")]
    rows = [
        f"{norm},{groups},{seed},{0.8 + seed / 100}" for norm, groups in arms for seed in (0, 1)
    ]
    path.write_text("\n".join(["norm,groups,seed,test_accuracy", *rows]))
    file = normlab.new_study(path, out=tmp_path / "t.yaml")
    assert "label: 'norm batch, groups null'" in file.read_text()
    assert judge(file, path) == ["inconclusive"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed,test_accuracy\n0,0.9\n1,0.8\n", "no parameter takes several values"),
        ("norm,seed\na,0\nb,1\n", "no metric is certain to be test_accuracy; there are none"),
        ("norm,seed,accuracy\na,0,0.9\nb,1,0.8\n", "--map test_accuracy=accuracy"),
        ("", "it is empty"),
    ],
)
def test_a_table_that_tells_too_little_writes_nothing(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        normlab.new_study(path, out=tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()

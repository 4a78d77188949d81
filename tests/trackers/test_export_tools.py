"""Exports, written by the tools' own packages and read back by their own interfaces."""

import json
import math
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.made_stores import trial_id
from tests.trackers.conftest import There
from tests.trackers.to_export import (
    EPOCHS,
    EVERY,
    HOME,
    HOSTILE,
    LABELS,
    accuracy,
    fill,
)

import normlab

pytestmark = pytest.mark.xdist_group("trackers")
TOOLS = ("mlflow", "tensorboard", "trackio", "wandb")
_COMMAND = """
import sys
from normlab.cli import main
sys.argv = ["normlab", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    print()
    print(ended.code or 0)
    sys.exit(0)
"""
Exporting = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def export(there: There) -> Exporting:
    """A function: run folder, tool, place -> what `normlab export --json` says."""

    def run(folder: Path, tool: str, dest: Path | str) -> dict[str, Any]:
        words = ["export", folder.name, dest, "--to", tool, "--runs", folder.parent, "--json"]
        out, _, code = there(*words, code=_COMMAND).rstrip().rpartition("\n")
        assert code == "0"
        found: dict[str, Any] = json.loads(out)
        return found

    return run


@pytest.fixture(scope="module")
def refused(there: There) -> Callable[..., str]:
    """A function: run folder, tool, place -> the message of an export with exit code 2."""

    def run(folder: Path, tool: str, dest: Path | str) -> str:
        words = ["export", folder.name, dest, "--to", tool, "--runs", folder.parent]
        code = f"import sys\nsys.stderr = sys.stdout\n{_COMMAND}"
        out, _, ended = there(*words, code=code).rstrip().rpartition("\n")
        assert ended == "2"
        return out.strip()

    return run


@pytest.fixture(scope="module")
def back(there: There) -> Callable[[str, Path], dict[str, Any]]:
    """A function: tool, place -> what the tool's own package reads."""

    def read(tool: str, dest: Path) -> dict[str, Any]:
        environ = {"TRACKIO_DIR": str(dest)}
        out = there(tool, dest, script="exported_back.py", environ=environ)
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    return read


def place(tool: str, folder: Path) -> Path:
    return folder / "new" / "m.db" if tool == "mlflow" else folder / "new"


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("runs") / "paper", EVERY)


@pytest.fixture(scope="module")
def exported(
    paper: Path, export: Exporting, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A function: tool -> where the study was exported to."""
    made: dict[str, Path] = {}

    def run(tool: str) -> Path:
        if tool not in made:
            made[tool] = place(tool, tmp_path_factory.mktemp(tool))
            said = export(paper, tool, made[tool])
            assert (said["arms"], said["added"], said["known"]) == (3, 9, 0)
        return made[tool]

    return run


def numbers(label: str, seed: int) -> dict[str, list[list[float]]]:
    """What a trial's run must have of some metrics: steps and values."""
    return {
        "test_accuracy": [[e, accuracy(label, seed, e)] for e in range(1, EPOCHS + 1)],
        "train_loss": [[1, 1 / 3], [3, 1 / 3]],
        "gap": [[EPOCHS, 0.95 - accuracy(label, seed, EPOCHS)]],
        "total_seconds": [[EPOCHS, 4.5]],
    }


def params(label: str, seed: int) -> dict[str, object]:
    return {
        "arm": label,
        "seed": seed,
        "norm.kind": "group",
        "norm.groups": LABELS.index(label),
        "norm": f"{{kind: group, groups: {LABELS.index(label)}}}",
        "lr": 0.1,
        "nesterov": True,
        "l1": "null",
        "data.path": "pictures",
    }


def test_mlflow_has_a_run_per_arm_and_within_it_one_per_seed(
    exported: Callable[[str], Path], back: Callable[..., dict[str, Any]]
) -> None:
    found = back("mlflow", exported("mlflow"))
    runs = found["runs"]
    parents = {r["tags"]["normlab.arm"]: r for r in runs if r["tags"]["normlab.kind"] == "arm"}
    assert set(parents) == set(LABELS)
    assert len(runs) == len(EVERY) + len(LABELS)
    trials = {r["tags"]["normlab.trial"]: r for r in runs if "normlab.trial" in r["tags"]}
    for label, seed in EVERY:
        run = trials[trial_id(label, seed)]
        assert run["tags"]["mlflow.parentRunId"] == parents[label]["id"]
        assert run["tags"]["normlab.chip"] == "abacus"
        assert run["name"] == f"{label}, seed {seed}"
        invalid = (label, seed) == (HOSTILE, 2)
        assert run["state"] == ("FAILED" if invalid else "FINISHED")
        assert run["began"] <= run["metrics"]["lr"][0][2] <= run["ended"]
        for key, value in params(label, seed).items():
            assert run["params"][key] == str(value)
        for name, points in numbers(label, seed).items():
            assert [point[:2] for point in run["metrics"][name]] == points
    layer = parents["layer"]
    assert layer["metrics"]["test_accuracy_mean"][0][:2] == [3, pytest.approx(0.6 + 0.01 + 3 / 70)]
    assert layer["metrics"]["test_accuracy_low"][0][1] < 0.6 + 0.01 + 3 / 70
    # Of the hostile arm's trials one is invalid, and too few are left for an interval.
    assert parents[HOSTILE]["metrics"]["trials_finished"][0][:2] == [2, 2]
    assert "test_accuracy_low" not in parents[HOSTILE]["metrics"]
    for tags in (layer["tags"], parents["batch"]["tags"], found["tags"]):
        assert tags["normlab.verdict.layer beats batch"] == "supported"
        assert tags["normlab.verdict.odd: _b_x_/b_/_ _1___"] == "refuted"
        sentence = tags["normlab.claim.layer beats batch"]
        assert sentence.startswith("supported. Layer beats batch by 10 points")
    assert not any(key.startswith("normlab.verdict") for key in parents[HOSTILE]["tags"])
    assert all(uri.startswith("mlflow-artifacts:/") for uri in found["places"])


def test_tensorboard_has_a_folder_per_arm_and_seed(
    exported: Callable[[str], Path], back: Callable[..., dict[str, Any]]
) -> None:
    runs = {run["name"]: run for run in back("tensorboard", exported("tensorboard"))["runs"]}
    arm = {
        run["params"]["arm"]: run["name"].split("/")[0] for run in runs.values() if run["params"]
    }
    assert set(arm) == set(LABELS)
    assert re.fullmatch(r"_b_x__b__\.\.__ _1_+-[0-9a-f]{8}", arm[HOSTILE])
    folders = [f"{arm[label]}/seed-{seed}" for label, seed in EVERY]
    assert set(runs) == {".", *arm.values(), *folders}
    for label, seed in EVERY:
        run = runs[f"{arm[label]}/seed-{seed}"]
        assert run["group"] == label
        assert params(label, seed).items() <= run["params"].items()
        for name, points in numbers(label, seed).items():
            values = [[step, pytest.approx(value, rel=1e-6)] for step, value in points]
            assert [point[:2] for point in run["metrics"][name]] == values
        assert f"| normlab.trial | {trial_id(label, seed)} |" in run["texts"][0]
    assert "layer beats batch: supported." in runs["layer"]["texts"][0]
    assert runs["layer"]["metrics"]["trials_finished"][0][:2] == [3, 3]
    assert runs["."]["infos"] == ["arm", "parameters", "norm", "norm.groups", "seed"]
    assert "Which <norm>?" in runs["."]["texts"][0]


def test_trackio_has_a_group_per_arm(
    exported: Callable[[str], Path], back: Callable[..., dict[str, Any]]
) -> None:
    runs = {run["id"]: run for run in back("trackio", exported("trackio"))["runs"]}
    trials = {r["params"]["normlab.trial"]: r for r in runs.values() if "seed" in r["params"]}
    assert len(runs) == len(EVERY) + len(LABELS)
    for label, seed in EVERY:
        run = trials[trial_id(label, seed)]
        assert run["name"] == f"{label}, seed {seed}"
        assert run["params"]["_Group"] == label
        assert params(label, seed).items() <= run["params"].items()
        for name, points in numbers(label, seed).items():
            assert [[row["step"], row[name]] for row in run["rows"] if name in row] == points
    (layer,) = [run for run in runs.values() if run["name"] == "layer"]
    assert layer["params"]["_Group"] == "layer"
    assert layer["params"]["normlab.verdict.layer beats batch"] == "supported"
    assert layer["rows"][0]["trials_finished"] == 3


def test_wandb_has_offline_runs_in_a_group_per_arm(
    exported: Callable[[str], Path], back: Callable[..., dict[str, Any]]
) -> None:
    runs = back("wandb", exported("wandb"))["runs"]
    assert {run["project"] for run in runs} == {"paper"}
    assert {run["host"] for run in runs} == {"normlab"}
    trials = {run["summary"]["normlab.trial"]: run for run in runs if run["job"] == "trial"}
    assert len(trials) == len(EVERY)
    for label, seed in EVERY:
        run = trials[trial_id(label, seed)]
        assert (run["group"], run["name"]) == (label, f"{label}, seed {seed}")
        assert run["exit"] == ((label, seed) == (HOSTILE, 2))
        assert params(label, seed).items() <= run["params"].items()
        for name, points in numbers(label, seed).items():
            assert [[row["_step"], row[name]] for row in run["rows"] if name in row] == points
    arms = {run["name"]: run for run in runs if run["job"] == "arm"}
    assert set(arms) == set(LABELS)
    assert arms["layer"]["summary"]["normlab.verdict.layer beats batch"] == "supported"
    assert "Layer beats batch by 10 points" in arms["layer"]["notes"]


def test_wandb_itself_finds_the_runs_to_send(exported: Callable[[str], Path], there: There) -> None:
    code = (
        "import sys\nfrom wandb.cli.cli import cli\n"
        "cli(['sync', '--dry-run', *sys.argv[1:]], standalone_mode=False)"
    )
    folders = sorted(exported("wandb").glob("wandb/offline-run-*"))
    said = there(*folders, code=f"import sys\nsys.stderr = sys.stdout\n{code}")
    assert all(folder.name.rpartition("-")[2] in said for folder in folders)


@pytest.mark.parametrize("tool", TOOLS)
def test_normlab_s_own_readers_read_them(
    tool: str, exported: Callable[[str], Path], read_there: Callable[[Path], dict[str, Any]]
) -> None:
    found = read_there(exported(tool))
    assert found["tool"] == tool
    trials = {(r["params"]["arm"], r["params"]["seed"]): r for r in found["runs"]
              if "seed" in r["params"]}  # fmt: skip
    assert set(trials) == {(label, str(seed)) for label, seed in EVERY}
    for label, seed in EVERY:
        run = trials[label, str(seed)]
        assert run["params"]["lr"] == "0.1"
        for name, points in numbers(label, seed).items():
            assert run["metrics"][name]["steps"] == [step for step, _ in points]
            values = [value for _, value in points]
            assert run["metrics"][name]["values"] == pytest.approx(values, rel=1e-6)
        if tool != "trackio":  # which does not say how a run ended
            invalid = (label, seed) == (HOSTILE, 2)
            assert run["state"] == ("failed" if invalid else "complete")


@pytest.mark.parametrize("tool", ["mlflow", "trackio"])  # read without a package
def test_a_study_file_written_for_an_export_judges_it(
    tool: str, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    source = exported(tool)
    file = normlab.new_study(source, out=tmp_path / "again.yaml")
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["seeds"] == [0, 1, 2]
    found = normlab.claims_from(source, file)
    assert found["seeds"].tolist() == [3]
    assert {one["reason"] for one in found.attrs["left_out"]} <= {"no seed", "failed"}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_second_export_adds_only_what_is_new(
    tool: str, tmp_path: Path, export: Exporting, back: Callable[..., dict[str, Any]]
) -> None:
    runs, dest = tmp_path / "runs", place(tool, tmp_path)
    some = [one for one in EVERY if one[1] < 2]
    said = export(fill(runs / "paper", some), tool, dest)
    assert (said["added"], said["known"], said["left"]) == (6, 0, {"pending": 3})
    before = _identities(tool, back(tool, dest))
    said = export(runs / "paper", tool, dest)
    assert (said["added"], said["known"]) == (0, 6)
    assert _identities(tool, back(tool, dest)) == before
    said = export(fill(runs / "paper", set(EVERY) - set(some)), tool, dest)
    assert (said["added"], said["known"], said["left"]) == (3, 6, {})
    found = back(tool, dest)
    after = _identities(tool, found)
    assert {one for one in before if "seed" in one} < after
    assert len(after) == len(EVERY) + len(LABELS)
    # The arms are brought up to date: one of each, of three trials.
    assert _trials_finished(found, "layer") == 3


def _identities(tool: str, found: dict[str, Any]) -> set[str]:
    names = {f"{run['name']} {run.get('id', '')}" for run in found["runs"]}
    return {name for name in names if name != ". "}


def _trials_finished(found: dict[str, Any], arm: str) -> float:
    """The last number of finished trials that the one run of an arm tells."""
    (run,) = [run for run in found["runs"] if run["name"] == arm]
    if "rows" in run:
        return float(run["rows"][-1]["trials_finished"])
    return float(run["metrics"]["trials_finished"][-1][1])


@pytest.mark.parametrize("tool", TOOLS)
def test_a_trial_with_other_numbers_takes_the_place_of_the_first(
    tool: str, tmp_path: Path, export: Exporting, back: Callable[..., dict[str, Any]]
) -> None:
    dest = place(tool, tmp_path)
    export(fill(tmp_path / "first" / "paper", EVERY), tool, dest)
    before = _identities(tool, back(tool, dest))
    said = export(fill(tmp_path / "other" / "paper", EVERY, mark="other"), tool, dest)
    assert (said["added"], said["known"]) == (9, 0)
    after = _identities(tool, back(tool, dest))
    assert len(after) == len(before)
    if tool != "tensorboard":  # whose runs are folders
        assert not {one for one in before & after if "seed" in one}


_STOP = """
import os, sys
from pathlib import Path
from normlab.trackers.write import exported, mlflow, tensorboard, trackio, wandb

tool, folder, dest, at = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
study, calls = exported.to_export(folder), 0
def stopping(of, name):
    call = getattr(of, name)
    def counted(*a, **k):
        global calls
        calls += 1
        if calls == at:
            os._exit(0)
        return call(*a, **k)
    setattr(of, name, counted)
if tool == "mlflow":
    import mlflow as package
    from mlflow.tracking.client import MlflowClient
    for name in ("create_run", "log_batch", "set_terminated", "create_experiment"):
        stopping(MlflowClient, name)
    stopping(mlflow, "put_in_place")
    mlflow.write(study, dest)
elif tool == "tensorboard":
    tensorboard._TOGETHER = 2
    stopping(Path, "replace")
    tensorboard.write(study, dest)
elif tool == "trackio":
    from trackio.sqlite_storage import SQLiteStorage
    Path(dest).mkdir(parents=True, exist_ok=True)
    stopping(SQLiteStorage, "bulk_log")
    trackio.write_here(study, dest)
else:
    stopping(Path, "rename")
    wandb.write(study, dest)
print("to the end")
"""


@pytest.mark.parametrize(
    ("tool", "at"),
    [("mlflow", at) for at in (1, 2, 4, 6)]
    + [("tensorboard", at) for at in (2, 4)]
    + [("trackio", 5), ("wandb", 5)],
)
def test_what_was_stopped_the_next_export_completes(  # noqa: PLR0917
    tool: str,
    at: int,
    paper: Path,
    tmp_path: Path,
    there: There,
    export: Exporting,
    back: Callable[..., dict[str, Any]],
) -> None:
    dest = place(tool, tmp_path)
    environ = {"TRACKIO_DIR": str(dest)}
    assert "to the end" not in there(tool, paper, dest, at, code=_STOP, environ=environ)
    said = export(paper, tool, dest)
    assert said["added"] + said["known"] == len(EVERY)
    assert said["added"] > 0
    found = back(tool, dest)
    assert len(_identities(tool, found)) == len(EVERY) + len(LABELS)
    for label, seed in EVERY:
        run = _trial(found, label, seed)
        for name, points in numbers(label, seed).items():
            if "rows" in run:
                steps = ("step", "_step")
                rows = [row for row in run["rows"] if name in row]
                got = [[next(row[k] for k in steps if k in row), row[name]] for row in rows]
            else:
                got = [point[:2] for point in run["metrics"][name]]
            assert [step for step, _ in got] == [step for step, _ in points]
            assert all(
                math.isclose(value, wanted, rel_tol=1e-6)
                for (_, value), (_, wanted) in zip(got, points, strict=True)
            )
    if tool == "mlflow":
        assert {run["state"] for run in found["runs"]} == {"FINISHED", "FAILED"}
    assert not list(dest.parent.rglob(".normlab-*"))


def _trial(found: dict[str, Any], label: str, seed: int) -> dict[str, Any]:
    (run,) = [
        run
        for run in found["runs"]
        if (run["params"].get("arm"), run["params"].get("seed"))
        in {(label, seed), (label, str(seed))}
    ]
    return dict(run)


@pytest.mark.parametrize("tool", TOOLS)
def test_nothing_of_the_machine_goes_along(
    tool: str, paper: Path, exported: Callable[[str], Path]
) -> None:
    dest = exported(tool)
    files = [path for path in dest.parent.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        for secret in (HOME, str(paper.parent), str(dest.parent), str(Path.home() / "")):
            assert secret.encode() not in content, path


def test_another_file_is_refused(paper: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    for tool in ("tensorboard", "wandb", "safetensors"):
        words = refused(paper, tool, tmp_path)
        assert "has notes.txt in it, and is no export of normlab" in words
        assert "is no folder" in refused(paper, tool, tmp_path / "notes.txt")
        assert "is an address" in refused(paper, tool, "http://localhost:1/")
    assert "is not an MLflow database" in refused(paper, "mlflow", tmp_path / "notes.txt")
    assert "name an SQLite file in it" in refused(paper, "mlflow", tmp_path)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (a)")
    other.commit()
    other.close()
    assert "is not an MLflow database" in refused(paper, "mlflow", tmp_path / "other.db")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "other.db"}
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_store_s_own_runs_stay_and_an_experiment_of_that_name_is_refused(  # noqa: PLR0917
    paper: Path,
    tmp_path: Path,
    there: There,
    export: Exporting,
    refused: Callable[..., str],
    written: Callable[..., Path],
) -> None:
    shutil.copytree(written("mlflow"), tmp_path / "mlflow")
    store = tmp_path / "mlflow" / "mlflow.db"
    assert export(paper, "mlflow", store)["added"] == 9
    code = (
        "import sys, mlflow\nclient = mlflow.MlflowClient(sys.argv[1])\n"
        "[made] = [e for e in client.search_experiments() if e.name == 'norms']\n"
        "print(len(client.search_runs([made.experiment_id])))\n"
        "[ours] = [e for e in client.search_experiments() if e.name == 'paper']\n"
        "client.rename_experiment(ours.experiment_id, 'aside')\n"
        "client.create_experiment('paper')\n"
    )
    assert there(f"sqlite:///{store}", code=code).strip() == "6"
    assert "has an experiment paper that is no export of normlab" in refused(paper, "mlflow", store)


def test_a_project_of_trackio_that_is_somebody_s_own_is_refused(
    tmp_path: Path, written: Callable[..., Path], refused: Callable[..., str]
) -> None:
    shutil.copytree(written("trackio"), tmp_path / "store")
    shutil.copytree(fill(tmp_path / "runs" / "paper", EVERY[:1]), tmp_path / "named" / "norms")
    # The project is called as the study, and that as its plan says.
    with sqlite3.connect(tmp_path / "named" / "norms" / "store.sqlite") as connection:
        connection.execute("UPDATE studies SET plan = replace(plan, '\"paper\"', '\"norms\"')")
    connection.close()
    words = refused(tmp_path / "named" / "norms", "trackio", tmp_path / "store")
    said = f"{tmp_path / 'store'} has a project norms with a run batch-s0 that normlab did not"
    assert said in words


def test_texts_that_mlflow_has_no_room_for_are_cut_and_that_is_said(
    tmp_path: Path, export: Exporting, back: Callable[..., dict[str, Any]]
) -> None:
    folder = fill(tmp_path / "runs" / "paper", EVERY[:3])
    with sqlite3.connect(folder / "store.sqlite") as connection:
        text = json.dumps("[" + "x" * 7000 + "]")
        connection.execute(
            'UPDATE studies SET plan = replace(plan, \'"lr": 0.1\', \'"lr": 0.1, "long": \' || ?)',
            (text,),
        )
    connection.close()
    dest = place("mlflow", tmp_path)
    said = export(folder, "mlflow", dest)
    assert "1 parameter cut to 6,000 characters, which is MLflow's most" in said["shortened"]
    run = _trial(back("mlflow", dest), "batch", 0)
    assert run["params"]["long"] == "[" + "x" * 5998 + "…"

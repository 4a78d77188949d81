"""MLflow's databases and folders, made by hand."""

import itertools
import math
from pathlib import Path

import pytest
from tests.trackers import made

from normlab.errors import UserError
from normlab.trackers.read import read_runs
from normlab.trackers.runs import LeftOut


def test_a_run_has_parameters_metrics_and_tags_of_its_own(tmp_path: Path) -> None:
    source = made.mlflow(
        tmp_path / "any.name",
        made.mlflow_run("a"),
        "INSERT INTO params VALUES ('norm', 'batch', 'a'), ('seed', '3', 'a');"
        "INSERT INTO tags VALUES ('mlflow.runName', 'x', 'a'), ('data', 'digits', 'a'),"
        " ('mlflow.parentRunId', 'p', 'a');"
        "INSERT INTO metrics VALUES ('acc', 0.5, 10, 'a', 1, 0), ('acc', 0.75, 20, 'a', 2, 0);",
    )
    found = read_runs(source)
    assert (found.tool, found.left_out) == ("mlflow", ())
    (run,) = found.runs
    assert (run.id, run.name, run.group, run.state) == (
        "a", "a", "norms", "complete",
    )  # fmt: skip
    assert run.params == {"norm": "batch", "seed": "3", "data": "digits"}
    assert run.metrics["acc"].steps == (1, 2)
    assert run.metrics["acc"].values == (0.5, 0.75)


def test_of_a_step_logged_twice_the_last_in_time_counts(tmp_path: Path) -> None:
    source = made.mlflow(
        tmp_path / "mlflow.db",
        made.mlflow_run("a"),
        "INSERT INTO metrics VALUES ('acc', 0.9, 30, 'a', 1, 0), ('acc', 0.2, 40, 'a', 1, 0),"
        " ('acc', 0.1, 20, 'a', 2, 0);",
    )
    series = read_runs(source).runs[0].metrics["acc"]
    assert (series.steps, series.values) == ((1, 2), (0.2, 0.1))


def test_what_is_not_finite_is_read_as_it_was_logged(tmp_path: Path) -> None:
    # MLflow stores NaN as 0 with a mark, and infinity as the largest number.
    source = made.mlflow(
        tmp_path / "mlflow.db",
        made.mlflow_run("a"),
        "INSERT INTO metrics VALUES ('loss', 0, 1, 'a', 1, 1),"
        " ('loss', 1.7976931348623157e308, 2, 'a', 2, 0),"
        " ('loss', -1.7976931348623157e308, 3, 'a', 3, 0);",
    )
    values = read_runs(source).runs[0].metrics["loss"].values
    assert math.isnan(values[0])
    assert values[1:] == (math.inf, -math.inf)


def test_deleted_runs_and_damaged_ones_are_left_out_with_the_reason(tmp_path: Path) -> None:
    source = made.mlflow(
        tmp_path / "mlflow.db",
        made.mlflow_run("gone", stage="deleted"),
        made.mlflow_run("older", of=2),
        made.mlflow_run("bad"),
        made.mlflow_run("good", state="KILLED"),
        "INSERT INTO metrics VALUES ('acc', 'high', 1, 'bad', 1, 0);",
    )
    found = read_runs(source)
    assert [(run.name, run.state) for run in found.runs] == [("good", "killed")]
    assert set(found.left_out) == {
        LeftOut(run="gone", reason="it was deleted"),
        LeftOut(run="older", reason="its experiment was deleted"),
        LeftOut(run="bad", reason="a metric is damaged: its step or value is no number"),
    }


def test_what_an_older_schema_lacks_is_named(tmp_path: Path) -> None:
    source = made.mlflow(
        tmp_path / "mlflow.db",
        "DROP TABLE metrics; CREATE TABLE metrics (key, value, timestamp, run_uuid, is_nan)",
    )
    with pytest.raises(
        UserError,
        match=r"mlflow\.db cannot be read: it has no metrics\.step, because an older MLflow wrote it: copy it and run `mlflow db upgrade sqlite:///COPY`",
    ):
        read_runs(source)


def test_a_view_in_place_of_a_table_is_not_read(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"
    source = made.mlflow(
        tmp_path / "mlflow.db",
        "DROP TABLE metrics",
        f"CREATE VIEW metrics AS SELECT n AS key, n AS value, n AS timestamp, n AS run_uuid, "
        f"n AS step, n AS is_nan FROM ({endless})",
    )
    with pytest.raises(UserError, match="it has no metrics, because"):
        read_runs(source)


def test_a_name_is_never_obeyed_by_a_terminal(tmp_path: Path) -> None:
    source = made.mlflow(
        tmp_path / "mlflow.db",
        "INSERT INTO runs VALUES ('a', char(27) || '[2J', 'FINISHED', 0, 'active', 1);"
        "INSERT INTO params VALUES (char(27), char(10), 'a');"
        "INSERT INTO metrics VALUES (char(7), 1, 1, 'a', 1, 0);",
    )
    (run,) = read_runs(source).runs
    assert run.name == r"\x1b[2J"
    assert run.params == {r"\x1b": r"\x0a"}
    assert set(run.metrics) == {r"\x07"}


def test_a_folder_of_an_older_mlflow_is_read(tmp_path: Path) -> None:
    source = made.mlruns(
        tmp_path,
        {
            "a": {
                "params": {"norm": "group"},
                "tags": {"mlflow.user": "x", "mlflow.parentRunId": "p"},
                # Time, value, step: of the step that stands there twice the later time counts.
                "metrics": {"val/acc": "10 0.5 1\n30 0.75 2\n20 0.25 2\n", "loss": "1 nan 1\n"},
                "meta": {"run_name": "first", "start_time": 2},
            },
            "b": {"meta": {"status": 4, "start_time": 1}},
            "c": {"meta": {"lifecycle_stage": "deleted"}},
            "d": {"metrics": {"acc": "1 high 1\n"}},
        },
    )
    found = read_runs(source)
    assert found.tool == "mlflow"
    b, a = found.runs
    assert (b.name, b.state) == ("b", "failed")
    assert (a.id, a.name, a.group) == ("a", "first", "norms")
    assert a.params == {"norm": "group"}
    assert (a.metrics["val/acc"].steps, a.metrics["val/acc"].values) == ((1, 2), (0.5, 0.75))
    assert math.isnan(a.metrics["loss"].values[0])
    assert set(found.left_out) == {
        LeftOut(run="c", reason="it was deleted"),
        LeftOut(run="d", reason="a metric has a line that is no number"),
    }


def test_a_damaged_run_of_a_folder_is_left_out(tmp_path: Path) -> None:
    source = made.mlruns(tmp_path, {"a": {}, "b": {}, "c": {}})
    (source / "mlruns" / "1" / "a" / "meta.yaml").write_text("{{{")
    (source / "mlruns" / "1" / "c" / "meta.yaml").write_text("!!python/object/apply:os.getcwd []")
    found = read_runs(source / "mlruns")
    assert [run.name for run in found.runs] == ["b"]
    assert found.left_out == (
        LeftOut(run="a", reason="its meta.yaml is damaged"),
        LeftOut(run="c", reason="its meta.yaml is damaged"),
    )


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    source = made.mlruns(tmp_path / "in", {"a": {"params": {"norm": "batch"}}})
    secret = tmp_path / "secret"
    secret.write_text("x")
    (source / "mlruns" / "1" / "a" / "params" / "stolen").symlink_to(secret)
    (source / "mlruns" / "1" / "again").symlink_to(source / "mlruns" / "1" / "a")
    (run,) = read_runs(source).runs
    assert run.params == {"norm": "batch"}


def test_the_runs_of_a_damaged_experiment_are_left_out(tmp_path: Path) -> None:
    source = made.mlruns(tmp_path, {"a": {}})
    for number, content in (("2", "{{{"), ("3", None)):
        (tmp_path / "x").mkdir()
        made.mlruns(tmp_path / "x", {f"b{number}": {}, f"c{number}": {}})
        (tmp_path / "x" / "mlruns" / "1").rename(source / "mlruns" / number)
        (tmp_path / "x" / "mlruns").rmdir()
        (tmp_path / "x").rmdir()
        meta = source / "mlruns" / number / "meta.yaml"
        meta.write_text(content) if content else meta.unlink()
    (source / "mlruns" / "models" / "m").mkdir(parents=True)  # no experiment: nothing to say
    found = read_runs(source)
    assert [run.name for run in found.runs] == ["a"]
    missing = "its experiment: a file cannot be read (No such file or directory)"
    assert found.left_out == (
        LeftOut(run="b2", reason="its experiment: its meta.yaml is damaged"),
        LeftOut(run="c2", reason="its experiment: its meta.yaml is damaged"),
        LeftOut(run="b3", reason=missing),
        LeftOut(run="c3", reason=missing),
    )


@pytest.mark.parametrize(
    "value", ['!!int ""', "!!bool x", "!!timestamp x", "!!binary x", "[" * 900]
)
def test_a_value_that_is_not_of_its_tag_is_damage(tmp_path: Path, value: str) -> None:
    source = made.mlruns(tmp_path, {"a": {"meta": {"start_time": value}}, "b": {}})
    found = read_runs(source)
    assert [run.name for run in found.runs] == ["b"]
    assert found.left_out == (LeftOut(run="a", reason="its meta.yaml is damaged"),)


@pytest.mark.parametrize("merge", [False, True])
def test_aliases_of_aliases_fill_no_memory(tmp_path: Path, merge: bool) -> None:
    source = made.mlruns(tmp_path, {"a": {}, "b": {}})
    names = "abcdefghijk"
    lines = ["a: &a {x: 1, y: 2}" if merge else f"a: &a [{', '.join(['x'] * 9)}]"]
    for before, name in itertools.pairwise(names):
        nine = ", ".join([f"*{before}"] * 9)
        lines.append(f"{name}: &{name} {{<<: [{nine}]}}" if merge else f"{name}: &{name} [{nine}]")
    meta = source / "mlruns" / "1" / "a" / "meta.yaml"
    meta.write_text("\n".join([*lines, "run_name: *k"]))
    found = read_runs(source)
    assert [run.name for run in found.runs] == ["b"]
    assert found.left_out == (LeftOut(run="a", reason="its meta.yaml is damaged"),)


@pytest.mark.parametrize("name", ["1e-3", "08", "a & b", "'&x'"])
def test_a_name_is_read_as_mlflow_writes_it(tmp_path: Path, name: str) -> None:
    source = made.mlruns(tmp_path, {"a": {"meta": {"run_name": name}}})
    assert read_runs(source).runs[0].name == name.strip("'")


def test_an_empty_metric_file_is_no_metric(tmp_path: Path) -> None:
    source = made.mlruns(tmp_path, {"a": {"metrics": {"acc": "", "loss": "1 0.5 1\n"}}})
    assert set(read_runs(source).runs[0].metrics) == {"loss"}


def test_what_is_not_read_beside_a_database_is_named(tmp_path: Path) -> None:
    made.mlflow(tmp_path / "a.db", made.mlflow_run("a"))
    made.mlflow(tmp_path / "b.db", made.mlflow_run("b"))
    made.mlruns(tmp_path, {"c": {}})
    (tmp_path / "d.db").write_bytes((tmp_path / "a.db").read_bytes()[:5000])
    found = read_runs(tmp_path)
    assert [run.name for run in found.runs] == ["a"]
    damaged, second, folder = found.notes
    assert "d.db cannot be read: it is a damaged database" in damaged
    beside = "it has runs of MLflow as well, and was not read beside a.db: name it to read it"
    assert (second, folder) == (f"b.db: {beside}", f"mlruns: {beside}")
    (tmp_path / "a.db").unlink()
    (tmp_path / "b.db").unlink()
    found = read_runs(tmp_path)
    assert [run.name for run in found.runs] == ["c"]
    assert found.notes == (damaged,)

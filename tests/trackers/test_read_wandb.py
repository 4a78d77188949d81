"""W&B's logs, record by record, and the CSV files of its pages."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.trackers import made

from normlab.errors import UserError
from normlab.trackers.read import read_runs, tool_of, wandb_log
from normlab.trackers.read.wandb_log import DamagedError, records
from normlab.trackers.runs import LeftOut

# Records that end at, just before and beyond the end of a block of 32 KiB.
SIZES = [[], [0, 5, 0], [32754], [32747, 3], [32748, 3], [32753, 3], [100_000, 7], [65_000] * 3]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_records_are_found_across_blocks(tmp_path: Path, sizes: list[int]) -> None:
    written = [bytes([at + 1]) * size for at, size in enumerate(sizes)]
    log = tmp_path / "run-a.wandb"
    log.write_bytes(made.wandb_log(written))
    assert list(records(log)) == written


@pytest.mark.parametrize("cut", [1, 8, 20_000, 40_000])
def test_a_log_that_is_cut_off_gives_what_is_whole(tmp_path: Path, cut: int) -> None:
    log = tmp_path / "run-a.wandb"
    log.write_bytes(made.wandb_log([b"a" * 10, b"b" * 50_000])[:-cut])
    found = records(log)
    assert next(found) == b"a" * 10
    with pytest.raises(DamagedError):
        next(found)


def test_a_record_with_a_wrong_checksum_ends_the_log(tmp_path: Path) -> None:
    content = bytearray(made.wandb_log([b"aaaa", b"bbbb", b"cccc"]))
    content[content.index(b"bbbb")] ^= 1
    log = tmp_path / "run-a.wandb"
    log.write_bytes(content)
    found = records(log)
    assert next(found) == b"aaaa"
    with pytest.raises(DamagedError, match="damaged"):
        next(found)


def test_without_its_package_a_log_is_refused_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    folder = tmp_path / "offline-run-1-a"
    folder.mkdir()
    (folder / "run-a.wandb").write_bytes(made.wandb_log([b"x"]))
    assert tool_of(tmp_path) == "wandb"
    with pytest.raises(UserError, match=r"package wandb.*pip install 'normlab\[trackers\]'"):
        read_runs(tmp_path)


def test_a_log_that_cannot_be_opened_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run-a.wandb").write_bytes(made.wandb_log([b"x"]))
    opened = Path.open

    def denied(path: Path, *args: Any, **keys: Any) -> Any:
        if path.suffix == ".wandb":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **keys)

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr(wandb_log, "needed", lambda *_, **__: SimpleNamespace(Record=None))
    found = read_runs(tmp_path)
    assert found.left_out == (
        LeftOut(run="run-a.wandb", reason="its log cannot be read (Permission denied)"),
    )


CHART = """"Step","a - s1 - val/acc","a - s1 - val/acc__MIN","a - s1 - val/acc__MAX","b - val/acc","b - val/acc__MIN","b - val/acc__MAX"
"0","0.5","0.5","0.5","","",""
"1","0.75","0.75","0.75","NaN","NaN","NaN"
"""


def test_an_exported_chart_is_runs_with_a_metric(tmp_path: Path) -> None:
    source = tmp_path / "chart.csv"
    source.write_text(CHART)
    found = read_runs(source)
    assert found.tool == "wandb"
    a, b = found.runs
    assert (a.name, a.group, a.params) == ("a - s1", "chart", {})
    assert a.metrics["val/acc"].steps == (0, 1)
    assert a.metrics["val/acc"].values == (0.5, 0.75)
    assert b.metrics["val/acc"].steps == (1,)
    assert math.isnan(b.metrics["val/acc"].values[0])


def test_lines_of_a_chart_that_cannot_be_told_apart_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "chart.csv"
    lines = ["a - acc", "a - acc", "b - acc", "c - acc"]
    header = ["Step", *(f"{line}{end}" for line in lines for end in ("", "__MIN", "__MAX"))]
    source.write_text(",".join(header) + "\n1" + ",0.5" * 9 + ",high" * 3 + "\n")
    found = read_runs(source)
    assert [run.name for run in found.runs] == ["b"]
    assert found.left_out == (
        LeftOut(run="a", reason="another run of the chart has its name"),
        LeftOut(run="c", reason="a value is no number"),
    )


def test_a_chart_over_time_is_not_read_as_steps(tmp_path: Path) -> None:
    source = tmp_path / "chart.csv"
    source.write_text("Relative Time (Process),a - acc,a - acc__MIN,a - acc__MAX\n0.5,1,1,1\n")
    (left_out,) = read_runs(source).left_out
    assert left_out.reason == "'Relative Time (Process)' is not a whole number everywhere"


def test_an_exported_table_has_a_run_per_row(tmp_path: Path) -> None:
    source = tmp_path / "runs.csv"
    source.write_text(
        "Name,State,Notes,User,Tags,Created,Runtime,Sweep,norm,seed,val_acc\n"
        "a,finished,-,me,,2026,10,,batch,0,0.5\n"
        "a,crashed,-,me,,2026,10,,group,0,NaN\n"
        "b,odd,-,me,,2026,10,,group,0,0.5\n"
        "c,finished,-\n"
    )
    found = read_runs(source)
    first, second = found.runs
    assert (first.id, first.name, first.state) == ("a", "a", "complete")
    assert first.params == {"norm": "batch", "seed": "0", "val_acc": "0.5"}
    assert (first.metrics["val_acc"].steps, first.metrics["val_acc"].values) == ((0,), (0.5,))
    assert (second.id, second.name, second.state) == ("a (row 2)", "a", "failed")
    assert found.left_out == (
        LeftOut(run="b", reason="its state is not one that W&B uses"),
        LeftOut(run="c", reason="its row has too few or too many cells"),
    )


@pytest.mark.parametrize("header", ["norm,seed,test_accuracy", "Name,State,score", "Step,a - acc"])
def test_another_csv_file_is_not_of_wandb(tmp_path: Path, header: str) -> None:
    source = tmp_path / "trials.csv"
    source.write_text(f"{header}\n1,2,3\n")
    assert tool_of(source) is None

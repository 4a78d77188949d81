"""The report of a stranger's store: nothing of its text is a path, markup, code or a formula."""

import csv
import json
import os
import re
import shutil
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import normlab as nl
from normlab.errors import UserError
from normlab.frames import claim_table, frames_from_csv, load_frames
from normlab.reports import write_exports, write_report
from normlab.store import DATABASE, Store

EVIL = '=HYPERLINK("http://x")</script><script>alert(1)</script><img src=x onerror=alert(2)>\\input{/etc/passwd}\x1b[31m\u202e'
NAMES = [
    "../../../ESCAPED",
    "/tmp/ESCAPED",
    "a/b",
    "..",
    "",
    "con\x00",
    "x" * 300,
    '"><script>',
    3,
    None,
    ["list"],
]


def forge(folder: Path, change: Any) -> None:
    connection = sqlite3.connect(folder / DATABASE)
    (text,) = connection.execute("SELECT plan FROM studies ORDER BY id DESC LIMIT 1").fetchone()
    plan = json.loads(text)
    made = change(plan)
    connection.execute("UPDATE studies SET plan = ?", (json.dumps(plan if made is None else made),))
    connection.commit()
    connection.close()


@pytest.fixture
def stranger(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "deep/down/runs/s")
    return tmp_path / "deep/down/runs/s"


def every_file(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in files if "sqlite-" not in path.name}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
def test_a_figure_s_name_leads_nowhere_but_to_its_folder(
    stranger: Path, tmp_path: Path, name: Any
) -> None:
    figure = {
        "kind": "dots",
        "heading": None,
        "caption": None,
        "arms": ["<b>exploding</b>"],
        "metrics": ["test_accuracy"],
        "at": "last",
        "together": False,
    }
    forge(stranger, lambda plan: plan.update(figures=[{**figure, "name": name}]))
    if not isinstance(name, str):
        with pytest.raises(UserError, match=r"no valid figures\.name"):
            write_exports(stranger, figures=tmp_path / "deep/a/b/c")
        return
    before = every_file(tmp_path)
    made = write_exports(stranger, figures=tmp_path / "deep/a/b/c")
    assert [path.name for path in made.written] == ["figure-1.svg", "figure-1.pdf"]
    assert every_file(tmp_path) - before == {f"deep/a/b/c/figure-1.{end}" for end in ("svg", "pdf")}


class Tags(HTMLParser):
    """The scripts, images and handlers that a browser sees in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] if tag in {"img", "iframe", "object", "input"} else []
        self.found += [
            name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")
        ]


def made_evil(plan: dict[str, Any]) -> None:
    """Every text of a plan that is shown becomes an attack."""
    plan.update(question=EVIL, name=EVIL)
    plan["overrides"] = {EVIL: EVIL}
    for arm in plan["arms"]:
        arm["label"] += EVIL
        arm["notes"] = [EVIL]
        arm["recipe"] = {EVIL: EVIL}
    labels = [arm["label"] for arm in plan["arms"]]
    dots = {"arms": labels, "metrics": ["test_accuracy"], "at": "last", "together": True}
    plan["figures"] = [{"kind": "dots", "name": "mine", "heading": EVIL, "caption": EVIL, **dots}]


def test_no_text_of_a_store_is_markup_script_latex_formula_or_control(
    stranger: Path, tmp_path: Path
) -> None:
    forge(stranger, made_evil)
    connection = sqlite3.connect(stranger / DATABASE)
    evil = json.dumps([{"device": EVIL, "chip": EVIL, "platform": EVIL}])
    connection.execute("UPDATE trials SET reason = ?, provenance = ?", (EVIL, evil))
    connection.commit()
    connection.close()
    page = write_report(stranger).read_text()
    plain = Tags()
    plain.feed(re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))  # normlab's own
    assert plain.found == []
    assert page.count("<script>") == page.count("</script>") - page.count("<script type=") == 2
    exports = tmp_path / "out"
    made = write_exports(stranger, figures=exports, latex=exports, csv=exports / "all.csv")
    drawn = (exports / "mine.svg").read_text()
    assert "<script" not in drawn
    assert "<img" not in drawn
    tex = (exports / "arms.tex").read_text()
    assert r"\input{" not in tex
    assert r"\textbackslash{}input\{/etc/passwd\}" in tex
    tables = [*stranger.glob("tables/*.csv"), exports / "all.csv"]
    assert len(tables) > 10
    for path in tables:
        with path.open(newline="") as stream:
            for row in csv.reader(stream):
                assert not [
                    text for text in row if re.match(r"[=@\t\r]|[-+](?![\d.]|inf)", text)
                ], path
    for path in [stranger / "report.html", *made.written, *tables]:
        if path.suffix != ".pdf":
            written = path.read_text()
            assert not re.search(
                r"(?m)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202e]", _without_bundle(written)
            ), path


def test_diagnostics_are_cleaned_of_controls_that_json_may_hold_as_they_are(
    stranger: Path,
) -> None:
    details = json.dumps({"a\x9bb": {"c\x7f": "\x9b"}}, ensure_ascii=False)
    assert "\\" not in details
    connection = sqlite3.connect(stranger / DATABASE)
    connection.execute("UPDATE epochs SET details = ?", (details,))
    connection.commit()
    connection.close()
    with Store.read(stranger) as store:
        epochs = load_frames(store).epochs
    assert len(epochs)
    for read in epochs["details"]:
        assert read == {r"a\x9bb": {r"c\x7f": r"\x9b"}}


def _without_bundle(page: str) -> str:
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_labels_that_begin_like_formulas_come_back_from_csv(stranger: Path, tmp_path: Path) -> None:
    def formulas(plan: dict[str, Any]) -> None:
        for arm, sign in zip(plan["arms"], "=+@", strict=True):
            arm["label"] = sign + arm["label"]

    forge(stranger, formulas)
    write_exports(stranger, csv=tmp_path / "all.csv")
    assert "\n'=batch," in (tmp_path / "all.csv").read_text()
    with Store.read(stranger) as store:
        frames = load_frames(store)
    back = frames_from_csv(tmp_path / "all.csv", frames.plan)
    assert back.arms == frames.arms
    assert set(back.trials["arm"]) == set(frames.trials["arm"])
    assert len(claim_table(back)) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: [],
        lambda plan: "x",
        lambda plan: plan.update(arms=3),
        lambda plan: plan.update(arms=[3]),
        lambda plan: plan["arms"][0].pop("label"),
        lambda plan: plan["arms"][0].update(label={"a": 1}),
        lambda plan: plan["arms"][0].update(recipe=[]),
        lambda plan: plan["arms"][0].update(trials={"0": "../../x"}),
        lambda plan: plan["arms"][0].update(trials={"zero": "abc"}),
        lambda plan: plan["arms"][0].update(trials={"0": 7}),
        lambda plan: plan.update(figures=[{"name": "x"}]),
        lambda plan: plan.update(
            figures=[{"kind": "dots", "name": "x", "heading": {"signal": "x"}}]
        ),
        lambda plan: plan.update(figures="x"),
        lambda plan: plan.update(claims=[{}]),
        lambda plan: plan.update(name=["x"]),
        lambda plan: plan.update(question={"x": 1}),
        lambda plan: plan.pop("seeds"),
        lambda plan: plan.pop("arms"),
        lambda plan: plan.update(analysis=[3]),
        lambda plan: plan.update(overrides=[3]),
        lambda plan: plan.update(figures=[{"kind": "nosuch", "name": "x"}]),
        lambda plan: plan["arms"].append(plan["arms"][0]),
        lambda plan: plan["arms"][0]["trials"].append(plan["arms"][0]["trials"][0]),
        lambda plan: plan["arms"][0]["trials"][0].update(seed=1),
        lambda plan: plan.update(overrides=json.loads("[" * 900 + "]" * 900)),
        lambda plan: plan.update(claims=[{"name": "x"}]),
        lambda plan: plan.update(claims=[{"name": "x", "kind": "nosuch", "sides": []}]),
    ],
)
def test_a_plan_of_another_shape_is_a_mistake_and_no_traceback(stranger: Path, change: Any) -> None:
    forge(stranger, change)
    with pytest.raises(UserError, match="not written by normlab"):
        write_report(stranger)
    runs = stranger.parent
    for read in (nl.status, nl.claims, nl.results):
        try:
            read(stranger.name, runs=runs)
        except UserError:
            continue  # and nothing else


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE studies SET plan = '{'",
        "UPDATE studies SET plan = '" + "[" * 100_000 + "'",
        "UPDATE studies SET plan = x'ff'",
        "UPDATE trials SET result = '{'",
        "UPDATE trials SET result = '[]'",
        "UPDATE epochs SET details = '{'",
        "UPDATE epochs SET test_accuracy = 'x'",
    ],
    ids=lambda sql: sql[:40],
)
def test_values_that_normlab_does_not_write_are_a_mistake_and_no_traceback(
    stranger: Path, sql: str
) -> None:
    connection = sqlite3.connect(stranger / DATABASE)
    connection.execute(sql)
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="not written by normlab"):
        write_report(stranger)


@pytest.mark.parametrize("name", ["tables", "report.html", "tables/arms.csv"])
def test_the_report_is_not_written_through_a_link(
    stranger: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/arms.csv").write_text("mine")
    shutil.rmtree(stranger / "tables", ignore_errors=True)
    (stranger / "report.html").unlink(missing_ok=True)
    (stranger / name).parent.mkdir(exist_ok=True)
    target = tmp_path / "thesis" if name == "tables" else tmp_path / "thesis/arms.csv"
    (stranger / name).symlink_to(target)
    with pytest.raises(UserError, match="is a link"):
        write_report(stranger)
    assert every_file(tmp_path / "thesis") == {"arms.csv"}
    assert (tmp_path / "thesis/arms.csv").read_text() == "mine"


@pytest.mark.parametrize("damage", ["pipe", "bomb", "folder", "text"])
def test_answers_that_never_end_or_fill_a_memory_cost_their_figure(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr("normlab.frames.predictions._LARGEST", 1 << 20)
    for path in stranger.glob("artifacts/*/predictions.npz"):
        path.unlink()
        if damage == "pipe":
            os.mkfifo(path)
        elif damage == "folder":
            path.mkdir()
        elif damage == "text":
            path.write_text("PK")
        else:
            np.savez_compressed(path, labels=np.zeros(1 << 20), predictions=0, confidences=0)
    confusion = {"kind": "confusion", "heading": None, "caption": None, "arms": ["batch"]}
    forge(stranger, lambda plan: plan.update(figures=[{**confusion, "name": "mine"}]))
    assert "Not drawn" in write_report(stranger).read_text()


def test_a_plan_of_a_newer_normlab_is_not_guessed_at(stranger: Path) -> None:
    forge(stranger, lambda plan: plan.update(version=99))
    with pytest.raises(UserError, match=r"written by a newer normlab .*version 99.* up to 2"):
        write_report(stranger)

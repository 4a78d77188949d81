"""Reports of more arms or trials than a page can show one by one."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from normlab.figures.curves import Curves
from normlab.figures.drawing import figures_of
from normlab.figures.figure import Source, fewer_dots
from normlab.frames import Frames, load_frames
from normlab.frames.chosen import MANY, MOST, chosen_arms
from normlab.frames.effects import effect_table, robust_table
from normlab.frames.tables import arm_table
from normlab.records.plan import PlanRecord
from normlab.reports import html, write_exports, write_report
from normlab.reports.html import shown_trials
from normlab.store import Store
from tests.conftest import CHROMIUM
from tests.large import plan_of_arms, store_of
from tests.reports.test_html import dump, specifications

ARMS = 210


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(plan_of_arms(ARMS // 3), tmp_path_factory.mktemp("runs") / "large")


@pytest.fixture(scope="module")
def page(large: Path) -> str:
    return write_report(large).read_text(encoding="utf-8")


def rendered(frames: Frames, robust: pd.DataFrame) -> str:
    shown = html.context(
        frames, arm_table(frames), effect_table(frames), robust, figures_of(frames)
    )
    return html.render(shown)


def arms_of(page: str) -> str:
    return page.split('<h2 id="arms">')[1].split("<h2", maxsplit=1)[0]


def test_its_arms_are_on_pages_and_the_first_is_there_without_scripts(page: str) -> None:
    first, others = arms_of(page).split("<template>")
    assert first.count('<td class="arm">') == 50
    assert others.count('<td class="arm">') == ARMS - 50
    assert "The first 50 of 210 arms. All of them are in" in first
    assert "The numbers of" in first
    assert len(others) / (ARMS - 50) < 900  # characters of an arm: 5,000 of them are 4 MB


def test_its_links_lead_to_trials_that_are_on_the_page(page: str) -> None:
    places = set(re.findall(r'href="#(arm-\d+)"', page))
    assert 0 < len(places) <= MOST
    assert places == set(re.findall(r'<details class="arm" id="(arm-\d+)">', page))


def test_a_small_study_has_neither_pages_nor_their_script(finished: Path) -> None:
    page = write_report(finished).read_text(encoding="utf-8")
    assert "<template>" not in page
    assert "pager" not in page


def test_its_figures_draw_the_arms_of_claims_and_both_ends_and_say_so(
    page: str, large: Path
) -> None:
    with Store.read(large) as store:
        frames = load_frames(store)
    chosen = set(chosen_arms(frames).arms)
    assert {"norm=batch, lr=0.001", "norm=none, lr=0.001"} <= chosen
    means = frames.trials.groupby("arm")["test_accuracy"].mean().dropna().sort_values()
    assert chosen == {*means.index[:5], *means.index[-5:], *frames.plan.judged[0].arms}
    for name in ("accuracy", "accuracy-curves"):
        spec = json.loads(specifications(page)[name])
        drawn = {row["arm"] for rows in spec["datasets"].values() for row in rows if "arm" in row}
        assert drawn - {None} <= chosen
    assert page.count(f"{len(chosen)} of 210 arms are drawn") == 3


def test_up_to_so_many_arms_each_is_chosen(finished: Path) -> None:
    with Store.read(finished) as store:
        frames = load_frames(store)
    assert len(frames.arms) <= MANY
    assert chosen_arms(frames) == (frames.arms, "")


def test_where_nothing_tells_which_arms_to_show_the_first_are_and_the_page_says_so(
    large: Path,
) -> None:
    with Store.read(large) as store:
        frames = load_frames(store)
    # No trial is finished, and no claim is about few arms.
    plan = PlanRecord.from_data({**json.loads(frames.plan.to_json()), "claims": []})
    frames = replace(frames, plan=plan, trials=frames.trials.assign(state="running"))
    assert chosen_arms(frames) == (frames.arms[:MOST], "the first 40")
    page = rendered(frames, robust_table(frames))
    assert page.count("40 of 210 arms are drawn: the first 40.") == 2
    assert "numbers of 40 arms lead to the trials behind them: the first 40." in page
    assert "the five best" not in page
    own = frames.arms[5:]
    figure = Curves(kind="curves", arms=own)
    drawn = figure.draw(Source(frames))
    assert set(drawn.data["arm"]) == set(own[:MOST])
    assert "40 of 205 arms are drawn: the first 40." in drawn.caption


def test_of_too_many_trials_those_that_did_not_complete_are_shown_first(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.read(large) as store:
        frames = load_frames(store)
    monkeypatch.setattr(html, "MOST_TRIALS", 100)
    arms = [arm for arm in frames.arms if arm.startswith("norm=layer")]
    given = frames.trials
    copies = [given.assign(seed=given["seed"] + 2 * n, id=given["id"] + str(n)) for n in range(9)]
    made = pd.concat(copies, ignore_index=True)
    shown = shown_trials(replace(frames, trials=made), arms)
    assert shown.groupby("arm").size().unique().tolist() == [10]
    odd = made[made["arm"].isin(arms) & (made["state"] != "complete")]
    assert set(odd["id"]) <= set(shown["id"])


def test_tables_of_every_epoch_are_left_to_an_export_where_they_are_large(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    tables = folder / "tables"
    whole = write_report(folder).read_text(encoding="utf-8")
    kept = (tables / "trials.csv").read_text(encoding="utf-8")
    assert (tables / "epochs.csv").is_file()
    assert (tables / "times.csv").is_file()
    monkeypatch.setattr(html, "MOST_EPOCHS", 10)
    page = write_report(folder).read_text(encoding="utf-8")
    # Those of the report before would be taken for this one's.
    assert not (tables / "epochs.csv").exists()
    assert not (tables / "times.csv").exists()
    assert "tables/epochs.csv" not in page
    assert "--csv FILE</code> writes the epochs" in page
    assert "--csv FILE</code>" not in whole
    assert (tables / "trials.csv").read_text(encoding="utf-8") == kept


def test_an_export_beside_the_tables_is_its_users(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    monkeypatch.setattr(html, "MOST_EPOCHS", 10)
    write_report(folder)
    exported = folder / "tables" / "epochs.csv"
    write_exports(folder, csv=exported)
    content = exported.read_bytes()
    write_report(folder)
    assert exported.read_bytes() == content


def test_the_page_says_of_which_arms_the_tables_have_intervals_of_images(large: Path) -> None:
    with Store.read(large) as store:
        frames = load_frames(store)
    robust = robust_table(frames).assign(iqm=0.5, iqm_low=0.4, iqm_high=0.6)
    page = rendered(frames, robust)
    section = page.split('<h2 id="robust">')[1].split("<h2", maxsplit=1)[0]
    assert "the interval for new test images of these alone" in section


def test_as_many_statements_are_asked_of_the_store_however_many_trials_it_has(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = store_of(plan_of_arms(1), tmp_path / "small")
    asked: list[str] = []
    for name in ("_all", "_one"):
        original = getattr(Store, name)

        def counted(self: Store, sql: str, *values: object, of: object = original) -> object:
            asked.append(sql)
            return of(self, sql, *values)  # type: ignore[operator]

        monkeypatch.setattr(Store, name, counted)
    counts = []
    for folder in (small, large):
        asked.clear()
        write_report(folder)
        counts.append(len(asked))
    assert counts[0] == counts[1] > 0


def test_dots_of_too_many_seeds_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [
        {"arm": arm, "part": "seed", "value": float(value)} for arm in "ab" for value in range(5000)
    ]
    rows = pd.DataFrame([{"arm": "a", "part": "mean", "value": 1.0}, *seeds])
    same, nothing = fewer_dots(rows.iloc[:4000])
    assert len(same) == 4000
    assert nothing == ""
    fewer, said = fewer_dots(rows)
    of_a = fewer[(fewer["part"] == "seed") & (fewer["arm"] == "a")]["value"]
    assert 2500 <= len(of_a) <= 2501
    assert (of_a.min(), of_a.max()) == (0, 4999)
    assert of_a.diff().max() <= 2
    assert (fewer["part"] == "mean").sum() == 1
    assert "of 10,000 seeds have a dot" in said


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
def test_a_browser_pages_filters_and_sorts(large: Path, tmp_path: Path) -> None:
    script = """
    <script>
    const box = document.querySelector("#arms ~ .paged"), said = [];
    const now = () => [box.querySelector("span").textContent, box.querySelector("tbody").rows.length,
                       box.querySelector("tbody tr td:nth-child(3)").textContent];
    const [back, on] = box.querySelectorAll(".pager button");
    said.push(now()); on.click(); said.push(now()); back.click();
    box.querySelectorAll("th button")[2].click(); said.push(now());
    const input = box.querySelector("input");
    input.value = "BATCH 0.00"; input.dispatchEvent(new Event("input")); said.push(now());
    const search = (words) => { input.value = words; input.dispatchEvent(new Event("input")); };
    search(""); on.focus();
    for (let page = 0; page < 4; page++) on.click();
    said.push([box.querySelector("span").textContent, on.disabled, document.activeElement === back]);
    search("nowhere"); said.push(box.querySelector("span").textContent); search("");
    const heads = box.querySelectorAll("th button"); heads[0].click(); heads[0].click();
    said.push([...box.querySelectorAll("td.arm")].map((arm) => arm.textContent));
    document.title = "said:" + JSON.stringify(said);
    </script></body>"""
    page = write_report(large).read_text(encoding="utf-8").replace("</body>", script)
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    ran = dump(path, tmp_path / "profile")
    title = re.search(r"<title>said:(.*?)</title>", ran.stdout, re.S)
    assert title is not None, ran.stderr
    first, second, ordered, filtered, last, none, names = json.loads(title.group(1))
    assert first[:2] == ["page 1 of 5: 210 of 210", 50]
    assert second[0] == "page 2 of 5: 210 of 210"
    best = pd.read_csv(large / "tables" / "arms.csv")["test_mean"].max()
    assert float(ordered[2]) == pytest.approx(100 * best, abs=0.005)
    assert filtered[0] == "page 1 of 1: 9 of 210"
    assert last == ["page 5 of 5: 210 of 210", True, True]
    assert none == "none of 210"
    rates = [float(re.findall(r"[0-9.]+", name)[0]) for name in names]
    assert len(rates) == 50
    assert rates in (sorted(rates), sorted(rates, reverse=True))

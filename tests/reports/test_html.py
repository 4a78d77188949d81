import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from normlab.figures import FIGURES
from normlab.frames import load_frames
from normlab.reports import write_report
from normlab.reports.provenance import where_it_ran
from normlab.store import Store, TrialRow
from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study
from tests.conftest import CHROMIUM
from tests.kinds import EVERY_KIND, with_figures
from tests.plans import plan_of


class Links(HTMLParser):
    """Every id and every link of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if given.get("id"):
            self.ids.add(str(given["id"]))
        for name in ("href", "src"):
            if given.get(name):
                self.links.append(str(given[name]))


@pytest.fixture(scope="session")
def page(finished: Path) -> str:
    return write_report(finished).read_text(encoding="utf-8")


def test_every_number_of_the_arms_leads_to_trials_that_are_there(page: str, finished: Path) -> None:
    found = Links(page)
    for link in found.links:
        if link.startswith("#"):
            assert link[1:] in found.ids
        elif not link.startswith("data:"):
            assert (finished / link).is_file(), link
    cells = re.findall(
        r"<td[^>]*>(.*?)</td>", page.split('id="arms"')[1].split("</table>", maxsplit=1)[0], re.S
    )
    assert len(cells) == 36
    assert all("href=" in cell for cell in cells)


def test_it_says_how_deep_the_model_is(page: str) -> None:
    assert "All arms: 4 layers with weights from image to class, 10 classes." in page


def test_what_a_user_wrote_is_escaped(page: str) -> None:
    assert "Does &lt;norm&gt; matter &amp; how much?" in page
    assert "<b>exploding</b>" not in page.replace("\\u003c", "&lt;")


def test_it_names_the_diverged_trials_and_what_the_model_got_instead(page: str) -> None:
    assert "2 trials diverged" in page
    assert re.search(r"below 20.0 %, hardly above chance: 2 of 2 of .+ \(p = \d", page)
    assert "32 groups wanted of 16 channels: 16 groups given, which is instance norm" in page


def test_a_claim_of_several_pairs_says_what_it_leaves_open(illustrated: Path) -> None:
    page = write_report(illustrated).read_text(encoding="utf-8")
    reasons = re.findall(r'<tr class="why">(.*?)</tr>', page, re.S)
    # Not both orders can be the right one.
    assert re.search(
        r"(In reverse|Open): the mean over .+ over the mean over", reasons[1] + reasons[2]
    )


def test_published_numbers_stand_beside_ours(illustrated: Path) -> None:
    page = write_report(illustrated).read_text(encoding="utf-8")
    section = page.split('id="published"')[1].split("</table>", maxsplit=1)[0]
    assert "Published numbers beside ours" in section
    (cells,) = (
        re.findall(r"<td[^>]*>(.*?)</td>", line)
        for line in section.splitlines()
        if "norm=layer, dropout.p=0" in line
    )
    kept = pd.read_csv(illustrated / "tables" / "published.csv")
    assert kept["published"].tolist() == [90]
    ours, low, high = kept[["ours", "low", "high"]].iloc[0]
    limits = f"{low:.2f} to {high:.2f}"
    assert cells[1:] == ["90.00", f"{ours:.2f}", limits, "3", f"{ours - 90:+,.2f}"]
    assert 'href="tables/published.csv"' in page


def test_a_study_without_published_numbers_has_no_section_for_them(page: str) -> None:
    assert "Published numbers" not in page
    assert "tables/published.csv" not in page


def test_a_study_whose_source_printed_no_numbers_says_so(
    digits: dict[str, object], tmp_path: Path
) -> None:
    note = "The source shows <curves> alone"
    values = {"name": "s", "question": "?", "base": digits, "seeds": 1, "published": {"note": note}}
    plan = make_plan(Study.parse(values))
    with Store.write(tmp_path / "s") as store:
        store.record_plan(plan.record, plan.rows())
    page = write_report(tmp_path / "s").read_text(encoding="utf-8")
    assert '<h2 id="published">Published numbers</h2>' in page
    assert "The source shows &lt;curves&gt; alone." in page


def test_a_figure_has_its_number_in_the_source_beside_its_heading(
    finished: Path, tmp_path: Path
) -> None:
    figures = [
        {"name": "one", "kind": "dots", "source": "Figure 8 of <A>", "options": {}},
        {
            "name": "two",
            "kind": "bars",
            "unresolved": "no arm",
            "source": "Figure 9",
            "options": {},
        },
    ]
    page = write_report(with_figures(finished, tmp_path / "tiny", figures)).read_text(
        encoding="utf-8"
    )
    for text in ("Figure 8 of &lt;A&gt;", "Figure 9"):
        assert re.search(rf'<h2 id="figure-[^>]*>[^<]+ <span class="soft">{text}</span></h2>', page)


def test_it_needs_nothing_from_outside(page: str) -> None:
    assert not [link for link in Links(page).links if "//" in link]
    assert "@import" not in page.split("</style>", maxsplit=1)[0]


def test_the_tables_lie_beside_it_as_csv(page: str, finished: Path) -> None:
    arms = pd.read_csv(finished / "tables" / "arms.csv")
    assert arms["arm"].tolist() == ["batch", "group", "<b>exploding</b>"]
    assert len(pd.read_csv(finished / "tables" / "trials.csv")) == 6
    epochs = pd.read_csv(finished / "tables" / "epochs.csv")
    assert len(epochs.query("arm == 'batch'")) == 6
    shown = re.search(r"<strong>(\d+\.\d\d)</strong></a>", page)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(100 * arms["test_mean"][0], abs=0.005)


def test_a_study_with_nothing_finished_still_has_a_report(tmp_path: Path) -> None:
    row = TrialRow(id="a", recipe={"lr": 0.1}, seed=0, data_digest="d", semantics=1)
    arm = {
        "label": "x",
        "levels": {},
        "parameters": 1,
        "epochs": 1,
        "notes": [],
        "recipe": {},
        "trials": {"0": "a"},
    }
    with Store.write(tmp_path) as store:
        store.record_plan(plan_of([arm]), [row])
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "0 of 1 trials are finished" in page
    assert "spec-" not in page.split("<script>")[0]


def test_a_report_is_a_function_of_the_store(page: str, finished: Path) -> None:
    again = write_report(finished).read_text(encoding="utf-8")
    stamp = re.compile(r"Written by normlab on [^<]*")
    assert stamp.sub("", again) == stamp.sub("", page)


def dump(report: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    """A browser without network that shows a page: what it prints of it, and its log."""
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        # Off the network altogether: every name and address fails.
        "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:1",
        "--enable-logging=stderr", "--virtual-time-budget=10000", f"--user-data-dir={profile}",
    ]  # fmt: skip
    command = [str(CHROMIUM), *flags, "--dump-dom", report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def browse(report: Path, profile: Path) -> tuple[list[str], list[str]]:
    """What a browser without network logs, and the drawn figures of the page."""
    run = dump(report, profile)
    logged = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return logged, [
        part.split("<p class=")[0] for part in run.stdout.split('<div class="figure')[1:]
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
def test_a_browser_draws_every_figure_offline_and_logs_no_error(
    page: str, finished: Path, tmp_path: Path
) -> None:
    logged, figures = browse(finished / "report.html", tmp_path)
    assert logged == []
    assert len(figures) == 3
    for figure in figures:
        assert "<svg" in figure
        assert figure.count("<path") > 10


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
def test_one_seed_and_one_epoch_are_drawn_too(tmp_path: Path) -> None:
    base = {"data": "digits", "model": "digits-small", "epochs": 1}
    study = Study.parse({"name": "one", "question": "?", "base": base, "seeds": 1})
    run_plan(make_plan(study), tmp_path)
    logged, figures = browse(write_report(tmp_path / "one"), tmp_path / "profile")
    assert logged == []
    assert len(figures) == 3
    assert all("<svg" in figure for figure in figures)


def test_figures_carry_their_data_and_the_arms(page: str) -> None:
    arms = []
    for text in specifications(page).values():
        rows = [row for data in json.loads(text)["datasets"].values() for row in data]
        arms.append({row["arm"] for row in rows})
    everyone = {"batch", "group", "<b>exploding</b>"}
    # The diverged arm has accuracies to show and no finite loss.
    assert arms == [everyone, everyone, {"batch", "group"}]


def specifications(page: str) -> dict[str, str]:
    """The Vega-Lite text of every figure by name."""
    found = r'<script type="application/json" id="spec-([^"]*)">(.*?)</script>'
    return dict(re.findall(found, page, re.S))


def test_a_figure_of_every_kind_is_in_the_page_in_the_study_s_order(illustrated: Path) -> None:
    page = write_report(illustrated).read_text(encoding="utf-8")
    names = [figure.get("name", figure["kind"].replace("_", "-")) for figure in EVERY_KIND]
    assert {figure["kind"] for figure in EVERY_KIND} == set(FIGURES)
    found = [re.sub(r"-\d$", "", name) for name in specifications(page)]
    assert found == names
    assert "What &lt;b&gt; &amp; c cost" in page
    assert "Not drawn" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
def test_a_browser_draws_every_kind_offline_and_logs_no_warning(
    illustrated: Path, tmp_path: Path
) -> None:
    logged, figures = browse(write_report(illustrated), tmp_path)
    assert logged == []
    assert len(figures) == len(EVERY_KIND)
    for figure in figures:
        assert "<svg" in figure
        assert figure.count("<path") + figure.count("<image") >= 10


def test_a_figure_that_cannot_be_drawn_says_why(finished: Path, tmp_path: Path) -> None:
    record = {"heading": None, "caption": None, "arms": ["batch"], "scale": "linear"}
    figures: list[dict[str, object]] = [
        {**record, "kind": "gradients", "name": "ours"},
        {**record, "kind": "agc", "name": "agc"},
        {**record, "kind": "dots", "name": "dots", "unresolved": "unknown arm 'x'."},
    ]
    folder = with_figures(finished, tmp_path / "tiny", figures)
    page = write_report(folder).read_text(encoding="utf-8")
    assert list(specifications(page)) == ["ours"]
    assert "Not drawn: no epoch has recorded it." in page
    assert "Not drawn: this variant of the study lacks it: unknown arm &#39;x&#39;." in page


def test_the_most_memory_of_a_trial_stands_where_it_ran(finished: Path) -> None:
    with Store.read(finished) as store:
        frames = load_frames(store)
    places = where_it_ran(frames)
    assert sum(int(str(place["trials"])) for place in places) == len(frames.trials)
    most = int(frames.trials["peak_memory"].astype(float).max())
    assert max(int(str(place["peak_memory"])) for place in places) == most
    page = write_report(finished).read_text(encoding="utf-8")
    assert re.search(rf"<td>{most / 2**20:,.0f}( \*)?</td>", page)  # a share, or not
    hostile = frames.trials.assign(peak_memory="much")
    assert where_it_ran(replace(frames, trials=hostile))[0]["peak_memory"] is None

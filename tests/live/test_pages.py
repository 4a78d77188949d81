"""The pages of studies: what is on them, when they are made, and whatever a folder may hold."""

import asyncio
import itertools
import json
import re
import shutil
import sqlite3
import time
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from normlab.errors import UserError
from normlab.figures.curves import Curves
from normlab.live import watching
from normlab.live.app import _FIRST_DRAWING
from normlab.live.rendering import Made
from normlab.live.views import METRICS
from normlab.live.watching import BUDGET, EVERY, studies_in
from normlab.store import Store
from tests.live.conftest import Browser, Site
from tests.made_stores import begin, fill, numbers, plan, rows, trial_id


def test_the_first_page_lists_the_studies(viewer: Browser) -> None:
    page = viewer.get("/").text
    assert page.index('href="/study/first"') < page.index('href="/study/second"')
    assert page.count("2 of 6 trials finished") == 2


def test_the_first_page_reads_the_folder_once(
    site: Site, viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[Path] = []

    def counted(folder: Path) -> list[str]:
        scans.append(folder)
        return studies_in(folder)

    monkeypatch.setattr(watching, "studies_in", counted)
    assert viewer.get("/").text.count("2 of 6 trials finished") == 2
    assert scans == [site.runs]


def test_the_bar_and_the_states_agree_on_what_is_finished(site: Site, viewer: Browser) -> None:
    with Store.write(site.runs / "first") as store:
        begin(store, "batch", 1, epochs=1)
        store.finish(trial_id("batch", 1), replace(numbers("batch", 1)[1], state="diverged"), [])
    page = viewer.get("/study/first/progress").text
    assert "3 of 6 trials finished" in page
    assert "2 complete, 1 diverged, 3 pending." in page


def test_a_report_s_styles_and_script_do_not_wait_for_the_process_that_draws(
    site: Site, viewer: Browser
) -> None:
    site.drawer.fails = "it does not start"
    for name, part in (("report.css", "--ground"), ("report.js", "vegaEmbed")):
        answer = viewer.get(f"/static/{name}")
        assert answer.status_code == 200
        assert part in answer.text
    assert viewer.get("/static/vega.js").status_code == 503
    missing = viewer.get("/static/report.cs")
    assert missing.status_code == 404
    assert "Did you mean &#39;report.css&#39;?" in missing.text
    assert "vega.js" in missing.text


def test_a_script_that_could_not_be_made_is_asked_for_again(site: Site, viewer: Browser) -> None:
    site.drawer.fails = "it does not start"
    viewer.get("/")  # which has it made, and does not wait
    site.runner.run(asyncio.sleep(0.1))
    site.drawer.fails = None
    assert viewer.get("/static/vega.js").status_code == 200


def test_a_study_s_page_has_its_progress_and_its_report(viewer: Browser) -> None:
    answer = viewer.get("/study/first")
    assert "2 of 6 trials finished" in answer.text
    assert "4 of 12 epochs" in answer.text
    assert 'id="part-answer"' in answer.text
    body = viewer.get("/study/first/body")
    assert body.text in answer.text
    assert answer.headers["x-body-version"] == body.headers["etag"].strip('"')


def test_the_page_s_parts_are_the_report_s_own(viewer: Browser, runs: Path) -> None:
    from normlab.reports import write_report

    body = viewer.get("/study/first/body").text
    report = write_report(runs / "first").read_text(encoding="utf-8")
    rows = re.findall(r'<section id="(part-arms|part-figures)".*?</section>', report, re.DOTALL)
    assert rows
    spec = re.search(r'id="spec-accuracy-curves">(.*?)</script>', report, re.DOTALL)
    assert spec is not None
    assert spec[0] in body


def test_no_script_stands_in_a_page_but_as_data(viewer: Browser) -> None:
    for path in ("/", "/study/first", "/study/first/body", "/compare?study=first", "/nowhere"):
        page = viewer.get(path).text
        for tag in re.findall(r"<script[^>]*>", page):
            assert " src=" in tag or 'type="application/json"' in tag
        assert not re.search(r"\son[a-z]+=", page)
        assert "style=" not in page
        assert "<style" not in page


# -- tags and versions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/study/first", "/study/first/progress", "/study/first/body", "/compare?study=first",
     "/static/live.js", "/static/vega.js"],
)  # fmt: skip
def test_what_a_browser_has_is_not_sent_again(viewer: Browser, path: str) -> None:
    viewer.get("/study/first")
    tag = viewer.get(path).headers["etag"]
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = viewer.get(path, headers={"if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert viewer.get(path, headers={"if-none-match": '"x"'}).status_code == 200


def test_polling_a_study_in_which_nothing_happens_reads_nothing(
    site: Site, viewer: Browser
) -> None:
    _aged(site)
    viewer.get("/study/first")
    tag = viewer.get("/study/first/progress").headers["etag"]
    looker = site.watcher._watched["first"].looker
    reads, drawn = looker.reads, list(site.drawer.bodies)
    for _ in range(10):
        site.clock.now += EVERY / 4
        answer = viewer.get("/study/first/progress", headers={"if-none-match": tag})
        assert answer.status_code == 304
        assert answer.headers["x-body-version"]
    assert looker.reads == reads
    assert site.drawer.bodies == drawn == ["first"]


def _aged(site: Site) -> None:
    """As if nothing had been written for a while."""
    for name in studies_in(site.runs):
        site.runner.run(site.watcher.study(name))
        looker = site.watcher._watched[name].looker
        looker.wall = lambda: time.time() + 60
        looker.clock = site.clock
        site.watcher._watched[name].next_look = 0.0


def test_a_new_epoch_is_seen_after_two_seconds_and_by_all_pages_at_one_look(
    site: Site, viewer: Browser
) -> None:
    before = viewer.get("/study/first/progress")
    looker = site.watcher._watched["first"].looker
    reads = looker.reads
    with Store.write(site.runs / "first") as store:
        begin(store, "batch", 1, epochs=1)
        assert viewer.get("/study/first/progress").headers["etag"] == before.headers["etag"]
        site.clock.now += EVERY
        answers = [site.browser().get("/study/first/progress") for _ in range(10)]
    assert {answer.headers["etag"] for answer in answers} != {before.headers["etag"]}
    assert len({answer.text for answer in answers}) == 1
    assert "1 running" in answers[0].text
    assert "5 of 12 epochs" in answers[0].text
    assert "1 of 2" in answers[0].text
    assert looker.reads == reads + 1


def test_a_trial_whose_run_is_gone_is_interrupted(site: Site, viewer: Browser) -> None:
    with Store.write(site.runs / "first") as store:
        begin(store, "batch", 1, epochs=1)
    page = viewer.get("/study/first/progress").text
    assert "1 interrupted" in page
    assert "running" not in page
    assert "No run is active" in page


def test_a_report_is_drawn_once_for_all_pages_and_again_within_its_budget(
    site: Site, viewer: Browser
) -> None:
    site.drawer.seconds = 2.0
    first = viewer.get("/study/first")
    for _ in range(9):
        site.browser().get("/study/first")
    assert site.drawer.bodies == ["first"]
    with Store.write(site.runs / "first") as store:
        begin(store, "batch", 1, epochs=1)
    site.clock.now += 2 * BUDGET - 1
    early = viewer.get("/study/first/progress")
    site.drawn()
    assert site.drawer.bodies == ["first"]
    assert early.headers["x-body-version"] == first.headers["x-body-version"]
    site.clock.now += 1
    for _ in range(10):
        viewer.get("/study/first/progress")
    site.drawn()
    assert site.drawer.bodies == ["first", "first"]
    late = viewer.get("/study/first/progress")
    assert late.headers["x-body-version"] != first.headers["x-body-version"]
    # A viewer that has the progress learns all the same that the report is another one.
    known = {"if-none-match": early.headers["etag"]}
    assert viewer.get("/study/first/progress", headers=known).status_code == 200


def test_the_budget_is_each_study_s_own_and_unchanged_ones_are_never_drawn_again(
    site: Site, viewer: Browser
) -> None:
    site.drawer.seconds = 100.0
    viewer.get("/study/first")
    viewer.get("/study/second")
    site.clock.now += 1e6
    viewer.get("/study/first")
    site.drawn()
    assert site.drawer.bodies == ["first", "second"]


def test_a_page_does_not_wait_for_a_long_drawing(
    site: Site, viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    ended, drawn = threading.Event(), site.drawer.body
    monkeypatch.setattr(site.pages, "first_drawing", 0.05)
    assert _FIRST_DRAWING > 1

    def slow(folder: Path) -> object:
        ended.wait(60)
        return drawn(folder)

    monkeypatch.setattr(site.drawer, "body", slow)
    page = viewer.get("/study/first")
    assert (page.status_code, page.headers["x-body-version"]) == (200, "")
    assert 'id="waiting"' in page.text
    assert viewer.get("/study/first/progress").headers["x-body-version"] == ""
    assert viewer.get("/study/first/body").status_code == 503
    ended.set()
    site.drawn()
    assert viewer.get("/study/first/body").status_code == 200


# -- what a folder may hold ----------------------------------------------------------------------

HOSTILE = [
    '"><script>alert(1)', "a'b", "%2e%2e", "..%2f..", "a b&c=d#e?f", "{{ 7 * 7 }}",
    "new\nline", "\x1b[2J", "\u202egnp", "ünï", "-rf", "...",
]  # fmt: skip


@pytest.mark.parametrize("name", ["\x1b[2J", "\u202egnp", "new\nline"])
def test_a_hostile_name_of_a_store_that_cannot_be_read_is_shown_as_text(
    site: Site, name: str
) -> None:
    _damaged(fill(site.runs / name, plan(range(1)), [("batch", 0)]) / "store.sqlite")
    browser, place = site.browser(), quote(name, safe="")
    for path in ("/", f"/study/{place}", f"/study/{place}/progress", f"/compare?study={place}"):
        answer = browser.get(path)
        assert "damaged" in answer.text
        assert not set("\x1b\u202e") & set(answer.text)


def test_why_a_drawing_failed_is_shown_as_text(site: Site, viewer: Browser) -> None:
    site.drawer.fails = "\x1b[2J \u202e <script>"
    body = viewer.get("/study/first/body").text
    assert r"\x1b[2J \u202e &lt;script&gt;" in body
    assert not set("\x1b\u202e") & set(body)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_text_and_leads_to_its_study(site: Site, name: str) -> None:
    fill(site.runs / name, plan(range(1), question=f"{name}?"), [("batch", 0)])
    browser = site.browser()
    for path in ("/", f"/study/{quote(name, safe='')}", f"/compare?study={quote(name)}"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert ">49<" not in answer.text
        assert not set("\x1b\u202e") & set(answer.text)
    found = re.findall(r'href="/study/([^"]*)"', browser.get("/").text)
    assert sorted(map(unquote, found)) == sorted(["first", "second", name])
    assert all(re.fullmatch(r"[\w.~%-]+", each, re.ASCII) for each in found)


def test_the_form_of_a_hostile_name_leads_back_to_it(site: Site) -> None:
    name = "new\nline"
    fill(site.runs / name, plan(range(1)), [("batch", 0)])
    browser = site.browser()
    page = browser.get(f"/compare?study={quote(name)}").text
    sent = re.search(r'name="study" value="([^"]*)"', page)
    assert sent is not None
    assert browser.get(f"/compare?study={quote(sent[1])}&arm=batch").status_code == 200


@pytest.mark.parametrize(
    "name",
    ["%2e%2e", "first%2f..%2f..", "first%00", "FIRST", "%20"],
)
def test_no_name_leads_anywhere_else(site: Site, viewer: Browser, name: str) -> None:
    fill(site.runs.parent / "outside", plan(range(1)), [("batch", 0)])
    for path in (
        f"/study/{name}",
        f"/study/{name}/body",
        f"/compare?study={name}",
        "/compare?study=..",
    ):
        answer = viewer.get(path)
        assert answer.status_code == 404
        assert "outside" not in answer.text


def test_no_link_is_followed(site: Site) -> None:
    outside = fill(site.runs.parent / "outside", plan(range(1)), [("batch", 0)])
    (site.runs / "linked").symlink_to(outside)
    (site.runs / "half").mkdir()
    (site.runs / "half" / "store.sqlite").symlink_to(outside / "store.sqlite")
    shutil.rmtree(site.runs / "first" / "artifacts")
    (site.runs / "first" / "artifacts").symlink_to(outside / "artifacts")
    browser = site.browser()
    assert studies_in(site.runs) == ["first", "second"]
    assert browser.get("/study/linked").status_code == 404
    assert "is a link" in browser.get("/study/first").text


def test_what_holds_no_store_is_no_study(site: Site) -> None:
    (site.runs / "empty").mkdir()
    (site.runs / "file").write_text("x")
    (site.runs / "begun").mkdir()
    (site.runs / "begun" / "store.sqlite").touch()
    assert studies_in(site.runs) == ["first", "second"]


def _damaged(store: Path) -> None:
    content = bytearray(store.read_bytes())
    content[200:] = b"\x55" * (len(content) - 200)
    store.write_bytes(content)


def _foreign(store: Path) -> None:
    store.unlink()
    connection = sqlite3.connect(store)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def _no_database(store: Path) -> None:
    store.write_text("no database at all" * 100)


def _newer(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 999")
    connection.close()


def _older(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def _hollow(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("DELETE FROM studies")
    connection.commit()
    connection.close()


def _no_plan(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("""INSERT INTO studies VALUES (99, 'x', '{"arms": 3}', 'x')""")
    connection.commit()
    connection.close()


WAYS = {
    _damaged: "damaged|malformed|no store",
    _foreign: "did not make",
    _no_database: "not a database",
    _newer: "newer normlab",
    _older: "older normlab",
    _hollow: "no runs yet",
    _no_plan: "no valid",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_store_that_cannot_be_read_is_said_so_and_the_server_goes_on(
    site: Site, when: str, way: object
) -> None:
    browser = site.browser()
    if when == "while":
        assert browser.get("/study/first").status_code == 200
    way(site.runs / "first" / "store.sqlite")  # type: ignore[operator]
    site.clock.now += 60
    index, page = browser.get("/"), browser.get("/study/first")
    progress = browser.get("/study/first/progress")
    compared = browser.get("/compare?study=first")
    assert (index.status_code, page.status_code) == (200, 200)
    assert (progress.status_code, compared.status_code) == (404, 404)
    for answer in (index, page, progress, compared):
        assert re.search(WAYS[way], answer.text)  # type: ignore[index]
        assert str(site.runs) not in answer.text
    assert "2 of 6 trials finished" in browser.get("/study/second").text


def test_a_study_that_vanishes_and_comes_back(site: Site, viewer: Browser) -> None:
    before = viewer.get("/study/first/progress").text
    (site.runs / "first").rename(site.runs.parent / "aside")
    site.clock.now += EVERY
    assert "no longer there" in viewer.get("/study/first/progress").text
    assert "first" not in viewer.get("/").text
    (site.runs.parent / "aside").rename(site.runs / "first")
    site.clock.now += EVERY
    assert viewer.get("/study/first/progress").text == before


def test_a_folder_of_runs_that_vanishes(site: Site, viewer: Browser) -> None:
    viewer.get("/study/first")
    shutil.rmtree(site.runs)
    site.clock.now += EVERY
    assert viewer.get("/").status_code == 404
    assert "cannot be read" in viewer.get("/").text
    assert "no longer there" in viewer.get("/study/first").text
    assert viewer.get("/study/second").status_code == 404


def test_a_drawing_that_fails_is_said_and_tried_again_when_the_store_has_changed(
    site: Site, viewer: Browser
) -> None:
    site.drawer.fails = f"the process that draws has ended, see {site.runs}/first/x"
    page = viewer.get("/study/first").text
    assert "the process that draws has ended" in page
    assert str(site.runs) not in page
    assert "2 of 6 trials finished" in page
    site.drawer.fails = None
    viewer.get("/study/first")
    assert site.drawer.bodies == ["first"]
    with Store.write(site.runs / "first") as store:
        begin(store, "batch", 1, epochs=1)
    site.clock.now += 60
    viewer.get("/study/first")
    site.drawn()
    assert 'id="part-answer"' in viewer.get("/study/first/body").text


DATA = [
    {"kind": "image-folder", "path": "/home/me/my data/my images"},
    {"kind": "npz", "path": "file:///home/me/secret/digits"},
]


def test_no_path_of_the_machine_is_in_any_answer(site: Site) -> None:
    reason = (
        "Traceback (most recent call last):\n"
        f'  File "{site.runs}/code.py", line 3, in train\n'
        '  File "/home/me/my venv/lib/torch/nn.py", line 9, in forward\n'
        f"FileNotFoundError: [Errno 2] No such file: '{site.runs}/first/checkpoints/x.pt'"
    )
    with Store.write(site.runs / "first") as store:
        store.start(trial_id("batch", 1), {"device": "cpu"}, 0)
        store.fail(trial_id("batch", 1), reason)
    arms = [
        {**json.loads(arm.model_dump_json()), "recipe": {"norm": arm.label, "data": data},
         "code": {"/home/me/augment.py": "0" * 64}}
        for arm, data in zip(plan(range(3)).arms, DATA, strict=True)
    ]  # fmt: skip
    own = plan(range(3), arms=arms, overrides={"data": DATA[0], "model": "~/my models/m.py"})
    fill(site.runs / "own", own, [("batch", 0), ("none", 1)])
    browser = site.browser()
    paths = ["/", "/study/first", "/study/first/progress", "/study/first/body", "/nowhere"]
    paths += ["/study/own", "/study/own/body", "/compare?study=own"]
    paths += ["/compare?study=first", "/compare?study=x", "/static/live.js", "/static/x"]
    pages = [browser.get(path).text for path in paths]
    assert any("line 9, in forward" in page for page in pages)
    assert "nn.py" in pages[2]
    own_body = pages[paths.index("/study/own/body")]
    for shown in ("kind: image-folder, path: my images", "path: digits", "m.py", "augment.py"):
        assert shown in own_body
    for page in pages:
        assert str(site.runs) not in page
        for part in ("/home/me", "my data", "my models", "secret", "~/", "file:/"):
            assert part not in page
        assert str(Path(watching.__file__).parent) not in page


@pytest.mark.parametrize("path", ["/study/first/body", "/compare?study=first"])
def test_why_there_is_no_figure_names_no_folder(
    site: Site, viewer: Browser, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def draw(*_: object) -> object:
        raise UserError(f"'/home/me/my data/x.npz' is gone, see {site.runs}/first and ~/log.txt")

    with Store.write(site.runs / "first") as store:
        store.record_plan(with_curves := plan(range(3), figures=[CURVES]), rows(with_curves))
    monkeypatch.setattr(Curves, "draw", draw)
    page = unescape(viewer.get(path).text)
    assert "Not drawn: 'x.npz' is gone, see first and log.txt." in page


CURVES = {"name": "c", "kind": "curves", "options": {"metric": "loss"}}


# -- compare -------------------------------------------------------------------------------------


def test_arms_and_metrics_are_compared_and_the_address_says_which(
    site: Site, viewer: Browser
) -> None:
    page = viewer.get("/compare?study=first&arm=none&metric=test_loss&metric=lr").text
    assert re.findall(r'id="spec-([a-z-]+)"', page) == ["test-loss", "lr"]
    assert '"arm":"none"' in page
    assert '"arm":"batch"' not in page
    checked = re.findall(r'name="(?:arm|metric)" value="([^"]+)" checked', page)
    assert sorted(checked) == ["lr", "none", "test_loss"]
    for words in ("Test macro F1", "Validation calibration error", "Learning rate"):
        assert f"<span>{words}</span>" in page
    viewer.get("/compare?study=first&arm=none&metric=lr&metric=test_loss")
    assert site.drawer.comparisons == 1


def test_without_a_choice_it_shows_the_usual(viewer: Browser) -> None:
    page = viewer.get("/compare?study=first").text
    assert re.findall(r'id="spec-([a-z-]+)"', page) == ["test-accuracy"]
    assert '"arm":"none"' in page
    assert '"arm":"batch"' in page


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("study=first&arm=batsh", "unknown arm &#39;batsh&#39;. Did you mean &#39;batch&#39;?"),
        ("study=first&metric=test_acuracy", "Did you mean &#39;test_accuracy&#39;?"),
        ("study=frist", "unknown study &#39;frist&#39;. Did you mean &#39;first&#39;?"),
        ("", "unknown study &#39;&#39;."),
        ("study=first&arm=<script>", "unknown arm &#39;&lt;script&gt;&#39;."),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(
    viewer: Browser, asked: str, said: str
) -> None:
    answer = viewer.get(f"/compare?{asked}")
    assert answer.status_code == 404
    assert said in answer.text


def test_a_metric_that_was_never_recorded_has_a_sentence(viewer: Browser) -> None:
    answer = viewer.get("/compare?study=first&metric=validation_accuracy")
    assert answer.status_code == 200
    assert "Not drawn: no epoch has recorded it." in answer.text


def test_every_metric_can_be_drawn_or_says_why_not(viewer: Browser) -> None:
    asked = "&".join(f"metric={name}" for name in METRICS)
    page = viewer.get(f"/compare?study=first&{asked}").text
    assert len(re.findall(r'id="part-figure-', page)) == len(METRICS)
    assert "test_accuracy" in METRICS
    assert page.count("Not drawn: ") == page.count("Not drawn: no epoch has recorded it.")


def test_comparisons_are_kept_and_have_a_budget_too(
    site: Site, viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.drawer.seconds = 2.0
    viewer.get("/compare?study=first")
    with Store.write(site.runs / "first") as store:
        begin(store, "batch", 1, epochs=1)
    site.clock.now += 2 * BUDGET - 1
    viewer.get("/compare?study=first")
    assert site.drawer.comparisons == 1
    site.clock.now += 1
    viewer.get("/compare?study=first")
    site.drawn()
    assert site.drawer.comparisons == 2

    monkeypatch.setattr(site.drawer, "compare", lambda *_: Made(content=[], seconds=0.0))
    names = list(METRICS)
    for one, other in itertools.islice(
        itertools.combinations(names, 2), watching._MOST_COMPARED + 5
    ):
        viewer.get(f"/compare?study=first&metric={one}&metric={other}")
    kept = site.watcher._watched["first"].compared
    assert len(kept) == watching._MOST_COMPARED

"""Who is let in, and what every answer says."""

from collections.abc import MutableMapping, Sequence
from contextlib import closing
from http.cookies import SimpleCookie
from typing import Any

import pytest

from normlab.live import access
from normlab.live.access import HEADERS, POLICY, Access, Address, Keys
from normlab.live.app import guarded
from tests.live.conftest import ADDRESS, Browser, Loop, Site

ROUTES = [
    "/",
    "/study/first",
    "/study/first/progress",
    "/study/first/body",
    "/compare?study=first",
    "/static/live.css",
    "/static/vega.js",
]
ERRORS = ["/nowhere", "/study/nobody", "/study/nobody/body", "/static/../app.py", "/static/x.js"]


def test_the_token_lets_one_browser_in_and_then_another_one_is_there(site: Site) -> None:
    token = site.keys.token
    browser, other = site.browser(let_in=False), site.browser(let_in=False)
    answer = browser.get(f"/?token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert site.entered == 1
    again = other.get(f"/?token={token}")
    assert again.status_code == 403
    assert "has been used" in again.text
    assert "set-cookie" not in again.headers
    assert site.keys.token != token
    assert browser.get("/").status_code == 200
    assert other.get("/").status_code == 403
    assert other.get(f"/?token={site.keys.token}").status_code == 303
    assert other.get("/").status_code == browser.get("/").status_code == 200


def test_the_cookie_is_for_this_server_s_pages_alone(site: Site) -> None:
    answer = site.browser(let_in=False).get(f"/?token={site.keys.token}")
    cookie = SimpleCookie(answer.headers["set-cookie"])["normlab-8321"]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Strict", "/", "")
    assert len(cookie.value) > 40
    assert site.keys.token not in answer.headers["set-cookie"]


def test_the_browser_has_its_cookie_before_the_next_address_is_told(site: Site) -> None:
    def gone() -> None:
        raise OSError(32, "Broken pipe")

    site.app = guarded(site.pages, ADDRESS, site.keys, gone)
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def ask() -> None:
        await site.app(scope_of(f"token={site.keys.token}"), nothing, send)

    with pytest.raises(OSError, match="Broken pipe"):
        site.runner.run(ask())
    assert sent[0]["status"] == 303
    assert b"set-cookie" in dict(sent[0]["headers"])


def test_who_is_in_uses_no_token_up(site: Site, viewer: Browser) -> None:
    token = site.keys.token
    assert viewer.get(f"/?token={token}").status_code == 303
    assert viewer.get("/?token=old").status_code == 303
    assert site.keys.token == token


def test_a_look_at_the_link_without_opening_it_uses_no_token_up(site: Site) -> None:
    token = site.keys.token
    assert site.browser(let_in=False).request("HEAD", f"/?token={token}").status_code == 403
    assert site.keys.token == token


@pytest.mark.parametrize("token", ["", "x", "é", "%00", "%ff"])
def test_a_wrong_token_lets_nobody_in(site: Site, token: str) -> None:
    answer = site.browser(let_in=False).get(f"/?token={token}")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_token_is_taken_at_the_first_page_alone(site: Site) -> None:
    browser = site.browser(let_in=False)
    assert browser.get(f"/study/first?token={site.keys.token}").status_code == 403


@pytest.mark.parametrize("cookie", ["", "normlab-8321=x", "normlab-8321=é", '=";a', "other=1"])
def test_without_the_cookie_nothing_is_answered(site: Site, cookie: str) -> None:
    for path in (*ROUTES, *ERRORS):
        answer = site.browser(let_in=False).get(path, headers={"cookie": cookie.encode()})
        assert answer.status_code == 403
        assert "has not been let in" in answer.text
        assert "first" not in answer.text


@pytest.mark.parametrize(
    "before",
    ['prefs={"a":1}; ', "flag; ", "x[y]=1; ", 'a="; ', "=; ;; ", "é=1; ", "normlab-8322=x; "],
)
def test_an_odd_cookie_of_another_program_here_locks_nobody_out(site: Site, before: str) -> None:
    answer = site.browser(let_in=False).get(f"/?token={site.keys.token}")
    own = answer.headers["set-cookie"].partition(";")[0]
    stranger = site.browser(let_in=False)
    for cookie in (before + own, f"{own}; {before}"):
        assert stranger.get("/", headers={"cookie": cookie.encode()}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8321", "evil.example", "127.0.0.1", "127.0.0.1:80", "localhost:8322",
        "127.0.0.1:8321.evil.example", "localhost.evil.example:8321", "127.0.0.2:8321", "[::2]:8321",
    ],
)  # fmt: skip
def test_another_name_or_port_is_refused_even_with_the_cookie(site: Site, host: str) -> None:
    browser = site.browser()
    answer = browser.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "answers to http://127.0.0.1:8321/ alone" in answer.text
    assert "studies" not in answer.text
    assert browser.get(f"/?token={site.keys.token}", headers={"host": host}).status_code == 421


def test_two_hosts_or_none_are_refused(site: Site) -> None:
    for headers in ([], [(b"host", b"127.0.0.1:8321")] * 2):
        assert status_of(site, headers=headers) == 421


def scope_of(
    query: str = "",
    kind: str = "http",
    headers: Sequence[tuple[bytes, bytes]] = ((b"host", b"127.0.0.1:8321"),),
) -> dict[str, object]:
    return {
        "type": kind,
        "method": "GET",
        "path": "/",
        "query_string": query.encode(),
        "headers": headers,
    }


async def nothing() -> dict[str, object]:
    return {"type": "http.request"}


def status_of(site: Site, headers: list[tuple[bytes, bytes]], kind: str = "http") -> int:
    """What a request gets that no browser sends."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def ask() -> None:
        await site.app(scope_of(kind=kind, headers=headers), nothing, send)

    site.runner.run(ask())
    return int(str(sent[0].get("status", sent[0].get("code"))))


def test_no_other_kind_of_connection_is_opened(site: Site) -> None:
    headers = [(b"host", b"127.0.0.1:8321")]
    assert status_of(site, headers, kind="websocket") == 1008


@pytest.mark.parametrize("host", ["localhost:8321", "LOCALHOST:8321", "[::1]:8321"])
def test_this_machine_s_own_names_are_answered(site: Site, host: str) -> None:
    assert site.browser().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8321", "http://localhost:8888", ""],
)
def test_a_page_of_another_origin_gets_nothing(site: Site, origin: str) -> None:
    browser = site.browser()
    for path in ("/", "/study/first/progress"):
        answer = browser.get(path, headers={"origin": origin})
        assert answer.status_code == 403
        assert "Another site" in answer.text
    assert browser.get("/", headers={"origin": "http://127.0.0.1:8321"}).status_code == 200


@pytest.mark.parametrize("site_", ["cross-site", "same-site", "anything"])
def test_what_another_site_s_page_asks_for_is_refused(site: Site, site_: str) -> None:
    token = site.keys.token
    stranger = site.browser(let_in=False)
    assert stranger.get(f"/?token={token}", headers={"sec-fetch-site": site_}).status_code == 403
    assert site.keys.token == token
    browser = site.browser()
    assert browser.get("/", headers={"sec-fetch-site": site_}).status_code == 403
    for own in ("same-origin", "none"):
        assert browser.get("/", headers={"sec-fetch-site": own}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_but_reading_is_answered(viewer: Browser, method: str) -> None:
    for path in (*ROUTES, *ERRORS):
        answer = viewer.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"


def test_a_head_is_answered_as_a_get_is(viewer: Browser) -> None:
    for path in ROUTES:
        answer, whole = viewer.request("HEAD", path), viewer.get(path)
        assert answer.status_code == whole.status_code == 200
        assert answer.headers["content-length"] == whole.headers["content-length"]


def test_every_answer_has_the_headers_of_all(site: Site, viewer: Browser) -> None:
    stranger = site.browser(let_in=False)
    answers = [viewer.get(path) for path in (*ROUTES, *ERRORS)]
    answers += [stranger.get(path) for path in (*ROUTES, *ERRORS)]
    answers += [viewer.request("POST", "/"), viewer.get("/", headers={"host": "evil.example"})]
    answers += [stranger.get(f"/?token={site.keys.token}")]
    assert {answer.status_code for answer in answers} == {200, 303, 403, 404, 405, 421}
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        kept = "no-cache" if "etag" in answer.headers else "no-store"
        assert answer.headers["cache-control"] == kept


def test_an_error_of_ours_has_them_too_and_tells_nothing(
    site: Site, viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise ZeroDivisionError("/home/me/secret")

    monkeypatch.setattr(site.pages.views, "index", broken)
    answer = viewer.get("/")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.text
    assert "secret" not in answer.text
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert viewer.get("/study/first").status_code == 200


def test_a_page_runs_no_inline_script_or_style() -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';")


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("secrets.compare_digest", digest)
    keys = Keys(token="t", cookies=["a", "b"])
    assert keys.exchange("x") is None
    assert not keys.knows("c")
    assert compared == [(b"x", b"t"), (b"c", b"a"), (b"c", b"b")]


def test_the_oldest_of_too_many_browsers_is_out() -> None:
    keys = Keys()
    cookies = [str(keys.exchange(keys.token)) for _ in range(access._MOST_BROWSERS + 1)]
    assert not keys.knows(cookies[0])
    assert all(map(keys.knows, cookies[1:]))


def test_a_name_of_the_machine_s_own_is_answered_where_it_is_listened_on() -> None:
    assert "10.0.0.7:81" in Address("10.0.0.7", 81).hosts
    assert "[fe80::1]:81" in Address("fe80::1", 81).hosts
    assert "node7:81" in Address("Node7", 81).hosts
    assert {"localhost", "localhost:80"} <= Address("127.0.0.1", 80).hosts
    assert Address("::1", 9).url == "http://[::1]:9/"


def test_the_door_stands_before_the_pages() -> None:
    async def never(*_: object) -> None:
        raise AssertionError("a stranger came through")

    app = Access(never, Address("127.0.0.1", 8321), Keys(), lambda found: found.reason)
    with closing(Loop()) as runner:
        assert Browser(app, runner).get("/study/first").status_code == 403

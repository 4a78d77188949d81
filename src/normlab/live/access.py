"""Who may see the pages: one browser that was given the token, on this machine, reading alone.

Every request goes through here before anything else looks at it, and every answer, also a refusal
or an error, leaves with the same headers.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
"""What a page may load and run: files of this server, and no inline script or style."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Of every answer."""
_MOST_BROWSERS = 100
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass
class Keys:
    """The token that lets one browser in, and the cookies of the browsers that are in.

    Attributes:
        token: Lets the next browser in; once it has, there is another one.
        cookies: What the browsers that are in send.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookies: list[str] = field(default_factory=list)

    def exchange(self, given: str) -> str | None:
        """A new cookie for the token, which then is another; None for anything else."""
        if not _same(given, self.token):
            return None
        self.token = secrets.token_urlsafe(32)
        cookie = secrets.token_urlsafe(32)
        self.cookies = [*self.cookies[1 - _MOST_BROWSERS :], cookie]
        return cookie

    def knows(self, cookie: str) -> bool:
        """Whether it is the cookie of a browser that is in."""
        return any(_same(cookie, known) for known in self.cookies)


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode("utf-8", "replace"), other.encode())


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        host: A name or an IP address, one of version 6 without brackets.
        port: Its number.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """The first page, without the token."""
        return f"http://{_bracketed(self.host)}:{self.port}/"

    @property
    def cookie(self) -> str:
        """The cookie's name: browsers do not keep the cookies of two ports apart."""
        return f"normlab-{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser may call this server in the header `Host`."""
        names = {*_LOOPBACK, _bracketed(self.host).lower()}
        bare = names if self.port == 80 else set[str]()
        return frozenset({f"{name}:{self.port}" for name in names} | bare)

    @property
    def origins(self) -> frozenset[str]:
        """The same names as a browser writes them in the header `Origin`."""
        return frozenset(f"http://{host}" for host in self.hosts)


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered.

    Attributes:
        status: Of HTTP.
        reason: A sentence for the person at the browser.
    """

    status: int
    reason: str


def refusal(scope: Scope, address: Address) -> Refusal | None:
    """What is wrong with a request whoever sent it; None where nothing is."""
    if _one(scope, b"host").lower() not in address.hosts:
        # The name of another site that its owner lets point to this machine (DNS rebinding).
        return Refusal(
            421,
            f"This server answers to {address.url} alone, and was asked for by another name or "
            "port. Through a tunnel, use the same port on both sides.",
        )
    if scope["method"] not in ("GET", "HEAD"):
        return Refusal(405, "These pages are only for reading: GET and HEAD are answered.")
    origin = _all(scope, b"origin")
    if origin and (len(origin) > 1 or origin[0].lower() not in address.origins):
        return Refusal(403, "Another site's page asked for this one.")
    if set(_all(scope, b"sec-fetch-site")) - {"same-origin", "none"}:
        return Refusal(
            403,
            "A link or a page of another site led here. Copy the address that normlab printed "
            "into the browser's address bar.",
        )
    return None


def _all(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _one(scope: Scope, name: bytes) -> str:
    found = _all(scope, name)
    return found[0] if len(found) == 1 else ""


class Access:
    """The application behind its door, as ASGI.

    Args:
        app: What answers a browser that is in.
        address: Where the server listens.
        keys: Its token and cookies.
        refused: A page of HTML for a refusal.
        entered: Called when the token has let a browser in, and another one is there.
    """

    def __init__(
        self,
        app: ASGIApp,
        address: Address,
        keys: Keys,
        refused: Callable[[Refusal], str],
        entered: Callable[[], None] = lambda: None,
    ) -> None:
        self._app, self._address, self._keys = app, address, keys
        self._refused, self._entered = refused, entered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":  # no page opens another kind of connection
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _with_headers(send)
        found: Refusal | bool = refusal(scope, self._address) or await self._at_the_door(
            scope, answer
        )
        if isinstance(found, Refusal):
            await self._refuse(found, scope, answer)
        elif found:
            await self._app(scope, receive, answer)

    async def _at_the_door(self, scope: Scope, send: Send) -> Refusal | bool:
        """Whether the browser is in; False where it was sent on with its new cookie."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        is_in = self._keys.knows(self._cookie(scope))
        if scope["path"] != "/" or not given:
            return is_in or Refusal(
                403,
                "This browser has not been let in. Open the last address that normlab printed in "
                "its terminal; each one lets in one browser.",
            )
        headers = [(b"location", b"/")]
        if is_in:
            await _send(send, 303, headers, b"")
            return False
        # A HEAD comes from what looks at links before anyone opens them.
        cookie = self._keys.exchange(given[0]) if scope["method"] == "GET" else None
        if cookie is None:
            return Refusal(
                403,
                "This address has been used, or belongs to a server that has ended. Open the last "
                "address that normlab printed in its terminal; each one lets in one browser.",
            )
        said = f"{self._address.cookie}={cookie}; HttpOnly; SameSite=Strict; Path=/"
        await _send(send, 303, [*headers, (b"set-cookie", said.encode())], b"")
        # The token is used up: whatever comes of telling the next one, the browser has its cookie.
        self._entered()
        return False

    def _cookie(self, scope: Scope) -> str:
        # Cookies of every port come along. As browsers do, this reads each one by itself: an odd
        # one of another program does not hide ours.
        return cookie_parser("; ".join(_all(scope, b"cookie"))).get(self._address.cookie, "")

    async def _refuse(self, found: Refusal, scope: Scope, send: Send) -> None:
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        if found.status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        page = b"" if scope["method"] == "HEAD" else self._refused(found).encode()
        await _send(send, found.status, headers, page)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    """A `send` that gives every answer the headers of all; what has an ETag may be kept."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": _headers(message)}
        await send(message)

    return sending


def _headers(message: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    ours = {name.encode(): value.encode() for name, value in HEADERS.items()}
    theirs = [(name.lower(), value) for name, value in message.get("headers", ())]
    is_kept = any(name == b"etag" for name, _ in theirs)
    ours[b"cache-control"] = b"no-cache" if is_kept else b"no-store"
    return [*((name, value) for name, value in theirs if name not in ours), *ours.items()]

"""The routes of the live page, and the server that answers them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from normlab.errors import NormlabError, UserError, os_words, unknown
from normlab.live.access import Access, Address, Keys, Refusal
from normlab.live.looking import Progress
from normlab.live.rendering import Renderer
from normlab.live.views import Asked, NotThereError, Views, chosen
from normlab.live.watching import Page, Trouble, Watched, Watcher
from normlab.live.words import words_of
from normlab.reports.html import static_files
from normlab.store.paths import DATABASE
from normlab.text import shown

PORT = 8321
"""Where the server listens if nothing else is asked for, or on one of the next ports."""
_NEXT = 20
_FIRST_DRAWING = 3.0
_KINDS = {".js": "text/javascript", ".css": "text/css"}
_OURS = ("live.js", "live.css")
_DRAWN = ("vega.js",)
_HTML = "text/html"

Answer = Callable[[Request], Awaitable[Response]]


class Pages:
    """What answers each route.

    Args:
        watcher: The studies.
        first_drawing: Seconds that a study's page waits for its first drawing.
    """

    def __init__(self, watcher: Watcher, *, first_drawing: float = _FIRST_DRAWING) -> None:
        self.watcher, self.views = watcher, Views()
        self.first_drawing = first_drawing
        static = files("normlab.live") / "static"
        texts = {name: (static / name).read_text(encoding="utf-8") for name in _OURS}
        self._static = {name: Page.of(text) for name, text in {**texts, **static_files()}.items()}
        self._progress: dict[str, tuple[object, str, Page]] = {}

    def app(self) -> Starlette:
        """The application, without its door."""
        routes: Mapping[str, Answer] = {
            "/": self.index,
            "/study/{name}": self.study,
            "/study/{name}/progress": self.progress,
            "/study/{name}/body": self.body,
            "/compare": self.compare,
            "/static/{name}": self.static,
        }
        return Starlette(
            routes=[Route(path, answer, methods=["GET"]) for path, answer in routes.items()],
            exception_handlers={
                HTTPException: self._http,
                NormlabError: self._not_now,
                Exception: self._broken,
            },
        )

    async def index(self, request: Request) -> Response:
        """All studies."""
        self.watcher.warm()
        try:
            studies = await self.watcher.studies()
        except OSError as error:
            words = f"The folder of the runs cannot be read now: {words_of(error)}."
            raise HTTPException(404, words) from None
        return _answered(request, Page.of(self.views.index(map(_found, studies))))

    async def study(self, request: Request) -> Response:
        """A study's page, with its report as soon as there is one."""
        watched = await self._watched(request.path_params["name"])
        body = await self.watcher.body(watched, self.first_drawing)
        content, version = (body.content, body.version) if body else ("", "")
        page = Page.of(self.views.study(_found(watched), content, version))
        return _answered(request, page, version)

    async def progress(self, request: Request) -> Response:
        """How far a study is; its answer also tells the version of the report."""
        watched = await self._watched(request.path_params["name"])
        found = _found(watched)
        if isinstance(found, Trouble):
            raise HTTPException(404, found.words)
        self.watcher.draw(watched)
        version = watched.body.version if watched.body else ""
        kept = self._progress.get(found.name)
        if kept is None or kept[0] is not found or kept[1] != version:
            kept = (found, version, Page.of(self.views.progress(found), version))
            self._progress[found.name] = kept
        return _answered(request, kept[2], version)

    async def body(self, request: Request) -> Response:
        """A study's report as HTML."""
        watched = await self._watched(request.path_params["name"])
        body = await self.watcher.body(watched, self.first_drawing)
        if body is None:
            return self._refused(Refusal(503, "The report is being drawn."))
        return _answered(request, body, body.version)

    async def compare(self, request: Request) -> Response:
        """Arms of a study side by side."""
        asked = request.query_params
        watched = await self._watched(asked.get("study", ""))
        found = _found(watched)
        if isinstance(found, Trouble):
            page = self.views.compare(found.name, Asked((), (), ()), [], found.words)
            return Response(page, 404, media_type=_HTML)
        labels = watched.looker.labels
        try:
            what = chosen(labels, asked.getlist("arm"), asked.getlist("metric"))
        except NotThereError as error:
            page = self.views.compare(found.name, Asked(labels, (), ()), [], str(error))
            return Response(page, 404, media_type=_HTML)
        figures, trouble = await self.watcher.compare(watched, what.arms, what.metrics)
        return _answered(request, Page.of(self.views.compare(found.name, what, figures, trouble)))

    async def static(self, request: Request) -> Response:
        """A script or a style sheet."""
        name = request.path_params["name"]
        if name not in self._static and name not in _DRAWN:
            raise HTTPException(404, unknown("file", shown(name), [*self._static, *_DRAWN]))
        page = self._static.get(name) or (await self.watcher.static())[name]
        return _answered(request, page, kind=_KINDS[Path(name).suffix])

    async def _watched(self, name: str) -> Watched:
        names: list[str] = []
        with contextlib.suppress(OSError):
            watched = await self.watcher.study(name)
            if watched is None:
                names = await self.watcher.names()
                # A form sends a name back as it was shown.
                meant = {shown(one): one for one in names}.get(name)
                watched = await self.watcher.study(meant) if meant is not None else None
            if watched is not None:
                return watched
        raise HTTPException(404, unknown("study", shown(name), map(shown, names)))

    async def _http(self, _: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        said = error.detail if isinstance(error, HTTPException) else ""
        words = "There is no such page." if said in {"", "Not Found"} else said
        return self._refused(Refusal(status, words))

    async def _not_now(self, _: Request, error: Exception) -> Response:
        return self._refused(Refusal(503, f"Not now: {words_of(error)}. Try again."))

    async def _broken(self, _: Request, error: Exception) -> Response:
        return self._refused(
            Refusal(500, f"The page cannot be made: {words_of(error)}. The server goes on.")
        )

    def _refused(self, found: Refusal) -> Response:
        return Response(self.views.refused(found, inside=True), found.status, media_type=_HTML)


def _found(watched: Watched) -> Progress | Trouble:
    assert watched.found is not None
    return watched.found


def _answered(
    request: Request, page: Page, version: str | None = None, kind: str = _HTML
) -> Response:
    """A page, or that the browser has it."""
    headers = {"etag": page.etag}
    if version is not None:
        headers["x-body-version"] = version
    known = [one.strip().removeprefix("W/") for one in _known(request)]
    if page.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(page.content.encode("utf-8", "replace"), headers=headers, media_type=kind)


def _known(request: Request) -> list[str]:
    return request.headers.get("if-none-match", "").split(",")


def guarded(
    pages: Pages, address: Address, keys: Keys, entered: Callable[[], None] = lambda: None
) -> ASGIApp:
    """The application behind its door."""
    return Access(pages.app(), address, keys, pages.views.refused, entered)


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens.

    Args:
        host: A name or an IP address of this machine.
        port: Its port; None: `PORT`, or the first of the next ones that is free.

    Raises:
        UserError: The port is taken, there is no such address here, or it stands for all of them.
    """
    ports = [port] if port is not None else [*range(PORT, PORT + _NEXT), 0]
    for one in ports:
        try:
            return _bound(host, one)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"port {one} is taken: another program listens there. Choose another one "
                    "with --port, or leave it out"
                ) from None
            raise UserError(
                f"nothing can listen on {host}, port {one}: {os_words(error)}"
            ) from None
    raise UserError(f"no port is free on {host}")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # What the host was resolved to: an address has many spellings.
    resolved = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if (getattr(resolved, "ipv4_mapped", None) or resolved).is_unspecified:
        raise UserError(
            f"--host {host}: name the address that browsers will ask for; a server that answers "
            "to every name can be reached from any page on the web"
        )
    made = socket.socket(family, kind, protocol)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


def check_runs(runs: Path) -> None:
    """Look whether it is a folder of runs.

    Raises:
        UserError: It is none, or a study's own.
    """
    if not runs.is_dir():
        raise UserError(
            f"there is no folder {runs}: name the folder that holds your studies, "
            "`normlab serve FOLDER`, or make one with `normlab run`"
        )
    if (runs / DATABASE).exists():
        raise UserError(f"{runs} is the folder of one study: name the one above it, {runs.parent}")


def serve(
    runs: Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the pages of a folder's studies until a signal ends it.

    Args:
        runs: The folder that holds a folder for each study.
        host: The address to listen on.
        port: Its port; None: the usual one, or the next that is free.
        say: Called with the address that lets a browser in, and again with the next one.

    Raises:
        UserError: No such folder, the port is taken, or the host is not one address of this
            machine.
    """
    check_runs(runs)
    with contextlib.closing(listening(host, port)) as sock:
        address, keys = Address(host, sock.getsockname()[1]), Keys()
        watcher = Watcher(runs, Renderer())
        app = guarded(
            Pages(watcher), address, keys, lambda: say(f"{address.url}?token={keys.token}")
        )
        config = uvicorn.Config(
            app,
            access_log=False,  # the token would be in it
            log_config=None,
            log_level="error",
            server_header=False,
            http="h11",
            ws="none",
            lifespan="off",
            loop="asyncio",
            timeout_graceful_shutdown=1,
        )
        say(f"{address.url}?token={keys.token}")
        server = uvicorn.Server(config)
        try:
            with _hung_up(server):
                server.run(sockets=[sock])
        finally:
            watcher.close()


@contextlib.contextmanager
def _hung_up(server: uvicorn.Server) -> Iterator[None]:
    """Have SIGHUP end the server as SIGINT and SIGTERM do, of which uvicorn itself takes care."""
    number = getattr(signal, "SIGHUP", None)
    if number is None or not callable(signal.getsignal(number)):  # ignored, by `nohup`
        yield
        return
    came: list[int] = []

    def end(_number: int, _frame: object) -> None:
        came.append(_number)
        server.should_exit = True

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)
    if came:
        signal.raise_signal(number)

"""The page as an ASGI app: which address shows what, the head of every answer, and an answer to every error.

Handlers are plain functions in a few threads, so that a slow store delays none of the monitor's own; nothing of the
page changes a board. Called by monitor.run through `serve`, and by tests with a Starlette TestClient.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import anyio.to_thread
import jinja2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from heartwire import names
from heartwire.errors import HeartwireError, StorageProblem
from heartwire.monitor.log import Log
from heartwire.monitor.settings import WebSettings
from heartwire.web import live, pages
from heartwire.web.server import App, Receive, Scope, Send, Server

# So many pages are made at a time, each with a connection to the store of its own.
WORKERS = 4
# Nothing inline, nothing from elsewhere, in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
NAV = (("/", "Racks"), ("/journal", "Journal"), ("/notifications", "Notifications"), ("/notes", "Notes"))
View = Callable[[Request], dict[str, Any]]


def templates() -> jinja2.Environment:
    """Return the shipped templates; whatever is put into one is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("heartwire.web"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


class Page:
    """All pages over one source."""

    def __init__(self, source: pages.Source, settings: WebSettings, log: Log | None = None) -> None:
        self._source = source
        self._log = log
        self._templates = templates()
        self._hosts = frozenset((*LOCAL_NAMES, _host_of(settings.listen), *settings.hosts))
        self._live = live.Live(source, self._templates)

    def app(self) -> App:
        """Return the app."""
        source = self._source

        def page(path: str, template: str, view: View) -> Route:
            def answer(request: Request) -> Response:
                return self.render(request, template, view(request))

            return Route(path, answer, methods=["GET"])

        routes = [
            page("/", "overview.html", lambda request: pages.overview(source)),
            page("/rack/{name}", "rack.html", lambda request: pages.rack(source, request.path_params["name"])),
            page("/journal", "journal.html", lambda request: pages.journal(source, request.query_params)),
            page("/why/{record}", "why.html", lambda request: pages.explain(source, _record(request))),
            page("/notifications", "notifications.html", lambda request: pages.notifications(source)),
            page("/notes", "notes.html", lambda request: pages.notes(source)),
            Route("/live", self._live.answer, methods=["GET"]),
            Mount("/static", StaticFiles(packages=[("heartwire.web", "static")])),
        ]
        inner = Starlette(
            routes=routes,
            exception_handlers={HeartwireError: self._wrong, HTTPException: self._wrong},
            lifespan=_lifespan,
        )
        return Head(inner, self._hosts)

    def render(self, request: Request, template: str, values: dict[str, Any], status: int = 200) -> Response:
        """Return a page."""
        common = {"nav": NAV, "path": request.url.path, "now": pages.when(int(self._source.now().timestamp() * 1000))}
        return HTMLResponse(self._templates.get_template(template).render({**common, **values}), status)

    def _wrong(self, request: Request, error: Exception) -> Response:
        """Return the page of an error: ours with its words, any other without."""
        if isinstance(error, HeartwireError):
            status = 503 if isinstance(error, StorageProblem) else 404 if isinstance(error, pages.NotFound) else 400
            return self.render(request, "error.html", {"words": error.words, "next": error.next_step}, status)
        if isinstance(error, HTTPException):
            words = "there is no such page" if error.status_code == 404 else error.detail
            return self.render(request, "error.html", {"words": words, "next": ""}, error.status_code)
        raise error


class Head:
    """Adds the head of every answer, and refuses a request by a name that is not ours.

    A page elsewhere may let its own name lead to loopback and read what is there: such a request names its host.
    """

    def __init__(self, app: App, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def adding(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(said) != 1 or _host_of(said[0]) not in self._hosts:
            words = "This page is not called so. Add the name to `hosts` of [web] in the monitor's settings.\n"
            await Response(words, 421, media_type="text/plain")(scope, receive, adding)
            return
        await self._app(scope, receive, adding)


@contextlib.asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = WORKERS
    yield


def _host_of(said: str) -> str:
    """Return the host of HOST or HOST:PORT, in small letters."""
    try:
        host, _ = names.split_address(said)
    except ValueError:
        host = said.strip("[]")
    return host.lower()


def _record(request: Request) -> int:
    return pages.number(request.path_params["record"]) or 0


def serve(settings: WebSettings, source: pages.Source, log: Log | None = None) -> Server:
    """Return the server of the page, listening. Raises PortBusy."""
    return Server(settings.listen, Page(source, settings, log).app(), log)

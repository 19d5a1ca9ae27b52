"""The page as an ASGI app: which address shows what, the head of every answer, and an answer to every error.

Handlers are plain functions in a few threads, so that a slow store delays none of the monitor's own; only `_act`
changes anything, by acts. Called by monitor.run through `serve`, and by tests with a Starlette TestClient.
"""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any
from urllib.parse import quote

import anyio.to_thread
import jinja2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from heartwire import names
from heartwire.errors import HeartwireError, Refused, StorageProblem
from heartwire.monitor.log import Log
from heartwire.monitor.settings import WebSettings
from heartwire.web import access, acts, live, pages
from heartwire.web.server import App, Receive, Scope, Send, Server

# So many pages are made at a time, each with a connection to the store of its own.
WORKERS = 4
# And so many wait for a board.
ACTS_MAX = 4
# Nothing inline, nothing from elsewhere, in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
NAV = (("/", "Racks"), ("/journal", "Journal"), ("/notifications", "Notifications"), ("/notes", "Notes"))
View = Callable[[Request], dict[str, Any]]
STATUSES = (
    (StorageProblem, 503), (pages.NotFound, 404), (access.NotYou, 403), (acts.MayNot, 403), (Refused, 409),
)  # fmt: skip


def templates() -> jinja2.Environment:
    """Return the shipped templates; whatever is put into one is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("heartwire.web"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


class Page:
    """All pages over one source."""

    def __init__(
        self, source: pages.Source, settings: WebSettings, doing: acts.Acts | None = None, log: Log | None = None
    ) -> None:
        self._source = source
        self._acts = doing
        self._templates = templates()
        self._templates.globals["acts_on"] = doing is not None and doing.are_any
        self._busy = anyio.CapacityLimiter(ACTS_MAX)
        self._access = access.Access(settings, log)
        hosts = frozenset((*LOCAL_NAMES, _host_of(settings.listen), *(name.lower() for name in settings.hosts)))
        # Who must say who he is may call it by any name, where none is listed.
        self._hosts = hosts if self._access.is_open or settings.hosts else None
        self._with_tls = settings.certificate_file is not None
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
            page("/rack/{name}", "rack.html", self._rack),
            page("/rack/{name}/failover", "failover.html", self._failover),
            Route("/rack/{name}/failover.svg", self._picture, methods=["GET"]),
            Route("/rack/{name}/act/{what}", self._act, methods=["GET", "POST"]),
            page("/journal", "journal.html", lambda request: pages.journal(source, request.query_params)),
            page("/why/{record}", "why.html", lambda request: pages.explain(source, _record(request))),
            page("/notifications", "notifications.html", lambda request: pages.notifications(source)),
            page("/notes", "notes.html", lambda request: pages.notes(source)),
            Route("/live", self._live.answer, methods=["GET"]),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("heartwire.web", "static")])),
        ]
        inner = Starlette(
            routes=routes,
            exception_handlers={HeartwireError: self._wrong, HTTPException: self._wrong},
            lifespan=_lifespan,
        )
        return Head(access.Gate(inner, self._access), self._hosts, with_tls=self._with_tls)

    def render(self, request: Request, template: str, values: dict[str, Any], status: int = 200) -> Response:
        """Return a page."""
        person = access.person_of(request)
        common = {
            "nav": NAV,
            "path": request.url.path,
            "now": pages.when(int(self._source.now().timestamp() * 1000)),
            "person": person,
            "may_read": person is not None or self._access.is_open,
            "has_login": self._access.has_login,
            "form_token": self._access.token(person) if person else "",
        }
        return HTMLResponse(self._templates.get_template(template).render({**common, **values}), status)

    def _rack(self, request: Request) -> dict[str, Any]:
        name, person = request.path_params["name"], access.person_of(request)
        may_act = person is not None and self._acts is not None and self._acts.may(person.name, name)
        return {**pages.rack(self._source, name), "may_act": may_act}

    def _failover(self, request: Request) -> dict[str, Any]:
        before = pages.number(request.query_params.get("before", ""))
        return pages.failover(self._source, request.path_params["name"], before)

    def _picture(self, request: Request) -> Response:
        before = pages.number(request.query_params.get("before", ""))
        return Response(pages.picture(self._source, request.path_params["name"], before), media_type="image/svg+xml")

    async def _act(self, request: Request) -> Response:
        """Show what an act will do, or do what was shown."""
        name, what = request.path_params["name"], request.path_params["what"]
        view, doing, person = self._source.view(name), self._acts, access.person_of(request)
        if doing is None or not doing.are_any:
            raise acts.MayNot(
                "nobody acts from this page", "`[[web.operator]]` of the monitor's settings names who may"
            )
        if request.method == "GET":
            if person is None and self._access.has_login:
                wanted = f"{request.url.path}?{request.url.query}"
                return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
            if person is None:
                raise acts.MayNot("who you are is not known", "come through the reverse proxy")
            shown = doing.show(person.name, acts.act_of(name, what, request.query_params), view)
            return self.render(request, "act.html", {"shown": shown})
        form = await self._access.checked_form(request)
        assert person is not None  # noqa: S101 - checked_form raises for nobody
        act = acts.act_of(name, what, form)
        done = await anyio.to_thread.run_sync(doing.do, person.name, act, form.get("once", ""), limiter=self._busy)
        return self.render(request, "done.html", {"done": done, "rack": name}, 200 if done.good else 409)

    async def _login(self, request: Request) -> Response:
        """Show the form, or take it."""
        problem: HeartwireError | None = None
        status, wanted = 200, request.query_params.get("next", "/")
        if request.method == "POST":
            try:
                form = await access.form_of(request)
                wanted = form.get("next", "/")
                cookie = await self._access.login(request, form)
            except access.TooOften as found:
                problem, status = found, 429
            except HeartwireError as found:
                problem, status = found, 403
            else:
                answer: Response = RedirectResponse(access.local(wanted), 303)
                answer.set_cookie(access.COOKIE, cookie, max_age=access.SESSION_S, **access.cookie_options(request))
                answer.delete_cookie(access.BEFORE, path="/")
                return answer
        before = request.cookies.get(access.BEFORE, "") or secrets.token_urlsafe(32)
        values = {"problem": problem, "token": self._access.login_token(before), "next": access.local(wanted)}
        answer = self.render(request, "login.html", values, status)
        answer.set_cookie(access.BEFORE, before, max_age=access.SESSION_S, **access.cookie_options(request))
        if isinstance(problem, access.TooOften):
            answer.headers["Retry-After"] = str(math.ceil(problem.wait_s))
        return answer

    async def _logout(self, request: Request) -> Response:
        await self._access.checked_form(request)
        self._access.logout(request)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(access.COOKIE, path="/")
        return answer

    def _wrong(self, request: Request, error: Exception) -> Response:
        """Return the page of an error: ours with its words, any other without."""
        if isinstance(error, HeartwireError):
            status = next((code for kind, code in STATUSES if isinstance(error, kind)), 400)
            return self.render(request, "error.html", {"words": error.words, "next": error.next_step}, status)
        if isinstance(error, HTTPException):
            words = "there is no such page" if error.status_code == 404 else error.detail
            return self.render(request, "error.html", {"words": words, "next": ""}, error.status_code)
        raise error


class Head:
    """Adds the head of every answer, and refuses a request by a name that is not ours.

    A page elsewhere may let its own name lead to loopback and read what is there: such a request names its host.
    """

    def __init__(self, app: App, hosts: Collection[str] | None, *, with_tls: bool = False) -> None:
        self._app = app
        self._hosts = hosts
        self._headers = {**HEADERS, **({"Strict-Transport-Security": "max-age=31536000"} if with_tls else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def adding(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if self._hosts is not None and (len(said) != 1 or _host_of(said[0]) not in self._hosts):
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


def serve(settings: WebSettings, source: pages.Source, doing: acts.Acts | None, log: Log | None = None) -> Server:
    """Return the server of the page, listening. Raises PortBusy."""
    pair = (settings.certificate_file, settings.certificate_key_file)
    certificate = (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None
    return Server(settings.listen, Page(source, settings, doing, log).app(), log, certificate=certificate)

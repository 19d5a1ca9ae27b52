"""Who asks: nobody in particular on loopback, a person who logged in, or one whom the reverse proxy names.

`Gate` stands before all pages and tells each request's person; where reading is not open, who is nobody gets to the
login and no further. A form counts only with the token of its session and from this page. Called by app.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

from heartwire.errors import HeartwireError, UsageProblem
from heartwire.monitor.log import Log
from heartwire.monitor.settings import WebSettings
from heartwire.names import crosses_network
from heartwire.web import passwords
from heartwire.web.server import App, Receive, Scope, Send
from heartwire.web.sessions import LIFE_S, Sessions, Tries

COOKIE = "heartwire_session"
# Before there is a session, the login form is bound to this.
BEFORE = "heartwire_login"
BODY_BYTES = 8192
FIELDS_MAX = 16
# Logins that wait for their turn: one password is compared at a time, as each takes 64 MB.
QUEUE_MAX = 8
FORM = "application/x-www-form-urlencoded"
FREE = ("/login", "/static/")
NEXT_MAX = 512


class NotYou(UsageProblem):
    """A form that is not this person's, or not from this page."""


class TooOften(UsageProblem):
    """Somebody tries too often; `wait_s` until the next try."""

    def __init__(self, words: str, wait_s: float) -> None:
        super().__init__(words, f"try again in {wait_s:.0f} s")
        self.wait_s = wait_s


@dataclass(frozen=True)
class Person:
    """Who asks; `secret` signs the forms that the person gets."""

    name: str
    secret: str
    logged_in: bool


class Access:
    """Tells who asks, and lets people log in."""

    def __init__(
        self, settings: WebSettings, log: Log | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._file = passwords.PasswordFile(settings.password_file) if settings.password_file else None
        self._sessions = Sessions(clock)
        self._tries = Tries(clock)
        self._secret = secrets.token_bytes(32)
        self._header = settings.proxy_header.lower().encode("ascii")
        self._proxy = ipaddress.ip_address(settings.proxy_address) if settings.proxy_address else None
        self._one = anyio.Semaphore(1)
        self._queued = 0
        self.is_open = not crosses_network(f"tcp://{settings.listen}") and not self._header

    @property
    def has_login(self) -> bool:
        """Whether people can log in."""
        return self._file is not None

    def person(self, scope: Scope) -> Person | None:
        """Return who sends a request, None for nobody in particular."""
        named = self._by_proxy(scope)
        if named:
            return Person(named, self._sign(f"proxy {named}"), False)
        session = self._sessions.find(_cookie(scope, COOKIE))
        if session is None or self._file is None:
            return None
        try:
            same = self._file.entry(session.person) == session.proof
        except HeartwireError as problem:
            self._note(problem)
            return None
        return Person(session.person, session.secret, True) if same else None

    def came_by_proxy(self, scope: Scope) -> bool:
        """Tell whether the connection is the reverse proxy's."""
        return self._proxy is not None and _address(scope) == self._proxy

    def _by_proxy(self, scope: Scope) -> str:
        if not self.came_by_proxy(scope):
            return ""
        said = [value.decode("latin-1").strip() for name, value in scope["headers"] if name == self._header]
        return said[0] if len(said) == 1 and passwords.NAME.fullmatch(said[0]) else ""

    async def login(self, request: Request, form: dict[str, str]) -> str:
        """Return the cookie of a new session for the fields of a login form. Raises NotYou, TooOften, UsageProblem."""
        self._same_place(request)
        before = request.cookies.get(BEFORE, "")
        if not before or not _same(self.login_token(before), form):
            raise NotYou("the form has grown old, or your browser keeps no cookies", "go back to the login")
        if self._file is None:
            raise UsageProblem("nobody can log in here", "name password_file in [web] of the monitor's settings")
        name, password = form.get("name", ""), form.get("password", "")
        keys = (f"address {_network(request.scope)}", f"name {name[:64]}")
        wait_s = self._tries.wait_s(*keys)
        if not wait_s and self._queued >= QUEUE_MAX:
            wait_s = 1.0
        if wait_s:
            raise TooOften("too many tries", wait_s)
        proof = await self._checked(self._file, name, password, keys)
        if not proof:
            self._tries.failed(*keys)
            if self._log is not None:
                self._log.warning("login_refused", address=str(_address(request.scope)))
            raise NotYou("the name or the password is wrong", "try again, or ask who runs the monitor")
        if self._log is not None:
            self._log.info("login", person=name, address=str(_address(request.scope)))
        return self._sessions.begin(name, proof)

    async def _checked(self, file: passwords.PasswordFile, name: str, password: str, keys: tuple[str, ...]) -> str:
        self._queued += 1
        try:
            async with self._one:
                wait_s = self._tries.wait_s(*keys)
                if wait_s:  # those who waited before it have failed
                    raise TooOften("too many tries", wait_s)
                try:
                    return await anyio.to_thread.run_sync(file.check, name, password)
                except HeartwireError as problem:
                    self._note(problem)
                    raise UsageProblem("nobody can log in at the moment", "the monitor's log says why") from None
        finally:
            self._queued -= 1

    def logout(self, request: Request) -> None:
        """End the session of a request."""
        self._sessions.end(request.cookies.get(COOKIE, ""))

    def login_token(self, before: str) -> str:
        """Return the token of the login form for the value of the cookie BEFORE."""
        return self._sign(f"login {before}")

    def token(self, person: Person) -> str:
        """Return the token that a person's forms carry."""
        return hmac.new(self._secret, f"form {person.secret}".encode(), hashlib.sha256).hexdigest()

    async def checked_form(self, request: Request) -> dict[str, str]:
        """Return the fields of a form that is this person's and from this page. Raises NotYou, UsageProblem."""
        form = await form_of(request)
        self._same_place(request)
        person = person_of(request)
        if person is None or not _same(self.token(person), form):
            raise NotYou("this form is not yours, or has grown old", "go back, and begin again")
        return form

    def _same_place(self, request: Request) -> None:
        """Refuse what another page had the browser send."""
        said = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin", "")
        if said not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != request.headers.get("host")):
            raise NotYou("this form came from another page", "begin at the page of the racks")

    def _sign(self, words: str) -> str:
        return hmac.new(self._secret, words.encode(), hashlib.sha256).hexdigest()

    def _note(self, problem: HeartwireError) -> None:
        if self._log is not None and self._log.changed("password file", problem.words):
            self._log.error("failed", part="web", words=problem.words, next=problem.next_step)


class Gate:
    """Lets a request to the pages with its person, or to the login."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            person = await anyio.to_thread.run_sync(self._access.person, scope)
            scope.setdefault("state", {})["person"] = person
            if person is None and not self._access.is_open and not scope["path"].startswith(FREE):
                await self._refusal(scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Any:
        if not self._access.has_login:
            words = "The reverse proxy says who you are, and it did not.\n"
            if not self._access.came_by_proxy(scope):
                words = "This page is read through its reverse proxy only.\n"
            return PlainTextResponse(words, 403)
        if scope["method"] != "GET" or scope["path"] == "/live":
            return PlainTextResponse("Log in first.\n", 401)
        query = scope["query_string"].decode("latin-1")
        wanted = (scope["path"] + (f"?{query}" if query else ""))[:NEXT_MAX]
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)


def person_of(request: Request) -> Person | None:
    """Return who sends a request."""
    found = getattr(request.state, "person", None)
    return found if isinstance(found, Person) else None


def local(address: str) -> str:
    """Return an address on this page, "/" for any other that somebody put into a link."""
    good = address.startswith("/") and not address.startswith(("//", "/\\")) and len(address) <= NEXT_MAX
    return address if good and address.isprintable() and "\\" not in address else "/"


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises UsageProblem: no form, too long, or too many fields."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise UsageProblem("that is no form of this page", "go back, and begin again")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES:
            raise UsageProblem("that is too long", "go back, and begin again")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except (ValueError, UnicodeDecodeError):
        raise UsageProblem("that is no form of this page", "go back, and begin again") from None
    return dict(fields)


def _same(token: str, form: dict[str, str]) -> bool:
    # As bytes: of text it compares ASCII only.
    return hmac.compare_digest(token.encode(), form.get("token", "").encode(errors="replace"))


def cookie_options(request: Request) -> dict[str, Any]:
    """Return how a cookie is set: for this page, out of reach of scripts, over TLS only where it came so."""
    return {"httponly": True, "samesite": "lax", "secure": request.url.scheme == "https", "path": "/"}


SESSION_S = int(LIFE_S)


def _cookie(scope: Scope, name: str) -> str:
    return Request(dict(scope)).cookies.get(name, "")


def _address(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(str((scope.get("client") or ("",))[0]).partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _network(scope: Scope) -> str:
    """Return what counts as one who tries: an address, or the /64 that a host of IPv6 has to itself."""
    found = _address(scope)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)

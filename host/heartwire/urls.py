"""Open http and https URLs: the host's name is looked up for a bounded time (names), a redirect's body is not read.

urllib reads the body of a redirect whole, into memory, before it goes where it points: a server can say that it is a
hundred gigabytes long. Used by the monitor's threads and its senders.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from typing import Any

from heartwire.names import create_connection

# What opening and reading can raise, beside HTTPError of urllib.error: a server may answer with anything.
FAULTS = (OSError, ValueError, http.client.HTTPException)


class _HttpConnection(http.client.HTTPConnection):
    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._create_connection = create_connection


class _HttpsConnection(http.client.HTTPSConnection):
    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._create_connection = create_connection


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req, context=ssl.create_default_context())


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Goes where a redirect points, its body unread."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow one."""
        fp.read = lambda *_: b""
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn a POST into a GET elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def open_url(request: urllib.request.Request | str, timeout_s: float, *, redirects: bool = False) -> Any:
    """Open a URL (http, https) as urllib does, but look up its host for LIMIT_S at most.

    Raises HTTPError for any status but 2xx, a redirect too unless `redirects` is said, and FAULTS.
    """
    handlers = (_HttpHandler, _HttpsHandler, _Redirect if redirects else _NoRedirect)
    return urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)

"""Open http and https URLs whose host's name is looked up for a bounded time (names). Used by the monitor's threads."""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from typing import Any

from heartwire.names import create_connection


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


def open_url(request: urllib.request.Request | str, timeout_s: float) -> Any:
    """Open a URL (http, https) as urllib does, but look up its host for LIMIT_S at most. Raises what urlopen raises."""
    return urllib.request.build_opener(_HttpHandler, _HttpsHandler).open(request, timeout=timeout_s)

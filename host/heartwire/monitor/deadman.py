"""The dead man's switch: fetch a URL at an interval while all is well, so that somebody else notices when it is not.

It pings only while every board's collector, the store and every channel work, so a monitor that lives but cannot do
its work is noticed like a dead one. The URL is a secret: it is read from its file for each ping and never shown. Called
by run in a thread of its own.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Callable

from heartwire import urls
from heartwire.errors import HeartwireError
from heartwire.monitor.log import Log
from heartwire.monitor.settings import DeadmanSettings, secret_lines

TIMEOUT_S = 10.0


def fetch(url: str) -> str:
    """Fetch `url`; return "" if it was taken, else why not, without any part of the URL."""
    if not url.startswith(("http://", "https://")):
        return "the URL does not begin with http:// or https://"
    try:
        with urls.open_url(url, TIMEOUT_S, redirects=True) as answer:
            return "" if answer.status < 400 else f"the server answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"the server answered {error.code}"
    except urls.FAULTS as error:
        reason = getattr(error, "reason", error)
        return f"no answer ({type(reason).__name__})"


class Deadman:
    """One ping at each `step`."""

    def __init__(
        self,
        settings: DeadmanSettings,
        trouble: Callable[[], str],
        log: Log,
        *,
        fetch: Callable[[str], str] = fetch,
    ) -> None:
        self._settings = settings
        self._trouble = trouble
        self._log = log
        self._fetch = fetch

    def step(self) -> float:
        """Ping unless something is wrong; return seconds until the next time."""
        wrong = self._trouble()
        if self._log.changed("deadman held", wrong or None) and wrong:
            self._log.warning("deadman_held", words=wrong)
        if not wrong and self._settings.url_file is not None:
            try:
                failed = self._fetch(secret_lines(self._settings.url_file)[0])
            except HeartwireError as error:
                failed = error.words
            except IndexError:
                failed = f"{self._settings.url_file}: there is no URL in this file"
            if self._log.changed("deadman", failed or None) and failed:
                self._log.warning("deadman_failed", words=failed)
        return self._settings.interval_s

"""Who is logged in, and how often somebody may try: both in memory, bounded, and gone with the monitor.

No I/O; the clock is handed in. Called by access.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

SESSIONS_MAX = 256
# Without a request, and in all.
IDLE_S = 3600.0
LIFE_S = 12 * 3600.0
# Tries that failed: of one address or one name, and of all together, within TRIES_S.
TRIES_MAX = 5
TRIES_ALL = 60
TRIES_S = 60.0
KEYS_MAX = 1024


@dataclass
class Session:
    """One login; `secret` is what forms are signed with, `proof` the hash that its password was right for."""

    person: str
    proof: str
    secret: str
    made_s: float
    seen_s: float


class Sessions:
    """All logins, by what the browser's cookie says; only a hash of that is kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_key: OrderedDict[str, Session] = OrderedDict()

    def begin(self, person: str, proof: str) -> str:
        """Begin a session and return the cookie's value; where there are too many the oldest one ends."""
        cookie, now_s = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            while len(self._by_key) >= SESSIONS_MAX:
                self._by_key.popitem(last=False)
            self._by_key[_key(cookie)] = Session(person, proof, secrets.token_hex(32), now_s, now_s)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie that lasts still."""
        key, now_s = _key(cookie), self._clock()
        with self._lock:
            found = self._by_key.get(key)
            if found is None:
                return None
            if now_s - found.seen_s > IDLE_S or now_s - found.made_s > LIFE_S:
                del self._by_key[key]
                return None
            found.seen_s = now_s
            self._by_key.move_to_end(key)
            return found

    def end(self, cookie: str) -> None:
        """End a session."""
        with self._lock:
            self._by_key.pop(_key(cookie), None)


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


class Tries:
    """Tries that failed, by address and name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_key: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=TRIES_ALL)

    def wait_s(self, *keys: str) -> float:
        """Return for how long nobody may try with one of `keys`; 0 if now."""
        now_s = self._clock()
        with self._lock:
            rows = [(self._all, TRIES_ALL), *((self._by_key.get(key, deque()), TRIES_MAX) for key in keys)]
            waits = [TRIES_S - (now_s - times[-most]) for times, most in rows if len(times) >= most]
        return max([0.0, *waits])

    def failed(self, *keys: str) -> None:
        """Note a try that failed."""
        now_s = self._clock()
        with self._lock:
            self._all.append(now_s)
            for key in keys:
                while len(self._by_key) >= KEYS_MAX:
                    self._by_key.popitem(last=False)
                self._by_key.setdefault(key, deque(maxlen=TRIES_MAX)).append(now_s)
                self._by_key.move_to_end(key)

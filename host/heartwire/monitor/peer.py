"""Two monitors of the same boards: one notification goes out, and the survivor sends it if the other cannot.

Both collect everything and keep outboxes of their own. Rank 1 tells at once. Rank 2 waits takeover_s and asks rank 1
before it tells: what rank 1 has told is `covered`; what it has not (its channel fails, it never saw the record) rank 2
claims, and rank 1 cedes it in one transaction unless an attempt is under way. A subject is named by a hash of the
record itself, so both mean the same one. After a restart, and for what it once ceded, rank 1 asks in the same way.

Where both reach each other exactly one tells, by the transaction that cedes. Where they do not, rank 2 tells after
takeover_s, because silence is worse than a copy: with both alive and the network between them cut, a message may come
twice (once from each host). No rule can do better without a third party that both reach. A lease over shared storage
was rejected: two servers that take over from each other share none that survives.

Requests and answers carry an HMAC over a fresh nonce and the body. A replayed claim names subjects that were ceded
already, so it changes nothing. Used by run, which hands it to dispatch as its partner.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from heartwire import bounded, urls
from heartwire.errors import HeartwireError
from heartwire.monitor import serving
from heartwire.monitor.dispatch import Aged
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.settings import PeerSettings

PATH = "/heartwire/peer"
BODY_BYTES = 262_144
SUBJECTS = 2000
ASK_S = 1.0
TIMEOUT_S = 2.0
# What the other one is sending right now is left to it for so many takeover times.
PATIENCE = 4
NONCE_BYTES = 16
# How often the other one is looked at, and how long it may be away: its own restart is shorter, its server's is not.
WATCH_S = 10.0
GONE_S = 60.0


def mac_of(key: bytes, label: bytes, nonce: bytes, body: bytes) -> str:
    """Return the MAC of a request (label b"Q") or an answer (b"A")."""
    return hmac.new(key, label + nonce + body, "sha256").hexdigest()


class Unreachable(Exception):
    """The other monitor does not answer."""


Ask = Callable[[str, Sequence[str], Sequence[str]], dict[str, str]]


def asker(url: str, key: bytes) -> Ask:
    """Return a function that asks the other monitor: (channel, subjects, subjects claimed) to their states."""

    def ask(channel: str, subjects: Sequence[str], claim: Sequence[str]) -> dict[str, str]:
        nonce = secrets.token_bytes(NONCE_BYTES)
        body = json.dumps({"channel": channel, "subjects": list(subjects), "claim": list(claim)}).encode()
        headers = {
            "X-Heartwire-Nonce": nonce.hex(),
            "X-Heartwire-Mac": mac_of(key, b"Q", nonce, body),
            "Content-Type": "application/json",
        }
        request = urllib.request.Request(url.rstrip("/") + PATH, body, headers)  # noqa: S310 - settings allow http only
        try:
            with urls.open_url(request, TIMEOUT_S) as answer:
                text = answer.read(BODY_BYTES + 1)
                mac = answer.headers.get("X-Heartwire-Mac", "")
        except urls.FAULTS as error:
            raise Unreachable(type(error).__name__) from None
        right = mac_of(key, b"A", nonce, text).encode()
        if not hmac.compare_digest(mac.encode("latin-1", "replace"), right):
            raise Unreachable("its answer is not signed with our key")
        try:
            states = bounded.load_object(text, BODY_BYTES)
        except ValueError as error:
            raise Unreachable(f"its answer makes no sense: {error}") from None
        return {subject: str(states.get(subject, "none")) for subject in (*subjects, *claim)}

    return ask


class Other:
    """The partner that dispatch asks; safe for many threads."""

    def __init__(
        self,
        settings: PeerSettings,
        outbox: Outbox,
        ask: Ask,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._ask = ask
        self._log = log
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._ceded: dict[str, float] = {}  # since when a subject has been the other one's, monotonic
        self.reachable: bool | None = None

    def judge(self, channel: str, waiting: Sequence[Aged]) -> tuple[list[Aged], float]:
        """Return those that this monitor should tell now, and seconds until the others should be judged again."""
        ours = [aged for aged in waiting if self._at_once(aged)]
        open_ones = [aged for aged in waiting if not self._at_once(aged)][:SUBJECTS]
        if not open_ones:
            return ours, ASK_S
        now_s = self._clock()
        if now_s - self._asked.get(channel, -ASK_S) < ASK_S:
            return ours, ASK_S - (now_s - self._asked[channel])
        self._asked[channel] = now_s
        return ours + self._settle(channel, open_ones), ASK_S

    def _at_once(self, aged: Aged) -> bool:
        mention = aged.mention
        if mention.observation_id is not None:
            return True  # what this monitor noticed itself, the other one does not know
        first = self._settings.rank == 1 and not aged.old and aged.age_s < self._settings.takeover_s
        return first and mention.state == "waiting"

    def _overdue(self, aged: Aged, times: int = 1) -> bool:
        if aged.mention.state == "ceded":
            since = self._ceded.setdefault(aged.mention.subject, self._clock())
            return self._clock() - since >= PATIENCE * self._settings.takeover_s
        return aged.age_s >= times * self._settings.takeover_s

    def _unheard(self, aged: Aged) -> bool:
        """Tell whether to tell a mention that the other monitor cannot be asked about."""
        again = aged.old and self._settings.rank == 1 and aged.mention.state == "waiting"
        return again or self._overdue(aged)

    def _settle(self, channel: str, open_ones: Sequence[Aged]) -> list[Aged]:
        by_subject = {aged.mention.subject: aged for aged in open_ones}
        try:
            states = self._ask(channel, list(by_subject), [])
        except Unreachable as trouble:
            self._note(str(trouble))
            late = [aged for aged in open_ones if self._unheard(aged)]
            self._take_back(channel, late)
            return late
        self._note("")
        covered = [subject for subject, state in states.items() if state == "sent"]
        if covered:
            self._outbox.settle(channel, covered, "covered")
        wanted = [subject for subject, aged in by_subject.items() if self._claims(aged, states[subject])]
        if not wanted:
            return []
        try:
            states = self._ask(channel, [], wanted)
        except Unreachable as trouble:
            # The claim may have been heard: the next look tells.
            self._note(str(trouble))
            return []
        won = [by_subject[subject] for subject in wanted if states[subject] == "ceded"]
        self._take_back(channel, won)
        return won

    def _claims(self, aged: Aged, state: str) -> bool:
        """Tell whether to claim a mention that the other monitor has in `state`."""
        if state == "sent":
            return False
        if aged.mention.state == "ceded":
            # The other one took it: only if it cannot tell it either, or has lost it.
            return state != "sending" and self._overdue(aged)
        if state == "ceded":
            return True  # it has left it to us before
        if state in ("sending", "pending"):
            return self._overdue(aged, PATIENCE)
        return self._overdue(aged) or (aged.old and self._settings.rank == 1)

    def _take_back(self, channel: str, won: Sequence[Aged]) -> None:
        ceded = [aged.mention.subject for aged in won if aged.mention.state == "ceded"]
        if ceded:
            self._outbox.settle(channel, ceded, "waiting")
        for subject in ceded:
            self._ceded.pop(subject, None)

    def _note(self, trouble: str) -> None:
        self.reachable = not trouble
        if self._log.changed("peer", trouble or "ok"):
            if trouble:
                self._log.warning("peer_unreachable", words=trouble)
            else:
                self._log.info("peer_reachable")


class Watch:
    """Asks the other monitor for nothing at an interval, so that people hear that it is gone before they need it."""

    def __init__(
        self,
        ask: Ask,
        tell: Callable[[bool, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` is called with (gone, words) when that changes, and once when the first answer comes."""
        self._ask = ask
        self._tell = tell
        self._clock = clock
        self._since: float | None = None  # it has not answered since then
        self._told: bool | None = None
        self.reachable: bool | None = None

    def step(self) -> float:
        """Ask once; return seconds until the next time. Raises StorageProblem, and then tells again."""
        try:
            self._ask("", [], [])
        except Unreachable as trouble:
            now_s = self._clock()
            self._since = now_s if self._since is None else self._since
            self.reachable = False
            if now_s - self._since >= GONE_S:
                self._say(True, f"the other monitor does not answer for {now_s - self._since:.0f} s: {trouble}")
            return WATCH_S
        self._since, self.reachable = None, True
        self._say(False, "the other monitor answers again")
        return WATCH_S

    def _say(self, gone: bool, words: str) -> None:
        if gone != self._told:
            self._tell(gone, words)
            self._told = gone


def server(
    settings: PeerSettings, key: bytes, outbox: Outbox, channels: Sequence[str], log: Log | None = None
) -> serving.Server:
    """Return what answers the other monitor's questions once it is started. Raises PortBusy."""
    return serving.Server("peer.listen", settings.listen, _handler(key, outbox, frozenset(channels)), log)


def _handler(key: bytes, outbox: Outbox, channels: frozenset[str]) -> type[serving.Handler]:
    class Handler(serving.Handler):
        timeout = TIMEOUT_S
        body_max = BODY_BYTES

        def do_POST(self) -> None:
            length = self.body_length()
            if self.path != PATH or length is None:
                self.send_error(404)
                return
            body = self.rfile.read(length)
            try:
                nonce = bytes.fromhex(self.headers.get("X-Heartwire-Nonce", ""))
            except ValueError:
                nonce = b""
            mac = self.headers.get("X-Heartwire-Mac", "")
            if len(nonce) != NONCE_BYTES or not hmac.compare_digest(
                mac.encode("latin-1", "replace"), mac_of(key, b"Q", nonce, body).encode()
            ):
                self.send_error(403)
                return
            try:
                states = _answer(outbox, channels, bounded.load_object(body, BODY_BYTES))
            except (ValueError, KeyError, TypeError):
                self.send_error(400)
                return
            except HeartwireError:
                self.send_error(503)
                return
            text = json.dumps(states).encode()
            self.answer(text, {"X-Heartwire-Mac": mac_of(key, b"A", nonce, text)})

    return Handler


def _answer(outbox: Outbox, channels: frozenset[str], body: dict[str, Any]) -> dict[str, str]:
    channel = body["channel"]
    subjects = [str(subject) for subject in body["subjects"]][:SUBJECTS]
    claim = [str(subject) for subject in body["claim"]][:SUBJECTS]
    if channel not in channels or not all(subject[:1] == "e" and len(subject) == 23 for subject in subjects + claim):
        return dict.fromkeys(subjects + claim, "none")
    states = outbox.states(channel, subjects) if subjects else {}
    if claim:
        states.update(outbox.cede(channel, claim))
    return states

"""The monitor's side of sending: give a sender process its order, wait for it, and read its receipt.

After a restart the same receipts tell what became of attempts that the killed monitor had begun (see receipts). It
knows no store and no retry; it never reads a secret. Called by dispatch, and by `heartwire monitor test`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from heartwire.errors import StorageProblem
from heartwire.monitor import receipts
from heartwire.monitor.settings import ChannelSettings

# A sender that starts later than this after it was ordered does not send: another monitor may have taken over.
START_S = 5.0
# No sender is at work so late after it was ordered.
OLD_S = 3600.0
# The sender keeps to the channel's limit by itself, except where a plugin hangs.
SLACK_S = 2.0
BURNED = {"sent": False, "trouble": "the monitor was killed before it was sent", "burned": True}


@dataclass(frozen=True)
class Letter:
    """One message as it leaves: `severity` is info, notice, warning, alarm or cleared."""

    uid: str
    severity: str
    title: str
    body: str
    # The same for programs: compose.Composer.facts.
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as a channel gets it, and a command or a webhook passes it on."""
        return {"uid": self.uid, "severity": self.severity, "title": self.title, "body": self.body, **self.facts}


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt. `unsure`: it may have gone out although nobody said so."""

    sent: bool
    trouble: str = ""
    unsure: bool = False
    # Still at work: ask again later.
    busy: bool = False


class Courier(Protocol):
    """What dispatch needs."""

    def send(self, channel: ChannelSettings, letter: Letter, attempt: int) -> Outcome:
        """Make attempt number `attempt` and wait for its end."""

    def recall(self, uid: str, attempt: int) -> Outcome:
        """Tell what became of an attempt that an earlier monitor began; it will not be made any more unless busy."""

    def forget(self, uid: str, attempt: int) -> None:
        """Remove the receipt of an attempt whose outcome is stored."""

    def warm(self, channel: ChannelSettings) -> None:
        """Get ready for the next message of `channel`."""

    def close(self) -> None:
        """End what only waits."""

    def sweep(self, keep: Collection[str]) -> None:
        """Remove old receipts, but those of the messages `keep` (by uid)."""


class ProcessCourier:
    """Sends by sender processes. `identity` is the id of the monitor whose receipts these are, once prepared."""

    identity = ""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        # One by channel, kept for the next message: Apprise alone takes half a second to import, which people who
        # wait for the news would have to wait as well. Each is used by its channel's thread only.
        self._senders: dict[str, subprocess.Popen[bytes]] = {}
        self._mine: int | None = None

    def prepare(self) -> None:
        """Make the folder of the receipts, and be the one monitor of it. Raises StorageProblem, PortBusy."""
        try:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageProblem(f"{self._spool}: {error.strerror}") from None
        if not os.access(self._spool, os.W_OK | os.X_OK):
            raise StorageProblem(f"{self._spool}: you may not write here", "give it to the user of the monitor")
        if self._mine is None:
            self.identity, self._mine = receipts.identity(self._spool)

    def send(self, channel: ChannelSettings, letter: Letter, attempt: int) -> Outcome:
        order = {
            "spool": str(self._spool.absolute()),
            "attempt": attempt,
            "start_by": time.clock_gettime(time.CLOCK_BOOTTIME) + START_S,
            "channel": order_of(channel),
            "message": letter.as_json(),
        }
        try:
            sender = self._hand_over(channel, json.dumps(order).encode() + b"\n")
        except OSError as error:
            return Outcome(False, f"no sender process could be started: {error.strerror}")
        assert sender.stdout is not None  # noqa: S101 - it was started with a pipe
        ready = select.select([sender.stdout], [], [], channel.limit_s + SLACK_S)[0]
        if not ready or not os.read(sender.stdout.fileno(), 1):
            self._end(channel.name)
        return self._read(letter.uid, attempt)

    def _hand_over(self, channel: ChannelSettings, order: bytes) -> subprocess.Popen[bytes]:
        """Give an order to the channel's sender, a new one if it has ended. Raises OSError."""
        for last in (False, True):
            sender = self._sender(channel)
            assert sender.stdin is not None  # noqa: S101 - it was started with a pipe
            try:
                sender.stdin.write(order)
                sender.stdin.flush()
            except BrokenPipeError:
                # It ended while it was idle: an order that it did not take whole, it does not carry out.
                self._end(channel.name)
                if last:
                    raise
                continue
            break
        return sender

    def _sender(self, channel: ChannelSettings) -> subprocess.Popen[bytes]:
        sender = self._senders.get(channel.name)
        if sender is None or sender.poll() is not None:
            self._end(channel.name)
            sender = self._senders[channel.name] = _start(channel)
        return sender

    def _end(self, name: str) -> None:
        sender = self._senders.pop(name, None)
        if sender is not None:
            sender.kill()
            sender.wait()
            for pipe in (sender.stdin, sender.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def warm(self, channel: ChannelSettings) -> None:
        """Have a sender ready for the next message of `channel`."""
        with contextlib.suppress(OSError):
            self._sender(channel)

    def close(self) -> None:
        """Let the senders end: at once where they wait, after its attempt where one is at work."""
        for sender in self._senders.values():
            for pipe in (sender.stdin, sender.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        for sender in self._senders.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                sender.wait(SLACK_S)
        self._senders.clear()
        if self._mine is not None:
            os.close(self._mine)
            self._mine = None

    def recall(self, uid: str, attempt: int) -> Outcome:
        path = receipts.path_of(self._spool, uid, attempt)
        try:
            descriptor = receipts.claim(path)
        except OSError as error:
            return Outcome(False, f"{self._spool}: {error.strerror}", busy=True)
        if descriptor is not None:
            receipts.conclude(descriptor, BURNED)
            os.close(descriptor)
        return self._read(uid, attempt)

    def forget(self, uid: str, attempt: int) -> None:
        path = receipts.path_of(self._spool, uid, attempt)
        # One that was claimed in place of a sender must stay: that sender may still be on its way.
        if not receipts.look(path)[1].get("burned"):
            receipts.remove(path)

    def sweep(self, keep: Collection[str], *, older_than_s: float = OLD_S) -> None:
        with contextlib.suppress(OSError):
            for path in self._spool.iterdir():
                old = time.time() - path.stat().st_mtime > older_than_s
                if old and path.name != receipts.IDENTITY and path.name.lstrip(".").partition(".")[0] not in keep:
                    receipts.remove(path)

    def _read(self, uid: str, attempt: int) -> Outcome:
        state, result = receipts.look(receipts.path_of(self._spool, uid, attempt))
        if state == "done":
            return Outcome(bool(result.get("sent")), str(result.get("trouble", "")))
        if state == "busy":
            return Outcome(False, "still being sent", busy=True)
        if state == "torn":
            return Outcome(False, "the sender ended half-way: a copy may have gone out", unsure=True)
        return Outcome(False, "the sender did not start")


def _start(channel: ChannelSettings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "heartwire.monitor.deliver", channel.kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def order_of(channel: ChannelSettings) -> dict[str, Any]:
    """Return what the sender needs to know of a channel: names and paths, no secret."""
    return {
        "kind": channel.kind,
        "url_file": str(channel.url_file.absolute()) if channel.url_file else "",
        "command": list(channel.command),
        "address": channel.address,
        "limit_s": channel.limit_s,
    }

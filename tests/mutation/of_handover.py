"""Mutants of the hand-over: one promise of the board, of the agent or of their shared line broken each.

Caught by the search of tests/handover, through everything that the other end does about it.
"""

from __future__ import annotations

from tests.mutation.mutant import Mutant

AGENT = "heartwire/agent/"
MUTANTS = (
    Mutant(
        "a lease counts from its arrival",
        AGENT + "lease.py",
        "self._until_ns = grant.sent_ns + grant.lease_ms * NS_PER_MS",
        "self._until_ns = now_ns + grant.lease_ms * NS_PER_MS",
        "handover late_grant",
    ),
    Mutant(
        "a lease has no end",
        AGENT + "lease.py",
        "runs = now_ns < self._until_ns",
        "runs = self._until_ns > 0",
        "handover self_fence",
    ),
    Mutant(
        "an old heartbeat starts services again",
        AGENT + "lease.py",
        "return self.answered_sequence > self.running_sequence",
        "return True",
        "handover network_stop_3",
    ),
    Mutant(
        "without a lease a service goes on",
        AGENT + "lease.py",
        "wish = Wish.KEEP if self.on_board_loss is Loss.HOLD else Wish.STOP",
        "wish = Wish.KEEP",
        "handover self_fence",
    ),
    Mutant(
        "the watchdog is always fed",
        AGENT + "watchdog.py",
        "return now_ns < judged.stop_since_ns + stop_timeout_ns",
        "return True",
        "handover self_fence",
    ),
    Mutant(
        "a lease-only fence does not wait",
        "sequencer.py",
        "if self.method[node] == codes.METHOD_LEASE:\n            if since >= settings.assumed_off_ms:",
        "if self.method[node] == codes.METHOD_LEASE:\n            if since >= 1000:",
        "handover self_fence",
    ),
    Mutant(
        "self-fencing is not waited for",
        "sequencer.py",
        "if self.method[node] == codes.METHOD_LEASE:\n            if since >= settings.assumed_off_ms:",
        "if self.method[node] == codes.METHOD_LEASE:\n"
        "            if since >= settings.assumed_off_ms - settings.self_fence_ms:",
        "handover self_fence",
    ),
    Mutant(
        "a replayed heartbeat counts",
        "intake.py",
        "if same and sequence <= self.sequence:",
        "if False:",
        "handover network",
    ),
)

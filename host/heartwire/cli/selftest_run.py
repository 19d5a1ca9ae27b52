"""Runs the steps of a self-test on a board: says what to do, waits for what must change, commands, journals the result.

Whatever ends it, Ctrl-C included, relays are released and LEDs show the truth again. It decides nothing about servers:
the board refuses a test that its rules forbid. Called by cli.selftest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from heartwire import selftest
from heartwire.cli.output import note
from heartwire.errors import HeartwireError, NotAllowed, Refused
from heartwire.selftest import FAILED, NOT_TESTED, PASSED, Phase, Result, Snapshot, Step

if TYPE_CHECKING:
    from heartwire.board import Board

POLL_S = 0.1
LAMPS_S = 30
# A relay test of the board takes its cut time, 10 s for the sense to come back, and 5 s for its record at most.
PROOF_MARGIN_S = 20.0
PATH_WAIT_S = 10.0


class Runner:
    """Runs steps on `board`; `person`: somebody is there to ask. `wait_s` is how long one input may take to change."""

    def __init__(self, board: Board, nodes: tuple[str, ...], *, person: bool, wait_s: float, cut_s: int) -> None:
        self._board = board
        self._nodes = nodes
        self._person = person
        self._wait_s = wait_s
        self._cut_s = cut_s
        self._now: Callable[[], float] = board.link.channel.now
        self.boot_grace_s: dict[str, float] = {}

    def run(self, results: list[Result]) -> None:
        """Fill in the outcome of each of `results`, in order. What an exception leaves undone stays "not tested"."""
        try:
            group = ""
            for result in results:
                step = result.step
                if step.needs_person and not self._person:
                    result.words = "needs somebody at the rack"
                    continue
                if step.group != group:
                    group = step.group
                    note(f"\n{group}: {selftest.GROUPS[group]}")
                self._run_one(result)
        finally:
            self._release()

    def _run_one(self, result: Result) -> None:
        step = result.step
        if self._person and not self._agreed(step):
            result.words = "skipped"
            return
        try:
            RUNS[step.group](self, result)
        except Refused as refusal:
            result.outcome, result.words = NOT_TESTED, f"refused: {refusal.words}"
            note(f"  next: {refusal.next_step}")
        except NotAllowed as refusal:
            result.outcome, result.words = NOT_TESTED, f"not allowed: {refusal.words}"
            note("  next: turn the key switch, or give the configure key with --key-file")
        colour = {PASSED: "green", FAILED: "red"}.get(result.outcome, "yellow")
        words = f": {result.words}" if result.words else ""
        note("  " + click.style(result.outcome, fg=colour) + f"  {step.title}{words}")
        self._journal(result)

    def _agreed(self, step: Step) -> bool:
        if step.group in ("relays", "path", "front"):
            warning = {
                "relays": "its power relay is cut; its load must be protected (bypass, or the contactor's 24 V off)",
                "path": "its power IS CUT; its services must have moved away",
                "front": "its header is pressed; it may reset or switch off",
            }[step.group]
            note(f"  {step.title}: {warning}")
        return bool(click.confirm(f"  Test {step.title} now?", default=True, err=True))

    def _journal(self, result: Result) -> None:
        # What the board measured it journals itself; the rest is what somebody saw.
        if result.step.group != "relays" or self._person:
            with contextlib.suppress(Refused, NotAllowed):
                self._board.note_test(result.step.node, result.step.check, result.outcome)

    def _release(self) -> None:
        with contextlib.suppress(HeartwireError):
            self._board.end_tests()

    def snapshot(self) -> Snapshot:
        """Return what the board shows now."""
        nodes = {}
        for name in self._nodes:
            good = self._board.node(name).verdict == "good"
            nodes[name] = selftest.HEARD if good else selftest.SILENT
        return Snapshot(self._board.inputs().inputs, nodes)

    def _moments(self, limit_s: float) -> Iterator[Snapshot]:
        """Yield what the board shows, again and again for `limit_s`."""
        deadline = self._now() + limit_s
        while True:
            yield self.snapshot()
            if self._now() >= deadline:
                return
            time.sleep(POLL_S)

    def _watch(self, result: Result) -> None:
        for phase in result.step.phases:
            words = self._await(phase)
            if words:
                result.outcome, result.words = FAILED, words
                return
        result.outcome = PASSED

    def _await(self, phase: Phase) -> str:
        """Say what to do and wait for it; return what went wrong, or ""."""
        before = self.snapshot()
        if phase.verdict(before, before) == "":
            return ""
        note(f"  -> {phase.say} (waiting {self._wait_s:g} s)")
        for now in self._moments(self._wait_s):
            words = phase.verdict(before, now)
            if words is not None:
                return words
        return f"{phase.name} did not change within {self._wait_s:g} s"

    def _lamps(self, result: Result) -> None:
        step = result.step
        self._board.lamps(step.lit, LAMPS_S)
        self._judge_by_person(result)
        self._board.lamps(0, 0)

    def _front(self, result: Result) -> None:
        self._board.press(result.step.node or "")
        self._judge_by_person(result)

    def _judge_by_person(self, result: Result) -> None:
        answer = click.prompt(f"  {result.step.question}", type=click.Choice(("y", "n", "skip")), err=True)
        result.outcome = {"y": PASSED, "n": FAILED}.get(answer, NOT_TESTED)
        if answer == "n":
            result.words = "somebody saw that it did not"

    def _relay(self, result: Result) -> None:
        node = result.step.node or ""
        before = self.snapshot()
        number = self._board.proof(node, self._cut_s)
        others = [signal for signal in selftest.ALL_SENSES if signal not in selftest.SENSES[node]]
        strangers: set[str] = set()
        for now in self._moments(self._cut_s + PROOF_MARGIN_S):
            strangers |= selftest.moved(before, now, others)
            test = self._board.relay_test()
            if test.is_over:
                break
        if not test.is_over or test.number != number:
            result.outcome, result.words = FAILED, "the board does not tell the result; see `heartwire log`"
            return
        result.off_ms, result.on_ms = test.off_ms, test.on_ms
        result.outcome, result.words = selftest.judge_relay(test.result, strangers)
        if self._person and result.step.group == "relays":
            self._judge_click(result, test.result)

    def _judge_click(self, result: Result, found: str) -> None:
        """Ask what was heard and measured; with its load protected, a sense need not move."""
        if found not in ("passed", *selftest.PROTECTED):
            return
        if found in selftest.PROTECTED:
            note(f"  the board says: {result.words}")
        right = click.confirm(f"  {selftest.CLICKED}", default=found == "passed", err=True)
        if not right:
            result.outcome, result.words = FAILED, result.words or "somebody saw another relay or contactor move"
        elif found != "passed":
            result.outcome, result.words = PASSED, "clicked; its sense does not move with the load protected"

    def _path(self, result: Result) -> None:
        node = result.step.node or ""
        incarnation = self._board.node(node).incarnation
        self._relay(result)
        if result.outcome != PASSED:
            return
        grace_s = self.boot_grace_s.get(node, 120.0)
        note(f"  -> waiting up to {grace_s:g} s for {node} to start and beat again")
        words = self.wait_back(node, grace_s)
        if words:
            result.outcome, result.words = FAILED, words
        elif self._board.node(node).incarnation == incarnation:
            result.outcome = FAILED
            result.words = "it went on beating: its load is on a bypass, or something else feeds it"

    def wait_back(self, node: str, limit_s: float) -> str:
        """Wait until `node` beats for PATH_WAIT_S without a break; return what went wrong, or ""."""
        since: float | None = None
        for now in self._moments(limit_s + PATH_WAIT_S):
            if now.nodes.get(node) != selftest.HEARD:
                since = None
            elif since is None:
                since = self._now()
            elif self._now() - since >= PATH_WAIT_S:
                return ""
        return f"{node} did not come back within {limit_s:g} s"

    def _transfer(self, result: Result) -> None:
        first = self._board.transfer_at()
        if first is None:
            result.outcome, result.words = FAILED, "its contacts say both positions, or none"
            return
        for node in ("b" if first == "a" else "a", first):
            self._board.transfer(node)
            deadline = self._now() + 5
            while self._board.transfer_at() != node:
                if self._now() >= deadline:
                    result.outcome, result.words = FAILED, f"it did not arrive at {node}"
                    return
                time.sleep(POLL_S)
        result.outcome = PASSED


RUNS: dict[str, Callable[[Runner, Result], Any]] = {
    "lines": Runner._watch,
    "senses": Runner._watch,
    "button": Runner._watch,
    "key": Runner._watch,
    "lamps": Runner._lamps,
    "alarm": Runner._lamps,
    "front": Runner._front,
    "relays": Runner._relay,
    "path": Runner._path,
    "transfer": Runner._transfer,
}

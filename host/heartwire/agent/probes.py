"""Probes: health of this server, measured by other processes, latched so that it does not flap.

Each probe runs at its own interval, never twice at once. After `failures` bad results in a row it is bad, after
`successes` good ones good again; a bad probe makes the agent report `degraded`. What a degraded node means is the
board's business. Called once per round by the agent; starts commands and never waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from heartwire.agent import probe_kinds
from heartwire.agent.hooks import Result
from heartwire.agent.log import Log
from heartwire.agent.settings import Command, ProbeSettings

NS_PER_S = 1_000_000_000


class ProbeCommands(Protocol):
    """What probes need of hooks.Commands, and the built-in kinds besides."""

    def start(self, command: Command, environment: dict[str, str], not_after_ns: int = 0) -> int:
        """Start a command."""

    def start_probe(self, kind: str, values: dict[str, Any], limit_s: float) -> int:
        """Start a built-in probe."""

    def results(self) -> list[Result]:
        """Return what ended since the last call."""


@dataclass
class _Probe:
    settings: ProbeSettings
    next_ns: int
    number: int = 0
    began_ns: int = 0
    bad: bool = False
    in_row: int = 0  # results that contradict `bad`
    problem: str = field(default="")


class Probes:
    """All probes of one agent."""

    def __init__(self, probes: Sequence[ProbeSettings], commands: ProbeCommands, log: Log, now_ns: int) -> None:
        """Spread the first runs over the interval of each, so that they do not all start at once."""
        self._commands = commands
        self._log = log
        count = max(1, len(probes))
        self._probes = [
            _Probe(settings, now_ns + int(settings.interval_s * NS_PER_S) * at // count)
            for at, settings in enumerate(probes)
        ]

    @property
    def bad(self) -> list[str]:
        """Return the names of the bad probes."""
        return [probe.settings.name for probe in self._probes if probe.bad]

    def step(self, now_ns: int) -> None:
        """Take results and start what is due."""
        for result in self._commands.results():
            for probe in self._probes:
                if probe.number == result.number:
                    self._ended(probe, result)
        for probe in self._probes:
            if not probe.number and now_ns >= probe.next_ns:
                settings = probe.settings
                probe.began_ns = now_ns
                # From the start of this run, so that a slow probe is not run less often; after a pause, no burst.
                probe.next_ns = now_ns + int(settings.interval_s * NS_PER_S)
                if settings.command:
                    probe.number = self._commands.start(settings.command, {})
                else:
                    probe.number = self._commands.start_probe(settings.kind, settings.values, settings.limit_s)

    def _ended(self, probe: _Probe, result: Result) -> None:
        probe.number = 0
        good = result.succeeded
        if not good:
            probe.problem = self._words(probe, result)
        if good != probe.bad:
            probe.in_row = 0
            return
        probe.in_row += 1
        if probe.in_row < (probe.settings.successes if good else probe.settings.failures):
            return
        probe.in_row = 0
        probe.bad = not good
        if good:
            self._log.info("probe_good", probe=probe.settings.name)
        else:
            self._log.warning("probe_bad", probe=probe.settings.name, problem=probe.problem)

    @staticmethod
    def _words(probe: _Probe, result: Result) -> str:
        if result.outcome != "exit":
            return result.outcome
        if probe.settings.command:
            return f"exit status {result.code}"
        return probe_kinds.words_of(result.code)

"""Find what is wrong with this server's agent: each check gives findings with words and a next step. Changes nothing.

Checks read the settings, the system (through `System`, which tests replace), the agent's status file, and - only while
no agent runs - the line itself (doctor_line.py). Called by `heartwire agent doctor`.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from heartwire import __version__
from heartwire.agent import doctor_starts, doctor_units, state
from heartwire.agent.doctor_findings import BAD, OK, WARNING, Finding
from heartwire.agent.doctor_line import ask_board
from heartwire.agent.doctor_port import check_port
from heartwire.agent.errors import StateError
from heartwire.agent.grants import Refusal
from heartwire.agent.lease import Loss
from heartwire.agent.machine import hypervisor
from heartwire.agent.port import open_port
from heartwire.agent.services import CHECK_STOPPED
from heartwire.agent.settings import AgentSettings, Command, read_key
from heartwire.errors import HeartwireError
from heartwire.names import is_numeric

# A status older than this many ms is that of an agent that is gone or hangs.
STATUS_OLD_MS = 5000
FREE_BYTES_MIN = 1_000_000
# Wall clocks before this have never been set (2024-01-01).
CLOCK_SET_S = 1_704_067_200


class System:
    """What the checks read of the system."""

    def __init__(self, root: Path = Path("/"), program: str = "") -> None:
        self.root = root
        # The path of this heartwire; empty if unknown.
        self.program = program

    def text(self, path: str) -> str:
        """Return the content of a file, empty if it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def output(self, *words: str) -> str:
        """Return what a program says, empty if it is missing or hangs."""
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip()

    def run(self, words: Sequence[str], variables: Mapping[str, str], limit_s: float) -> tuple[int | None, str]:
        """Run a program; return its exit status, None for a time limit, and its last line of complaint."""
        environment = {**os.environ, **variables}
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, errors="replace", check=False, timeout=limit_s, env=environment
            )
        except subprocess.TimeoutExpired:
            return None, ""
        except (OSError, ValueError) as error:
            return 127, str(error)
        lines = done.stderr.strip().splitlines()
        return done.returncode, lines[-1] if lines else ""

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME in ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Return the wall clock in s."""
        return time.time()


Check = Callable[[AgentSettings, System], Iterator[Finding]]


def check_key(settings: AgentSettings, _: System) -> Iterator[Finding]:
    """Check that there is a key and that nobody else can read it."""
    if settings.key_file is None:
        yield Finding(WARNING, "key", "no key: anybody on the line can speak for the board", "set key_file")
        return
    try:
        read_key(settings.key_file)
    except HeartwireError as error:
        yield Finding(BAD, "key", str(error), error.next_step)
    else:
        yield Finding(OK, "key", f"{settings.key_file} is readable for its owner only")


def check_state(settings: AgentSettings, _: System) -> Iterator[Finding]:
    """Check that the epoch can be read and that there is room to store a new one."""
    directory = settings.state_directory
    if not directory.is_dir():
        yield Finding(WARNING, "state", f"{directory} does not exist yet", "the agent makes it when it starts")
        return
    try:
        epoch = state.read_epoch(directory)
    except StateError as error:
        yield Finding(BAD, "state", str(error), error.next_step)
        return
    if not os.access(directory, os.W_OK):
        yield Finding(BAD, "state", f"{directory} is not writable", "without it no service can start here")
    elif shutil.disk_usage(directory).free < FREE_BYTES_MIN:
        yield Finding(BAD, "state", f"{directory} is full", "make room: without it no service can start here")
    else:
        yield Finding(OK, "state", f"highest epoch seen: {epoch}")


def check_services(settings: AgentSettings, system: System) -> Iterator[Finding]:
    """Check that there are hooks, that the check can tell, and that nothing they are about starts by itself."""
    hooks = settings.hooks
    if hooks.on_active is None:
        yield Finding(WARNING, "services", "no on_active hook: this agent starts nothing", "set [hooks] on_active")
    if hooks.check is None:
        hint = "set [hooks] check, so that stopped is seen and not believed"
        yield Finding(WARNING, "services", "no check: whether the services run is only guessed", hint)
    for command in doctor_starts.commands_of(hooks):
        if command.argv[0].startswith("/") and not os.access(command.argv[0], os.X_OK):
            yield Finding(BAD, "services", f"{command.argv[0]} is not a program that can be run", "correct [hooks]")
    for start in doctor_starts.find(hooks, system):
        yield Finding(BAD, "services", start.words, start.next_step)
    if hooks.check:
        yield from _try_check(settings, hooks.check, system)


def _try_check(settings: AgentSettings, check: Command, system: System) -> Iterator[Finding]:
    """Run the check once, as the agent does: one that cannot tell would leave the agent without a word to say."""
    variables = {**dict(check.environment), "HEARTWIRE_NODE": settings.node}
    code, said = system.run(check.argv, variables, check.limit_s)
    if code not in (0, *CHECK_STOPPED):
        ended = f"it took longer than {check.limit_s:g} s" if code is None else f"exit status {code}"
        hint = f"{' '.join(check.argv)} should exit with 0 while they run, 1 when they do not"
        yield Finding(BAD, "services", f"the check cannot tell whether they run: {said or ended}", hint)


def check_safety(settings: AgentSettings, system: System) -> Iterator[Finding]:
    """Check the watchdog, the clock and what a lease is worth here."""
    shown = hypervisor(system.root)
    if settings.on_board_loss is Loss.STOP:
        if shown and not settings.fenced_from_outside:
            hint = "fenced_from_outside = true only if it can be cut off by other means"
            yield Finding(BAD, "lease", f"on_board_loss stop in a virtual machine ({shown}) proves nothing", hint)
        if not settings.watchdog:
            hint = "set watchdog = /dev/watchdog; the board counts on it where off is not measured"
            yield Finding(WARNING, "watchdog", "on_board_loss stop without a kernel watchdog", hint)
    if settings.watchdog:
        if Path(settings.watchdog).exists():
            total_s = settings.stop_timeout_s + settings.watchdog_timeout_s
            words = f"the board's self_fence_ms for this node must be at least {int(total_s * 1000)}"
            yield Finding(OK, "watchdog", words)
        else:
            hint = 'load its driver (softdog works everywhere), or set watchdog = ""'
            yield Finding(BAD, "watchdog", f"{settings.watchdog} is missing", hint)
    if system.wall_s() < CLOCK_SET_S:
        hint = "start a time service; leases do not depend on it, but logs and the board's wall time do"
        yield Finding(WARNING, "clock", "the wall clock was never set", hint)


def check_probes(settings: AgentSettings, _: System) -> Iterator[Finding]:
    """Check that no probe depends on a name server without need."""
    for probe in settings.probes:
        host = probe.values.get("host") or urllib.parse.urlsplit(probe.values.get("url", "")).hostname
        if host and not is_numeric(host):
            words = f"probe {probe.name}: {host} is a name: without its name server this node is degraded"
            yield Finding(WARNING, "probes", words, "give a numeric address, or a name of /etc/hosts")


def check_agent(settings: AgentSettings, system: System) -> Iterator[Finding]:
    """Check what the running agent says about the line."""
    status = read_status(settings)
    if status is None:
        yield Finding(WARNING, "agent", "no agent has run here", "systemctl start heartwire-agent")
        yield _ask(settings)
        return
    age_ms = (system.boottime_ns() - int(status["time_ns"])) // 1_000_000
    if status["boot_id"] != state.boot_id() or not 0 <= age_ms < STATUS_OLD_MS:
        yield Finding(WARNING, "agent", "the agent does not run, or hangs", "systemctl status heartwire-agent")
        yield _ask(settings)
        return
    if status.get("version") != __version__:
        words = f"heartwire {status.get('version') or 'of an older version'} runs, {__version__} is installed"
        yield Finding(WARNING, "agent", words, "systemctl restart heartwire-agent: services and role stay as they are")
    if status["port_problem"]:
        yield Finding(BAD, "line", f"{status['port']}: {status['port_problem']}", "check port and cable")
        return
    yield from _line_of(status, settings)
    if status["degraded"]:
        yield Finding(WARNING, "agent", f"it reports degraded: {status['degraded']}", "see its log")
    if status["epochs_refused"]:
        hint = "the board was replaced or its store is older; see `heartwire help`, then `heartwire declare`"
        yield Finding(
            BAD, "epoch", f"{status['epochs_refused']} grants had a lower epoch than this node has seen", hint
        )
    if status["peer_seen"] is False:
        yield Finding(WARNING, "peer", "the other agent is not heard over the network", "check addresses and firewall")


def _ask(settings: AgentSettings) -> Finding:
    """Ask the board directly, unless somebody else has the port or the state directory."""
    try:
        key = read_key(settings.key_file) if settings.key_file else None
        port = open_port(settings.port, settings.baud)
    except OSError as error:
        return Finding(BAD, "line", f"{settings.port}: {error.strerror}", "end the program that has the port")
    except HeartwireError as error:
        return Finding(BAD, "line", f"the board was not asked: {error}", error.next_step)
    try:
        return ask_board(port, settings.node_number, key)
    finally:
        port.close()


def _line_of(status: dict[str, Any], settings: AgentSettings) -> Iterator[Finding]:
    grant_ms = status["newest_grant_ms_ago"]
    refused = status["grants_refused"]
    if grant_ms is not None and grant_ms < 3 * settings.interval_ms + STATUS_OLD_MS:
        yield Finding(OK, "line", f"the board answered {grant_ms} ms ago: {status['role']}, epoch {status['epoch']}")
    elif Refusal.WRONG_NODE.value in refused:
        yield Finding(BAD, "line", "the board answers for another node", "cables are crossed, or node is wrong")
    elif Refusal.WRONG_MAC.value in refused:
        yield Finding(BAD, "line", "the board's answers have a wrong signature", "give both ends the same key")
    elif status["frames_broken"]:
        yield Finding(
            BAD, "line", "bytes arrive, but no good frames", "compare baud on both ends; check the ground wire"
        )
    else:
        hint = "wrong port or cable, crossed cables, another baud rate, another key, or the board has no power"
        reopened = status.get("port_reopened", 0)
        tried = f", though the port was opened anew {reopened} times" if reopened else ""
        yield Finding(BAD, "line", f"nothing arrives from the board{tried}", hint)


def read_status(settings: AgentSettings) -> dict[str, Any] | None:
    """Return the agent's status file; None if there is none."""
    try:
        status: dict[str, Any] = json.loads((settings.state_directory / state.STATUS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return status


def check_unit(settings: AgentSettings, system: System) -> Iterator[Finding]:
    """Check that the unit of the agent is the one that counts, starts this program, and announces a shutdown."""
    unit = next((text for text in map(system.text, doctor_units.PLACES) if text), "")
    yield from doctor_units.hidden(system.root)
    yield from doctor_units.program(unit, system.program, system.root)
    yield from doctor_units.findings(settings, unit)


CHECKS: tuple[Check, ...] = (
    check_key, check_port, check_state, check_services, check_probes, check_unit, check_safety, check_agent,
)  # fmt: skip


def examine(settings: AgentSettings, system: System, checks: tuple[Check, ...] = CHECKS) -> list[Finding]:
    """Run all checks; return the findings in their order."""
    return [finding for check in checks for finding in check(settings, system)]

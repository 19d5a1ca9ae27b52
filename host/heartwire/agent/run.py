"""Run one agent: build its stages from the settings, wait for input, step, and end in good order on SIGTERM or SIGINT.

One thread decides; a second one writes to the disk, a third one the log, and two forked processes start commands.
Called by `heartwire agent run`.
"""

import contextlib
import os
import queue
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from heartwire.agent import state
from heartwire.agent.agent import Agent
from heartwire.agent.build import Hands, boottime_ns, build
from heartwire.agent.control import SOCKET_FILE, Control
from heartwire.agent.errors import SettingsError, WatchdogError
from heartwire.agent.hooks import ForkedCommands
from heartwire.agent.lease import NS_PER_MS, Loss, Wish
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.machine import hypervisor
from heartwire.agent.notify import Notifier, from_environment
from heartwire.agent.peer import PeerLink
from heartwire.agent.port import Opener
from heartwire.agent.realtime import lock_memory, raise_priority
from heartwire.agent.settings import AgentSettings, read_key
from heartwire.agent.watchdog import KernelWatchdog, NoWatchdog, Watchdog
from heartwire.errors import HeartwireError

FINISH_S = 1.0
HELPER_NEXT = (
    "systemd starts the agent again; if it happens again, look for the out-of-memory killer in the kernel's log"
)
LOG_LINES_MAX = 1000


class BackgroundStream:
    """Write log lines from a thread: a full pipe or a broken journal costs lines, never heartbeats."""

    def __init__(self, stream: TextIO) -> None:
        self.lost = 0
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(maxsize=LOG_LINES_MAX)
        self._thread = threading.Thread(target=self._work, name="heartwire-log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue `text`, or lose it if too much waits already."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self.lost += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing; the thread flushes."""

    def finish(self, timeout_s: float) -> None:
        """Wait for what is queued, at most `timeout_s`."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while (text := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()


def open_watchdog(settings: AgentSettings) -> Watchdog:
    """Arm the configured watchdog. WatchdogError if it cannot be."""
    if not settings.watchdog:
        return NoWatchdog()
    try:
        return KernelWatchdog(settings.watchdog, int(settings.watchdog_timeout_s))
    except OSError as error:
        raise WatchdogError(
            f"watchdog {settings.watchdog}: {error.strerror or error}",
            'load its driver (softdog works everywhere), or set watchdog = ""',
        ) from error


def run(settings: AgentSettings, stderr: TextIO | None = None) -> int:
    """Run until a signal ends it; return the exit status. HeartwireError if it cannot start."""
    refuse_lease_only(settings)
    key = read_key(settings.key_file) if settings.key_file else None
    peer_key = read_key(settings.peer.key_file) if settings.peer else None
    lock = state.lock_directory(settings.state_directory)
    stored = state.read_epoch(settings.state_directory)
    epoch = max(stored, state.durable_before(settings.state_directory))
    boot = state.boot_id()
    former = state.read_resumption(settings.state_directory, settings.node, boot)
    now_ns = boottime_ns()
    # Forked before threads, port and watchdog are there.
    commands = ForkedCommands(quiet=False)
    checks = ForkedCommands(quiet=True)
    stream = BackgroundStream(stderr or sys.stderr)
    log = Log(stream, settings.node)  # type: ignore[arg-type]
    probe_commands = ForkedCommands(quiet=True)
    disk = state.Disk(settings.state_directory, stored)
    watchdog: Watchdog = NoWatchdog()
    peer: PeerLink | None = None
    agent: Agent | None = None
    line = Line(settings.port, settings.baud, log, Opener(settings.interval_ms))
    try:
        watchdog = open_watchdog(settings)
        if settings.peer and peer_key:
            peer = open_peer(settings, peer_key, log, now_ns)
        disk.start()
        hands = Hands(line, commands, checks, probe_commands, watchdog, disk, log, peer)
        agent = build(settings, hands, key, epoch, former, boot)
        controls = open_sockets(settings, agent, log)
        keep_on_time(settings, log)
        log.info("started", port=settings.port, epoch=epoch, incarnation=agent.incarnation.number, pid=os.getpid())
        notifier = from_environment()
        notifier.tell("READY=1")
        try:
            loop(agent, (commands, checks, probe_commands), controls, notifier)
        finally:
            notifier.tell("STOPPING=1")
            for control in controls:
                control.close()
        agent.tell_last()
        log.info("ended", sequence=agent.incarnation.sequence)
    finally:
        # Also where an exception ended it: a server on which nothing can run is not reset for that.
        heard = agent is not None and agent.lease.role is not None
        advisory = agent.judged.wish is Wish.ADVISORY if agent and heard else former.advisory
        suspect = agent.services.suspect if agent else former.suspect
        watchdog.close(disarm=is_harmless(settings, suspect, advisory))
        line.close()
        if peer:
            peer.close()
        checks.close()
        probe_commands.close()
        commands.close()
        disk.finish(FINISH_S)
        stream.finish(FINISH_S)
        os.close(lock)
    return 0


def is_harmless(settings: AgentSettings, suspect: bool, advisory: bool) -> bool:
    """Tell whether this server may be left without a fed watchdog; `suspect`: its services may run.

    A service that must end with its lease may not: the watchdog resets the server unless a new agent comes in time.
    """
    return not suspect or advisory or settings.on_board_loss is Loss.HOLD


def open_peer(settings: AgentSettings, key: bytes, log: Log, now_ns: int) -> PeerLink | None:
    """Open the network path to the peer. SettingsError if its port cannot be had."""
    if settings.peer is None:
        return None
    try:
        return PeerLink(settings.node_number, settings.peer, key, log, now_ns)
    except OSError as error:
        host, port = settings.peer.listen
        raise SettingsError(
            f"peer.listen: {host}:{port}: {error.strerror}", "choose an address and port of this server"
        ) from error


def open_sockets(settings: AgentSettings, agent: Agent, log: Log) -> list[Control]:
    """Open the control socket and, if wanted, the one for monitors. SettingsError if that one cannot be had."""
    controls = [Control(settings.state_directory / SOCKET_FILE, agent.handle, log)]
    if settings.events_socket:
        path = Path(settings.events_socket)
        try:
            controls.append(Control(path, agent.read_events, log, group=settings.events_group, keep=True))
        except OSError as error:
            controls[0].close()
            raise SettingsError(
                f"events_socket: {path}: {error.strerror or error}",
                "choose a path in a directory that exists (systemd's unit makes /run/heartwire), and a group that does",
            ) from error
    return controls


def refuse_lease_only(settings: AgentSettings) -> None:
    """Raise SettingsError where a lease would prove nothing: in a virtual machine that nothing fences from outside."""
    if settings.on_board_loss is not Loss.STOP or settings.fenced_from_outside:
        return
    shown = hypervisor()
    if shown:
        raise SettingsError(
            f'on_board_loss: "stop" is refused in a virtual machine ({shown}): its clock may stand still unnoticed',
            "if the board or the host can cut this machine off by other means, set fenced_from_outside = true",
        )


def keep_on_time(settings: AgentSettings, log: Log) -> None:
    """Lock the memory and raise the priority as far as allowed; what was not reached is logged, never an error."""
    memory = lock_memory() if settings.lock_memory else "switched off"
    priority = raise_priority(settings.real_time_priority) if settings.real_time_priority else "switched off"
    log.info("on_time", memory=memory or "locked", priority=priority or settings.real_time_priority)


def take_key(agent: Agent) -> None:
    """Read the key file again, for a key that is rolled; what cannot be read leaves the key as it is, and says so."""
    path = agent.settings.key_file
    try:
        key = read_key(path) if path else None
    except HeartwireError as error:
        agent.say_key_stays(error.words)
        return
    if key is not None:
        agent.use_key(key)


def loop(agent: Agent, runners: Sequence[ForkedCommands], controls: Sequence[Control], notifier: Notifier) -> None:
    """Wait and step until the agent has said farewell."""
    wake_read, wake_write = socket.socketpair()
    wake_read.setblocking(False)
    wake_write.setblocking(False)
    handlers: dict[signal.Signals, Callable[[], None]] = {
        # As the unit of the agent and heartwire-planned-off.service say it, ahead of SIGTERM.
        signal.SIGUSR1: lambda: agent.plan_off(shutdown=True),
        signal.SIGUSR2: lambda: agent.plan_off(shutdown=False),
        signal.SIGTERM: agent.leave,
        signal.SIGINT: agent.leave,
        signal.SIGHUP: lambda: take_key(agent),
    }
    before = {
        number: signal.signal(number, lambda number, _: handlers[signal.Signals(number)]()) for number in handlers
    }
    wakeup_before = signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
    poller = select.poll()
    helpers = {runner.fileno() for runner in runners}
    always = {wake_read.fileno(), *helpers}
    if agent.peer:
        always.add(agent.peer.fileno())
    watched: set[int] = set()
    try:
        while not agent.finished:
            agent.step()
            notifier.alive(boottime_ns())
            line = agent.line.port.fileno() if agent.line.port else -1
            wanted = always.union(*(control.descriptors() for control in controls), [line] if line >= 0 else [])
            for descriptor in watched - wanted:
                with contextlib.suppress(KeyError, OSError):
                    poller.unregister(descriptor)
            for descriptor in wanted:
                # Again even if it is known: a number may by now belong to another file.
                connects = descriptor == line and agent.line.connects
                poller.register(descriptor, select.POLLIN | (select.POLLOUT if connects else 0))
            watched = wanted
            now_ns = boottime_ns()
            wait_ms = max(0, -(-(agent.next_ns(now_ns) - now_ns) // NS_PER_MS))
            for ready, events in poller.poll(wait_ms):
                if ready == wake_read.fileno():
                    wake_read.recv(4096)
                elif ready == line:
                    if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                        agent.line.hung_up(boottime_ns())
                elif ready in helpers and events & (select.POLLHUP | select.POLLERR):
                    # Without it nothing can be stopped any more, and its channel would keep this loop spinning.
                    raise HeartwireError("a helper process that starts commands has died", HELPER_NEXT)
                elif ready not in always:
                    for control in controls:
                        control.serve(ready)
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        wake_read.close()
        wake_write.close()

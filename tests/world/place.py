"""Places for programs: networks with a cable to cut, a silent name server, a board on a serial server.

Everything is gone with its context: namespaces, programs, terminals. What a machine lacks is named by `needs`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from tests.unit.agent.agent_fakes import ACTIVE, KEY, FakeBoard

HEARTWIRE = str(Path(sys.executable).parent / "heartwire")
SERVER, ROUTER, BOARD = "server", "router", "board"
BOARD_ADDRESS = "10.77.2.2"
INTERVAL_S = 1.0
# Programs by the component (tests/components.toml) that brings them.
PROGRAMS = {"ser2net": "ser2net", "iproute2": "ip", "iptables": "iptables", "util-linux": "unshare"}
_number = itertools.count()


def needs(*components: str, namespaces: bool = False) -> None:
    """Skip the test, and name what is missing, unless it can run here."""
    absent = [name for name in components if not shutil.which(PROGRAMS[name], path=search_path())]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    if namespaces:
        if os.geteuid():
            pytest.skip("missing: root, for namespaces of networks and mounts")
        tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"missing: the right to make namespaces ({tried.stderr.strip()})")


def search_path() -> str:
    """Return a PATH with the system's own programs in it."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def run(*words: str) -> str:
    """Run a program that must succeed; return what it says."""
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PATH": search_path()}
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}{done.stdout}"
    return done.stdout


def wait_until(true: Callable[[], Any], limit_s: float, what: str) -> None:
    """Wait until `true()`; fail with `what` after `limit_s`."""
    end = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not within {limit_s:g} s: {what}")
        time.sleep(0.02)


class Network:
    """A server and a serial server in networks of their own, with a router between them."""

    def __init__(self) -> None:
        mark = f"hw{os.getpid()}x{next(_number)}"
        self._names = {place: f"{mark}{place}" for place in (SERVER, ROUTER, BOARD)}

    def __enter__(self) -> Self:
        try:
            for name in self._names.values():
                run("ip", "netns", "add", name)
                self._ip(name, "link", "set", "lo", "up")
            for number, place in enumerate((SERVER, BOARD), 1):
                end, router = self._names[place], self._names[ROUTER]
                run("ip", "link", "add", "eth0", "netns", end, "type", "veth", "peer", f"to{number}", "netns", router)
                self._ip(end, "address", "add", f"10.77.{number}.2/24", "dev", "eth0")
                self._ip(router, "address", "add", f"10.77.{number}.1/24", "dev", f"to{number}")
                self._ip(end, "link", "set", "eth0", "up")
                self._ip(router, "link", "set", f"to{number}", "up")
                self._ip(end, "route", "add", "default", "via", f"10.77.{number}.1")
            run(*self.within(ROUTER), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            self.lose(True)
            self.lose(False)
        except AssertionError as error:
            self.__exit__()
            pytest.skip(f"missing: networks in this kernel ({error})")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names.values():
            with contextlib.suppress(AssertionError):
                run("ip", "netns", "delete", name)

    @staticmethod
    def _ip(name: str, *words: str) -> None:
        run("ip", "-n", name, *words)

    def within(self, place: str) -> list[str]:
        """Return what to put before a command so that it runs at `place`."""
        return ["ip", "netns", "exec", self._names[place]]

    def lose(self, lost: bool) -> None:
        """Let the router lose every packet, in both directions, or none any more: a cut behind the next switch."""
        run(*self.within(ROUTER), "iptables", "-I" if lost else "-D", "FORWARD", "-j", "DROP")

    def unplug(self, unplugged: bool) -> None:
        """Pull the server's own cable, or put it back."""
        self._ip(self._names[ROUTER], "link", "set", "to1", "down" if unplugged else "up")


class LineBoard:
    """A board in memory behind a tty: it answers heartbeats, and remembers when each came."""

    def __init__(self) -> None:
        self.board = FakeBoard()
        self.board.role = ACTIVE
        self.came: list[tuple[float, int]] = []  # monotonic s, sequence
        self.inbox = b""
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self.kept = slave  # else the master reports a hang-up between two users of the tty
        self._ending = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(5)
        os.close(self._master)
        os.close(self.kept)

    def _work(self) -> None:
        while not self._ending:
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            data = os.read(self._master, 4096)
            before = len(self.board.beats)
            self.board.hear(data, self)  # type: ignore[arg-type] # all that it needs is an inbox
            now_s = time.monotonic()
            self.came += [(now_s, beat["sequence"]) for beat in self.board.beats[before:]]
            answer, self.inbox = self.inbox, b""
            if answer:
                os.write(self._master, answer)

    def since(self, begin_s: float) -> list[float]:
        """Return when heartbeats came after `begin_s`, in s after it."""
        return [came_s - begin_s for came_s, _ in self.came if came_s > begin_s]


@contextlib.contextmanager
def program(words: Sequence[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, its output going to `log`, and end it in good order."""
    with log.open("ab") as file:
        environment = {**os.environ, "PATH": search_path()}
        process = subprocess.Popen(words, stdout=file, stderr=file, env=environment, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def serial_server(
    directory: Path, device: str, accepter: str = "tcp,4000", *, prefix: Sequence[str] = (), **options: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the real ser2net for one device, until it listens."""
    config = directory / "ser2net.yaml"
    lines = ["%YAML 1.1", "---", "connection: &line", f"  accepter: {accepter}"]
    lines.append(f"  connector: serialdev,{device},115200n81,local")
    if options:
        lines += ["  options:", *(f"    {name}: {str(value).lower()}" for name, value in options.items())]
    config.write_text("\n".join(lines) + "\n")
    log = directory / "ser2net.log"
    with program([*prefix, "ser2net", "-n", "-d", "-u", "-c", str(config)], log) as server:
        port = f":{int(accepter.rpartition(',')[2]):04X}"

        def listens() -> bool:
            assert server.poll() is None, log.read_text()
            text = "".join((Path(f"/proc/{server.pid}/net") / name).read_text() for name in ("tcp", "tcp6"))
            # State 0A is LISTEN.
            return any(row.split()[1].endswith(port) and row.split()[3] == "0A" for row in text.splitlines()[1:])

        wait_until(listens, 15, "ser2net listens")
        yield server


def agent_settings(directory: Path, port: str, more: str = "") -> Path:
    """Write the settings of an agent of node a, and its key; return their file."""
    directory.mkdir(exist_ok=True)
    key = directory / "key"
    key.write_text(KEY.hex() + "\n")
    key.chmod(0o600)
    path = directory / "agent.toml"
    path.write_text(
        f'node = "a"\nport = "{port}"\nkey_file = "{key}"\nstate_directory = "{directory / "state"}"\n'
        f"interval_ms = {int(INTERVAL_S * 1000)}\nlock_memory = false\nreal_time_priority = 0\n{more}"
    )
    return path


def agent(settings: Path, prefix: Sequence[str] = ()) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the product's agent."""
    words = [*prefix, HEARTWIRE, "agent", "run", "--config", str(settings)]
    return program(words, settings.with_name("agent.log"))


def free_port() -> int:
    """Return a TCP port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def status_of(settings: Path) -> dict[str, Any]:
    """Return what the agent says of itself; empty if it has not said anything yet."""
    try:
        found: dict[str, Any] = json.loads((settings.parent / "state" / "status.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def wait_for_grant(settings: Path) -> None:
    """Wait until the agent is told that it is active."""
    wait_until(lambda: status_of(settings).get("role") == "active", 30, "a grant")


def events_of(settings: Path) -> list[str]:
    """Return the agent's log as names of events."""
    lines = settings.with_name("agent.log").read_text().splitlines()
    return [line.split("event=")[1].split()[0] for line in lines if "event=" in line]


NAME = "rack.example"
# Holds the port of a name server and says nothing; the resolver waits for it as for a packet that was lost.
SILENCE = """
import socket, sys, time
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.bind(("127.0.0.1", 53))
print("silent", flush=True)
time.sleep(3600)
"""


@contextlib.contextmanager
def dead_resolver(directory: Path) -> Iterator[list[str]]:
    """Yield what to put before a command so that its name server is silent, with this machine's files and terminals."""
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: files dns\n")):
        (directory / name).write_text(text)
    script = (
        f"mount --bind {directory}/resolv.conf /etc/resolv.conf && "
        f"{{ [ ! -e /etc/nsswitch.conf ] || mount --bind {directory}/nsswitch.conf /etc/nsswitch.conf; }} && "
        f"ip link set lo up && exec {sys.executable} -c '{SILENCE}'"
    )
    log = directory / "resolver.log"
    with program(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script], log) as holder:

        def is_silent() -> bool:
            assert holder.poll() is None, log.read_text()
            return "silent" in log.read_text()

        wait_until(is_silent, 20, "a silent name server")
        yield ["nsenter", "--target", str(holder.pid), "--net", "--mount"]

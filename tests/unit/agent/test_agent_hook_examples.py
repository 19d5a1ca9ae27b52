"""The shipped hook examples: with real PostgreSQL and real network namespaces, and stand-ins for the rest."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import heartwire.agent

HOOKS = Path(heartwire.agent.__file__).parent.parent / "share" / "hooks"


def hook(name: str, *words: str, path: Path | None = None, **environment: str) -> int:
    variables = {**os.environ, **environment}
    if path:
        variables["PATH"] = f"{path}:{variables['PATH']}"
    return subprocess.run([str(HOOKS / name), *words], env=variables, check=False, timeout=120).returncode


def program(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


@pytest.mark.parametrize("name", ["systemd-target", "postgresql", "libvirt-migrate", "floating-ip"])
def test_a_wrong_call_is_no_success_and_no_stopped(name: str, tmp_path: Path) -> None:
    assert hook(name, "dance", str(tmp_path), "lo") in (64, 126)
    assert hook(name) not in (0, 1) or name in ("systemd-target", "postgresql", "libvirt-migrate")


# --- systemd: a stand-in for systemctl that keeps states in files ---


@pytest.fixture
def systemctl(tmp_path: Path) -> Path:
    program(
        tmp_path,
        "systemctl",
        f"""cd {tmp_path}
echo "$@" >> calls
for last; do :; done
case "$*" in
*--property=Wants*) echo "web.service db.service" ;;
*--property=ActiveState*) cat "$last.state" 2>/dev/null || echo inactive ;;
is-failed*) [ "$(cat "$last.state" 2>/dev/null)" = failed ] ;;
start*)
    for u in x.target web.service db.service; do echo active > $u.state; done
    [ ! -e break ] || echo failed > db.service.state ;;
stop*) echo inactive > "$last.state" ;;
esac""",
    )
    return tmp_path


def test_a_systemd_target(systemctl: Path) -> None:
    words = ("systemd-target", "check", "x.target")
    assert hook(*words, path=systemctl) == 1
    assert hook("systemd-target", "start", "x.target", path=systemctl) == 0
    assert hook(*words, path=systemctl) == 0
    assert hook("systemd-target", "stop", "x.target", path=systemctl) == 0
    assert hook(*words, path=systemctl) == 1


def test_a_service_of_the_target_that_still_runs_is_seen(systemctl: Path) -> None:
    (systemctl / "db.service.state").write_text("deactivating\n")
    assert hook("systemd-target", "check", "x.target", path=systemctl) == 0
    (systemctl / "db.service.state").write_text("who knows\n")
    assert hook("systemd-target", "check", "x.target", path=systemctl) == 126


def test_a_service_of_the_target_that_failed_is_seen(systemctl: Path) -> None:
    (systemctl / "break").touch()
    assert hook("systemd-target", "start", "x.target", path=systemctl) == 1


# --- libvirt: a stand-in for virsh ---


@pytest.fixture
def virsh(tmp_path: Path) -> Path:
    program(
        tmp_path,
        "virsh",
        f"""cd {tmp_path}
echo "$@" >> calls
case "$1" in
domstate) cat state ;;
start) echo running > state ;;
migrate) [ ! -e break ] && echo "shut off" > state ;;
shutdown) [ -e deaf ] || echo "shut off" > state ;;
destroy) echo "shut off" > state ;;
esac""",
    )
    (tmp_path / "state").write_text("running\n")
    return tmp_path


def test_a_guest_is_migrated_away(virsh: Path) -> None:
    assert hook("libvirt-migrate", "check", "g", path=virsh) == 0
    assert hook("libvirt-migrate", "drain", "g", "qemu+ssh://b/system", path=virsh) == 0
    assert "migrate --live --persistent --verbose g qemu+ssh://b/system" in (virsh / "calls").read_text()
    assert hook("libvirt-migrate", "check", "g", path=virsh) == 1


def test_a_failed_migration_is_a_failed_drain(virsh: Path) -> None:
    (virsh / "break").touch()
    assert hook("libvirt-migrate", "drain", "g", "qemu+ssh://b/system", path=virsh) != 0
    assert hook("libvirt-migrate", "check", "g", path=virsh) == 0


def test_a_deaf_guest_is_cut_off(virsh: Path) -> None:
    (virsh / "deaf").touch()
    assert hook("libvirt-migrate", "stop", "g", path=virsh, HEARTWIRE_SHUTDOWN_S="0") == 0
    assert "destroy g" in (virsh / "calls").read_text()
    assert hook("libvirt-migrate", "start", "g", path=virsh) == 0
    assert hook("libvirt-migrate", "check", "g", path=virsh) == 0


def test_without_libvirt_nobody_claims_that_the_guest_is_off(tmp_path: Path) -> None:
    program(tmp_path, "virsh", "exit 1")
    assert hook("libvirt-migrate", "check", "g", path=tmp_path) == 126


# --- a writer that refuses a stale epoch ---


def write(directory: Path, epoch: int, *lines: str) -> int:
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(
        [str(HOOKS / "fenced-writer"), str(directory)],
        input=text,
        text=True,
        env={**os.environ, "HEARTWIRE_EPOCH": str(epoch)},
        check=False,
    ).returncode


def test_a_stale_writer_writes_nothing(tmp_path: Path) -> None:
    assert write(tmp_path, 3, "one", "two") == 0
    assert write(tmp_path, 4, "three") == 0
    assert write(tmp_path, 3, "late") == 75
    assert write(tmp_path, 4, "four") == 0
    assert (tmp_path / "data").read_text() == "3 one\n3 two\n4 three\n4 four\n"


def test_a_paused_writer_writes_nothing_when_it_wakes_up(tmp_path: Path) -> None:
    words = [str(HOOKS / "fenced-writer"), str(tmp_path), "3"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as old:
        assert old.stdin is not None
        old.stdin.write(b"before\n")
        old.stdin.flush()
        while not (tmp_path / "data").exists() or not (tmp_path / "data").read_text().endswith("\n"):
            os.sched_yield()
        old.send_signal(signal.SIGSTOP)
        old.stdin.write(b"after\n")
        old.stdin.flush()
        assert write(tmp_path, 4, "successor") == 0
        old.send_signal(signal.SIGCONT)
        assert old.wait(20) == 75
    assert (tmp_path / "data").read_text() == "3 before\n4 successor\n"


# --- a floating address between two network namespaces ---


def ip(*words: str) -> int:
    return subprocess.run(["ip", *words], check=False, capture_output=True).returncode


@pytest.fixture
def servers() -> Iterator[tuple[str, str]]:
    one, two = f"hw-{os.getpid()}-a", f"hw-{os.getpid()}-b"
    if not shutil.which("ip") or os.geteuid() or ip("netns", "add", one):
        pytest.skip("needs root, iproute2 and network namespaces")
    try:
        ip("netns", "add", two)
        if ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", two):
            pytest.skip("needs virtual network devices")
        for at, name in enumerate((one, two), 1):
            ip("-n", name, "address", "add", f"192.0.2.{at}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        yield one, two
    finally:
        ip("netns", "del", one)
        ip("netns", "del", two)


def floating(server: str, verb: str) -> int:
    words = ["ip", "netns", "exec", server, str(HOOKS / "floating-ip"), verb, "192.0.2.10/24", "eth0"]
    return subprocess.run(words, check=False, capture_output=True).returncode


def neighbour(server: str, address: str) -> str:
    words = ["ip", "-n", server, "neighbour", "show", address]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def mac(server: str) -> str:
    words = ["ip", "netns", "exec", server, "cat", "/sys/class/net/eth0/address"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_a_floating_address_is_never_on_two_servers(servers: tuple[str, str]) -> None:
    one, two = servers
    assert floating(one, "check") == 1
    assert floating(one, "start") == 0
    assert floating(one, "start") == 0, "idempotent"
    assert floating(one, "check") == 0
    assert floating(two, "start") == 1, "the other server still answers"
    assert floating(two, "check") == 1
    assert floating(one, "stop") == 0
    assert floating(one, "stop") == 0, "idempotent"
    # A client that still has the old server in its table is told about the new one.
    ip("-n", one, "neighbour", "replace", "192.0.2.10", "lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", "eth0")
    assert floating(two, "start") == 0
    assert mac(two) in neighbour(one, "192.0.2.10")


# --- PostgreSQL, real ---


class Cluster:
    """One PostgreSQL cluster, run by an unprivileged user."""

    user = "postgres" if not os.geteuid() else ""

    def __init__(self, directory: Path, port: int) -> None:
        self.data = directory / f"data-{port}"
        self.port = port
        self.directory = directory

    def run(self, *words: str) -> str:
        prefix = ["runuser", "-u", self.user, "--"] if self.user else []
        result = subprocess.run([*prefix, *words], capture_output=True, text=True, check=False, cwd="/")
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def sql(self, statement: str) -> str:
        return self.run("psql", "-h", str(self.directory), "-p", str(self.port), "-Atc", statement, "postgres")

    def configure(self) -> None:
        settings = f"port={self.port}\nlisten_addresses=''\nunix_socket_directories='{self.directory}'\nfsync=off\n"
        (self.data / "postgresql.auto.conf").open("a").write(settings)

    def start(self) -> None:
        self.run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(self.directory / f"log-{self.port}"))

    def hook(self, verb: str) -> int:
        return hook("postgresql", verb, str(self.data), PGBIN=str(BIN))


BIN = Path(os.path.realpath(shutil.which("pg_ctl") or "/none")).parent


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Cluster]]:
    if not (BIN / "initdb").exists() or (not os.geteuid() and not shutil.which("runuser")):
        pytest.skip("needs PostgreSQL's pg_ctl in PATH, and runuser for root")
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    directory = Path(tempfile.mkdtemp(prefix="hwpg", dir="/tmp"))
    primary, standby = Cluster(directory, 5501), Cluster(directory, 5502)
    if primary.user:
        try:
            shutil.chown(directory, primary.user)
        except LookupError:
            directory.rmdir()
            pytest.skip("needs a user postgres")
    try:
        primary.run("initdb", "-D", str(primary.data), "--auth=trust", "-U", "postgres", "--no-sync", "-N")
        primary.configure()
        primary.start()
        primary.run(
            *("pg_basebackup", "-h", str(directory), "-p", "5501", "-U", "postgres"),
            *("-D", str(standby.data), "-R", "-c", "fast", "--no-sync"),
        )
        standby.configure()
        standby.start()
        yield primary, standby
    finally:
        for cluster in (primary, standby):
            if (cluster.data / "postmaster.pid").exists():
                cluster.run("pg_ctl", "stop", "-m", "immediate", "-D", str(cluster.data))
        shutil.rmtree(directory)


def test_postgresql_is_promoted_and_a_stopped_primary_never_comes_back_as_one(
    clusters: tuple[Cluster, Cluster],
) -> None:
    primary, standby = clusters
    primary.sql("create table t as select 42 as x")
    assert (primary.hook("check"), standby.hook("check")) == (0, 1)
    assert standby.hook("stop") == 0
    assert standby.sql("select pg_is_in_recovery()") == "t", "a standby goes on replicating"
    position = primary.sql("select pg_current_wal_lsn()")
    while standby.sql(f"select pg_last_wal_replay_lsn() >= '{position}'") != "t":
        pass
    assert primary.hook("stop") == 0
    assert primary.hook("stop") == 0, "idempotent"
    assert primary.hook("check") == 1
    assert standby.hook("start") == 0
    assert standby.hook("start") == 0, "idempotent"
    assert standby.hook("check") == 0
    assert standby.sql("select pg_is_in_recovery(), x from t") == "f|42"
    assert standby.sql("insert into t values (43) returning x").startswith("43")
    primary.start()
    assert primary.sql("select pg_is_in_recovery()") == "t"
    assert primary.hook("check") == 1

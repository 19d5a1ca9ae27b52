"""Measure the monitor: reading a store of a million events, and one monitor on a hundred boards.

Prints what it measures and judges nothing, except that a page that takes LIMIT_S (the middle of three) fails it. Boards
are fakes behind TCP sockets in a process of their own, so that the CPU share and the memory shown are the monitor's.
With --postgresql the same events are also in a PostgreSQL server, which is started for it, and the times stand beside
those of SQLite. Usage:

    python tools/bench_monitor.py [--events N] [--boards N] [--seconds S] [--postgresql] [--read-only]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import sqlalchemy  # noqa: E402

from heartwire.monitor import schema  # noqa: E402
from heartwire.monitor.query import Filter, Found, Reader  # noqa: E402
from heartwire.monitor.store import Store  # noqa: E402
from heartwire_protocol import events, records  # noqa: E402
from tests import postgres  # noqa: E402
from tests.fakes import board as fake_boards  # noqa: E402

LIMIT_S = 0.1
BATCH = 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)
# How often each event comes in a thousand.
MIX = ((events.STATE_REPORTED, 930), (events.LATE, 30), (events.GOOD_AGAIN, 30), (events.DEAD, 5), (events.GRANTED, 5))
TICKS = os.sysconf("SC_CLK_TCK")


def mix() -> list[int]:
    """Return a thousand event numbers, well shuffled."""
    numbers = [number for number, count in MIX for _ in range(count)]
    return [numbers[at * 617 % 1000] for at in range(1000)]


def fill(where: str | Path, count: int, board_count: int) -> float:
    """Write `count` events of `board_count` boards; return the seconds it took."""
    began_s = time.monotonic()
    kinds = mix()
    boards = [f"E66{number:013X}" for number in range(board_count)]
    rows_of = {row[0]: row for row in events.EVENTS}
    with Store.open(where) as store:
        with store.write() as connection:
            rows = [{"board_id": board, "name": f"rack-{at}", "labels": "{}"} for at, board in enumerate(boards)]
            connection.execute(sqlalchemy.insert(schema.board), rows)
        chains = {(board, ring): records.CHAIN_START for board in boards for ring in (0, 1)}
        for first in range(0, count, BATCH):
            batch = []
            for at in range(first, min(count, first + BATCH)):
                board = boards[at % board_count]
                kind = kinds[at % 1000]
                moment = START + timedelta(seconds=20 * at)
                day = (moment - datetime(1970, 1, 1, tzinfo=UTC)).days
                ms = (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1000
                node = at // board_count % 2
                values = [at // board_count + 1, 1, 0, at % 86_400_000, kind, 1, node, 600, 1, day, ms]
                raw = bytearray(records.LENGTH)
                ring = rows_of[kind][3]
                chains[board, ring] = records.encode_into(raw, values, chains[board, ring])
                batch.append(
                    {
                        "board_id": board,
                        "journal": 1,
                        "sequence": at // board_count + 1,
                        "severity": rows_of[kind][2],
                        "event": kind,
                        "node": node,
                        "at_ms": int(moment.timestamp() * 1000),
                        "raw": bytes(raw),
                    }
                )
            with store.write() as connection:
                connection.execute(sqlalchemy.insert(schema.event), batch)
        if store.is_shared:
            # As autovacuum does in time.
            with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sqlalchemy.text("VACUUM ANALYZE"))
    return time.monotonic() - began_s


def read(where: str | Path, count: int) -> dict[str, float]:
    """Time pages and filters; return the seconds of each, the middle of three."""
    end = START + timedelta(seconds=20 * count)
    with Store.open(where, create=False) as store:
        reader = Reader(store)
        board = reader.boards()[1].board_id
        middle, late = count // 2, count // len(reader.boards()) - 20
        questions: tuple[tuple[str, Callable[[], list[Found]]], ...] = (
            ("newest page", lambda: reader.newest(Filter(), 50)),
            ("page in the middle", lambda: reader.newest(Filter(), 50, before=middle)),
            ("oldest page", lambda: reader.newest(Filter(), 50, before=52)),
            ("one board", lambda: reader.newest(Filter(board_id=board), 50)),
            ("one node", lambda: reader.newest(Filter(node="b"), 50)),
            ("a node that has none", lambda: reader.newest(Filter(node="spare"), 50)),
            ("alarms", lambda: reader.newest(Filter(severity="alarm"), 50)),
            ("alarms, old page", lambda: reader.newest(Filter(severity="alarm"), 50, before=middle)),
            ("one event", lambda: reader.newest(Filter(event="granted"), 50)),
            ("last hour", lambda: reader.newest(Filter(since=end - timedelta(hours=1)), 1000)),
            (
                "an hour long ago",
                lambda: reader.newest(Filter(since=START + timedelta(hours=5), until=START + timedelta(hours=6)), 1000),
            ),
            (
                "board, node, event, time",
                lambda: reader.newest(
                    Filter(board_id=board, node="a", event="dead", since=START + timedelta(days=1)), 50
                ),
            ),
            ("sequence on", lambda: reader.newest(Filter(board_id=board, since=late), 50)),
        )
        middle_s = {}
        for words, ask in questions:
            took = []
            for _ in range(3):
                began_s = time.monotonic()
                found = ask()
                took.append(time.monotonic() - began_s)
            middle_s[words] = sorted(took)[1]
            print(f"  {words:<26} {1000 * sorted(took)[1]:8.1f} ms   {len(found)} events")
    return middle_s


def read_by_command(path: Path) -> None:
    """Time the command line on a store."""
    command = [sys.executable, "-m", "heartwire", "log", "--store", str(path), "--board", "rack-1"]
    imports = [sys.executable, "-c", "import heartwire.cli.log, sqlalchemy, heartwire.monitor.query"]
    commands = [("Python's start and imports alone", imports)]
    for extra in ([], ["--severity", "alarm"], ["--node", "a", "--since", "2026-01-02"]):
        commands.append((f"heartwire log {' '.join(extra)}", [*command, "--limit", "50", *extra]))
    for words, arguments in commands:
        began_s = time.monotonic()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        print(f"  {words:<46} {time.monotonic() - began_s:6.2f} s")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a PostgreSQL server, and give the URL of an empty database on it."""
    folder = postgres.directory()
    cluster = postgres.Cluster(folder, folder / "data", 5700, postgres.start_plainly)
    try:
        cluster.run("initdb", "-D", str(cluster.data), "--auth=trust", "-U", "postgres", "--no-sync", "-N")
        (cluster.data / "postgresql.auto.conf").open("a").write(cluster.settings())
        cluster.start()
        cluster.sql("create database bench")
        yield cluster.url("bench")
    finally:
        cluster.end()
        shutil.rmtree(folder)


def beside(path: Path, options: argparse.Namespace) -> list[dict[str, float]]:
    """Fill and read the store, and with --postgresql one there too; return the seconds of each question."""
    took_s = fill(path, options.events, options.boards)
    size = path.stat().st_size / 2**20
    print(f"SQLite store of {options.events} events of {options.boards} boards: {size:.0f} MiB, in {took_s:.0f} s")
    found = [read(path, options.events)]
    if options.postgresql:
        with server() as url:
            took_s = fill(url, options.events, options.boards)
            with Store.open(url, create=False) as store, store.read() as connection:
                size = connection.scalar(sqlalchemy.text("SELECT pg_database_size(current_database())")) / 2**20
            print(f"PostgreSQL store of the same events: {size:.0f} MiB, in {took_s:.0f} s")
            found.append(read(url, options.events))
        print(f"  {'':<26} {'SQLite':>11} {'PostgreSQL':>11}")
        for words in found[0]:
            print(f"  {words:<26} " + " ".join(f"{1000 * one[words]:8.1f} ms" for one in found))
    return found


def serve(count: int, busy_s: float) -> None:
    """Serve `count` fake boards until killed; print their ports. Each logs a record every `busy_s` (0: never)."""
    selector = selectors.DefaultSelector()
    boards = []
    for number in range(count):
        board = fake_boards.FakeBoard()
        board.board_id = bytes.fromhex(f"E66{number:013X}")
        board.log(events.BOOT)
        listener = socket.create_server(("127.0.0.1", 0))
        selector.register(listener, selectors.EVENT_READ, (board, None))
        boards.append(board)
        print(listener.getsockname()[1], flush=True)
    due_s = time.monotonic() + busy_s
    while True:
        for key, _ in selector.select(0.2):
            board, connection = key.data
            if connection is None:
                accepted, _ = key.fileobj.accept()  # type: ignore[union-attr]
                selector.register(accepted, selectors.EVENT_READ, (board, accepted))
                continue
            data = connection.recv(4096)
            if not data:
                selector.unregister(connection)
                connection.close()
                continue
            connection.sendall(board.receive(data))
        if busy_s and time.monotonic() >= due_s:
            due_s += busy_s
            for board in boards:
                board.log(events.STATE_REPORTED, 0, a=1)


def usage(pid: int) -> tuple[float, float]:
    """Return the CPU seconds and the resident MiB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / TICKS, pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def collect(directory: Path, count: int, seconds: float, busy_s: float) -> None:
    """Run one monitor on `count` boards for `seconds`; print its CPU share and memory."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(count), "--busy", str(busy_s)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    ports = [int(server.stdout.readline()) for _ in range(count)]
    directory.mkdir()
    lines = [f'store = "{directory}/m.db"', 'metrics = "127.0.0.1:0"']
    for number, port in enumerate(ports):
        lines += ["[[board]]", f'name = "rack-{number}"', f'port = "socket://127.0.0.1:{port}"']
    lines += ["[[channel]]", 'name = "none"', 'kind = "command"', 'command = ["true"]']
    config = directory / "monitor.toml"
    config.write_text("\n".join(lines) + "\n")
    log = directory / "log"
    with log.open("w") as stream:
        monitor = subprocess.Popen(
            [sys.executable, "-m", "heartwire", "monitor", "run", "-c", str(config)], stderr=stream
        )
    try:
        deadline = time.monotonic() + 60
        while log.read_text().count("event=connected") < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"not all boards are collected: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        time.sleep(2)
        before_s, _ = usage(monitor.pid)
        began_s = time.monotonic()
        time.sleep(seconds)
        after_s, memory = usage(monitor.pid)
        share = 100 * (after_s - before_s) / (time.monotonic() - began_s)
        busy = f"a record each {busy_s:g} s and board" if busy_s else "quiet"
        print(f"  {count} boards, {busy}: {share:.1f} % of one CPU, {memory:.0f} MiB resident")
    finally:
        monitor.send_signal(signal.SIGTERM)
        monitor.wait(30)
        server.kill()
        server.wait()
    with Store.open(directory / "m.db", create=False) as store:
        print(f"  {Reader(store).count()} events of {len(Reader(store).boards())} boards in the store")


def main() -> int:
    """Run the benchmark; return 1 if a page took LIMIT_S or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--boards", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--busy", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--postgresql", action="store_true", help="read a PostgreSQL store of the same events too")
    parser.add_argument("--read-only", action="store_true", help="collect nothing: fill and read the stores")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.busy)
    with tempfile.TemporaryDirectory(prefix="heartwire-bench-") as name:
        directory = Path(name)
        path = directory / "monitor.db"
        good = all(took_s < LIMIT_S for one in beside(path, options) for took_s in one.values())
        read_by_command(path)
        if not options.read_only:
            print("collecting:")
            collect(directory / "quiet", options.boards, options.seconds, 0.0)
            collect(directory / "busy", options.boards, options.seconds, 5.0)
    if not good:
        print(f"FAILED: a page took {LIMIT_S:g} s or more")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

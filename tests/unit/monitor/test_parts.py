"""The smaller parts: store, the agent's socket as a source, the dead man's switch, the whole monitor in one process."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire.errors import BadConfig, BoardNotFound, NoAnswer, PortBusy, ProtocolMismatch, StorageProblem, Unplugged
from heartwire.monitor import deadman, run
from heartwire.monitor.log import Log
from heartwire.monitor.query import Filter, Reader
from heartwire.monitor.settings import BoardSettings, DeadmanSettings, MonitorSettings
from heartwire.monitor.sources import AgentSource, BoardSource, source_of
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.board import BOARD_ID, FakeBoard, PtyBoard
from tests.unit.monitor.helpers import World, channel


def test_one_monitor_at_a_time_writes_a_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "m.db") as first, Store.open(tmp_path / "m.db") as second:
        first.claim()
        with pytest.raises(PortBusy, match="another monitor"):
            second.claim()
    with Store.open(tmp_path / "m.db") as third:
        third.claim()


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageProblem, match="there is no store"):
        Store.open(tmp_path / "none.db", create=False)
    other = tmp_path / "other.db"
    other.write_bytes(b"")
    with pytest.raises(StorageProblem, match="no store of a monitor"):
        Store.open(other, create=False)
    other.write_text("not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(StorageProblem, match="not a database"):
        Store.open(other, create=False)
    with pytest.raises(BadConfig, match="not a store"):
        Store.open("nonsense://x")


def test_a_store_that_may_not_be_written_is_an_error_with_a_next_step(store: Store, board: FakeBoard) -> None:
    board.log(events.BOOT)
    World(store, board, []).collect()
    path = Path(str(store.engine.url.database))
    with Store.open(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as readonly:
        world = World(readonly, board, [])
        assert world.collector.step() > 0
        assert "readonly" in world.collector.storage_trouble
        assert "remount its disk" in world.stream.getvalue()
        assert Reader(readonly).count() == 1


@pytest.fixture
def agent(tmp_path: Path, board: FakeBoard) -> Iterator[tuple[Path, list[str]]]:
    """Return the socket of a fake agent, and a list whose first entry replaces its next answer."""
    path = tmp_path / "agent.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    instead: list[str] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rw") as stream:
                for line in stream:
                    asked = json.loads(line)
                    found: list[bytes] = []
                    page = board._log({"after": asked["after"], "count": asked["count"]}, found)
                    answer = {"board_id": BOARD_ID.hex().upper(), "boot": board.boot, **page}
                    answer["records"] = [raw.hex() for raw in found]
                    if instead and instead[0] == "":
                        break
                    stream.write((instead.pop() if instead else json.dumps(answer)) + "\n")
                    stream.flush()

    threading.Thread(target=serve, daemon=True).start()
    yield path, instead
    server.close()


def test_records_come_through_a_surviving_nodes_agent_and_meet_those_of_the_board(
    agent: tuple[Path, list[str]], store: Store, board: FakeBoard
) -> None:
    for _ in range(40):
        board.log(events.STATE_REPORTED, 0)
    World(store, board, []).collect()
    board.log(events.DEAD, 0, 1, a=2000)
    world = World(store, board, [channel()])
    world.collector._source = source_of(BoardSettings(name="rack-1", port=f"agent:{agent[0]}"))
    world.collect()
    assert [item.entry.sequence for item in Reader(store).all(Filter())] == list(range(1, 42))
    assert Reader(store).observations() == []
    assert len(world.post()) == 1


def test_a_board_that_is_not_named_over_a_line_is_not_mixed_with_another(agent: tuple[Path, list[str]]) -> None:
    ids = set()
    for name in ("rack-1", "rack-2", "a long name of a rack, number 1", "a long name of a rack, number 2"):
        agent[1][:] = [json.dumps({"board_id": "", "boot": 2, "newest": 0, "records": []})]
        identity = source_of(BoardSettings(name=name, port=f"agent:{agent[0]}")).open()
        assert identity.boot == 2 and len(identity.board_id) <= 16
        ids.add(identity.board_id)
    assert len(ids) == 4 and "line:rack-1" in ids


def test_what_an_agent_refuses_is_told(agent: tuple[Path, list[str]]) -> None:
    agent[1][:] = [json.dumps({"error": "the board sent no records in time"})]
    with pytest.raises(NoAnswer, match="sent no records in time"):
        AgentSource(agent[0]).open()


def test_an_agent_that_answers_nonsense_or_ends_is_an_error(agent: tuple[Path, list[str]]) -> None:
    source = AgentSource(agent[0])
    for words, error in (("[]", ProtocolMismatch), ("x" * 20_000, ProtocolMismatch), ("", Unplugged)):
        agent[1][:] = [words]
        with pytest.raises(error):
            source.open()
    agent[1].clear()
    assert source.open().board_id == BOARD_ID.hex().upper()
    source.close()
    with pytest.raises(BoardNotFound, match="no agent answers"):
        AgentSource(agent[0].with_name("none")).open()


def test_a_board_without_wall_time_gets_it_and_keeps_it(board: FakeBoard) -> None:
    board.status["wall"] = None
    with PtyBoard(board) as pty:
        source = BoardSource(BoardSettings(name="x", port=pty.path))
        source.open()
        assert source.status() is not None
        assert board.status["wall"] is not None
        board.status["wall"] = [1, 1]
        source.status()
        assert board.status["wall"] == [1, 1]
        source.close()


def test_the_dead_mans_switch_pings_only_while_all_is_well(tmp_path: Path) -> None:
    path = tmp_path / "ping.url"
    path.write_text("https://me:hunter2@example.org/x\n")
    path.chmod(0o600)
    fetched: list[str] = []
    trouble = [""]
    stream = io.StringIO()

    def fetch(url: str) -> str:
        fetched.append(url)
        return "no answer (timeout)" if len(fetched) > 1 else ""

    switch = deadman.Deadman(
        DeadmanSettings(url_file=path, interval_s=30), lambda: trouble[0], Log(stream), fetch=fetch
    )
    assert switch.step() == 30
    assert len(fetched) == 1
    trouble[0] = "board rack-1 is not reached"
    switch.step()
    switch.step()
    assert len(fetched) == 1
    assert stream.getvalue().count("deadman_held") == 1
    trouble[0] = ""
    switch.step()
    assert "no answer (timeout)" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_a_ping_never_shows_its_url() -> None:
    assert deadman.fetch("http://127.0.0.1:1/hunter2") == "no answer (ConnectionRefusedError)"
    assert "hunter2" not in deadman.fetch("file:///hunter2")


def test_the_whole_monitor_starts_tells_its_health_and_ends(tmp_path: Path, board: FakeBoard) -> None:
    board.log(events.BOOT)
    with PtyBoard(board) as pty:
        settings = MonitorSettings(
            store=str(tmp_path / "m.db"),
            metrics="127.0.0.1:0",
            board=(BoardSettings(name="rack-1", port=pty.path),),
            channel=(channel(),),
        )
        stream = io.StringIO()
        monitor = run.Monitor(settings, stream=stream)
        thread = threading.Thread(target=monitor.run)
        thread.start()
        deadline = time.monotonic() + 10
        while monitor.trouble() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert monitor.trouble() == ""
        pty.unplug()
        while not monitor.trouble() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert monitor.trouble() == "board rack-1 is not reached"
        monitor.ask_to_stop()
        thread.join(10)
        assert not thread.is_alive()
    assert "event=ended" in stream.getvalue()


def test_a_fault_in_one_part_does_not_silence_the_others(tmp_path: Path, board: FakeBoard) -> None:
    stream = io.StringIO()
    settings = MonitorSettings(store=str(tmp_path / "m.db"), metrics="", board=(BoardSettings(name="x", port="/no"),))
    monitor = run.Monitor(settings, stream=stream)
    calls: list[int] = []

    def broken() -> float:
        calls.append(1)
        raise ValueError("a secret may stand here: hunter2")

    monitor._thread("part", broken)
    deadline = time.monotonic() + 5
    while not stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    monitor.close()
    assert "part=part kind=ValueError" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://rack@db/heartwire", "psycopg"),
        ("postgres://rack:secret@db/heartwire", "psycopg"),
        ("nonsense://x", "not a store"),
        ("://", "not a store"),
    ],
)
def test_a_store_whose_driver_is_missing_is_found_before_it_is_needed(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    from heartwire.monitor.store import driver_problem

    there = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return there(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    found = driver_problem(url)
    assert words in found and "secret" not in found
    with pytest.raises(BadConfig, match="the store") as raised:
        Store.open(url, name="the store")
    assert "secret" not in raised.value.words


def test_an_sqlite_store_needs_no_driver() -> None:
    from heartwire.monitor.store import driver_problem, with_driver

    assert driver_problem("sqlite:///x.db") == ""
    assert with_driver("postgresql+psycopg2://x/y") == "postgresql+psycopg2://x/y"
    assert with_driver("postgresql://x/y") == "postgresql+psycopg://x/y"

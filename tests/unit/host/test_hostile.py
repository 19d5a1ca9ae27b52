"""What is not the board, against every command and the fence agent that hold its keys: none believes it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire import board as boards
from heartwire import names, transport
from heartwire.errors import HeartwireError, NotAllowed, NotAuthentic, NotPrivate, OtherBoard
from heartwire.fence.main import main as fence_heartwire
from heartwire.fence.reach import Clock
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire.monitor.settings import BoardSettings
from heartwire.monitor.sources import BoardSource
from heartwire_protocol import events, framing, messages
from heartwire_protocol.settings import Settings
from tests.fakes.board import BOARD_ID, FakeBoard, MemoryChannel
from tests.fakes.hostile import KEYS, KINDS, OTHER_ID, RESPONSE, RIGHTS, Relay, another, tempting
from tests.unit.host.conftest import Run

ID = BOARD_ID.hex().upper()
COMMANDS = (
    "status", "status --json", "status --check", "log --limit 5", "log --since 1", "why", "history", "plans", "mode",
    "mode auto --yes", "mode observe", "switchover b --yes", "switchover b --at 1h --yes", "cancel", "fence a --yes",
    "release a --yes", "clear a", "readopt a --yes", "declare a --yes", "maintenance a 10m", "maintenance a off",
    "approve --yes", "deny", "config show", "config diff rack.toml", "config apply rack.toml --yes", "config revert",
    "key list", "key roll operate new.keys --yes", "selftest --yes", "time", "time --set", "update 5m --yes",
    "update off", "restart --yes",
)  # fmt: skip
ACTIONS = ("off", "on", "reboot", "status", "monitor", "list", "list-status")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def expected(kind: str) -> type[HeartwireError]:
    return KINDS[kind][1]


@pytest.fixture
def board(kind: str) -> FakeBoard:
    made = KINDS[kind][0]()
    for one in (made, getattr(made, "real", made)):
        one.log(events.BOOT)
    return made


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the key file, a config and new keys."""
    monkeypatch.chdir(tmp_path)
    key_file = tmp_path / "host.keys"
    for name, keys in (("host.keys", KEYS), ("new.keys", {2: "44" * 32})):
        file = tmp_path / name
        file.write_text("".join(f"{RIGHTS[right - 1]}={key}\n" for right, key in keys.items()))
        file.chmod(0o600)
    (tmp_path / "rack.toml").write_text('[board]\nname = "x"\n[node.a]\nenabled = true\n[node.b]\nenabled = true\n')
    monkeypatch.setenv("HEARTWIRE_KEY_FILE", str(key_file))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_believes_it(
    command: str, expected: type[HeartwireError], board: FakeBoard, run: Run, files: Path
) -> None:
    done = run(*command.split(), "--board-id", ID)
    assert done.code == expected.exit_code, done.err
    assert "Traceback" not in done.err
    assert "next: " in done.err.lower()
    if expected is OtherBoard:
        assert board.asked == [], "another board was asked for something"


class NoWait(Clock):
    """Time of the agent's own waits, which cost nothing here."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize("action", ACTIONS)
def test_the_fence_agent_fails(
    action: str, channel: MemoryChannel, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = fence_heartwire(["-o", action, "-n", "a", "--board-id", ID], clock=NoWait())
    out, err = capsys.readouterr()
    assert (code, out) == (1, ""), "exit code 2 means off, 0 done"
    assert "fence_heartwire: next: " in err


def test_the_real_one_is_believed(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above refuse is refused for what they alter: without that, the same relay is the board."""
    relay = Relay(lambda kind, fields: fields)
    monkeypatch.setattr(transport, "open_channel", lambda address, **_: MemoryChannel(relay))
    assert fence_heartwire(["-o", "off", "-n", "a", "--board-id", ID.lower()], clock=NoWait()) == 0
    with boards.Board.open(keys=Keys(KEYS)) as found:
        assert found.status().signed


class Denying(Relay):
    """Says first that the key is wrong, as anybody on the line can, and hands on the answer of the board behind it."""

    def __init__(self) -> None:
        super().__init__(self._noted)
        self._number = 0

    def _noted(self, kind: int, fields: dict[str, Any]) -> dict[str, Any]:
        if kind == messages.RESPONSE:
            self._number = fields["number"]
        return fields

    def receive(self, data: bytes) -> bytes:
        answer = super().receive(data)
        if not self._number:
            return answer
        denial = RESPONSE.pack(number=self._number, mac=bytes(8), body=b'{"error":"bad_mac"}')
        self._number = 0
        return framing.encode(messages.RESPONSE, denial) + answer


def test_who_says_that_the_key_is_wrong_makes_nothing_happen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Denying()
    monkeypatch.setattr(transport, "open_channel", lambda address, **_: MemoryChannel(relay))
    with boards.Board.open(keys=Keys(KEYS)) as found:
        assert found.status().signed
        found.fence("a")
    assert [body["op"] for body in relay.real.asked] == ["status", "fence"]


class Listener:
    """A board behind a real TCP port of this machine."""

    def __init__(self, board: FakeBoard) -> None:
        self._board = board
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"socket://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(self._board.receive(data))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def keyless() -> Iterator[Listener]:
    listener = Listener(tempting(FakeBoard()))
    yield listener
    listener.close()


def test_a_keyless_listener_on_tcp_proves_nothing(
    keyless: Listener, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for action in ("off", "status", "monitor"):
        assert fence_heartwire(["-o", action, "-n", "a", "-p", keyless.address]) == 1
    assert "has no keys and you hold one" in capsys.readouterr().err
    monkeypatch.delenv("HEARTWIRE_KEY_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(files))
    assert fence_heartwire(["-o", "off", "-n", "a", "-p", keyless.address]) == 0, "a rack without keys works as before"


def test_the_monitor_learns_of_no_board_that_proves_nothing(
    kind: str, expected: type[HeartwireError], channel: MemoryChannel, files: Path
) -> None:
    settings = BoardSettings(name="rack", port="memory", key_file=files / "host.keys", board_id=ID)
    with pytest.raises(expected):
        BoardSource(settings).open()


def network(board: FakeBoard, keys: Keys) -> Link:
    """Return a link to `board` over a network."""
    channel = MemoryChannel(board)
    channel.exposed = True
    link = Link(channel, keys)
    link.hello()
    return link


def keyed() -> FakeBoard:
    board = FakeBoard()
    board.keys = dict(KEYS)
    for right, key in KEYS.items():
        board.settings.put(f"board.{RIGHTS[right - 1]}_key", key)
    return board


def test_a_key_crosses_no_network_in_clear() -> None:
    board = keyed()
    link = network(board, Keys(KEYS))
    wanted = Settings()
    for right, key in KEYS.items():
        wanted.put(f"board.{RIGHTS[right - 1]}_key", key)
    with pytest.raises(NotPrivate, match="nothing was sent") as caught:
        boards.Board(link).apply_settings(wanted)
    assert "ssh " in caught.value.next_step and board.asked == []
    assert KEYS[2] not in str(vars(caught.value))


def test_settings_without_a_new_key_may_cross_it() -> None:
    from heartwire_protocol import settings

    board = keyed()
    link = network(board, Keys(KEYS))
    wanted = Settings()
    for right, key in KEYS.items():
        wanted.put(f"board.{RIGHTS[right - 1]}_key", settings.fingerprint(key))
    wanted.put("board.name", "new")
    boards.Board(link).apply_settings(wanted)
    assert board.settings.get("board.name") == "new"


@pytest.mark.parametrize(
    ("address", "is_private"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.1", False),
     ("::ffff:192.0.2.1", False), ("fe80::1%eth0", False), ("0.0.0.0", False)],
)  # fmt: skip
def test_only_loopback_is_private(address: str, is_private: bool) -> None:
    assert names.is_loopback(address) is is_private


def test_a_board_whose_key_was_just_rolled_takes_old_and_new() -> None:
    board = keyed()
    link = Link(MemoryChannel(board), Keys(KEYS))
    link.hello()
    assert link.request("status").body["name"]
    board.keys[1] = "99" * 32  # the roll is over
    with pytest.raises(NotAllowed):
        link.request("status")
    link.keys = Keys({**KEYS, 1: "99" * 32})
    assert link.request("status").body["name"]


def test_an_injected_wrong_answer_before_the_right_one_costs_nothing() -> None:
    board = keyed()
    channel = MemoryChannel(board)
    link = Link(channel, Keys(KEYS))
    link.hello()
    from heartwire_protocol import framing, messages

    wrong = messages.layout_of(messages.RESPONSE).pack(number=1, mac=bytes(8), body=b'{"name":"false"}')
    channel.waiting = framing.encode(messages.RESPONSE, wrong)
    assert link.request("status").body["name"] == "rack-1"


def test_an_acting_command_is_sent_once_and_its_false_answer_says_so() -> None:
    made = tempting(KINDS["own key"][0]())
    link = Link(MemoryChannel(made), Keys(KEYS))
    link.hello()
    with pytest.raises(NotAuthentic, match="nobody knows") as caught:
        link.request("fence", node="a", last=0, by=3)
    assert [request["op"] for request in made.asked] == ["fence"]
    assert "heartwire status" in caught.value.next_step


def test_the_wrong_board_is_named() -> None:
    with pytest.raises(OtherBoard, match=f"board {OTHER_ID.hex().upper()} answers, {ID} is wanted"):
        Link(MemoryChannel(another()), Keys(KEYS), board_id=ID.lower()).hello()

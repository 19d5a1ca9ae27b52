"""`heartwire key`: a key is replaced on the firmware's own board, and at no moment is a heartbeat or an order lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from heartwire import keyroll, keys, transport
from heartwire.cli import key
from heartwire.errors import Refused, UsageProblem
from heartwire_protocol import codes, events, settings
from tests.fakes.bench import KEYS, Bench, BenchChannel
from tests.fakes.board import MemoryChannel
from tests.unit.firmware.changes import counted, drop_foreign_grants, give_key
from tests.unit.host.conftest import Run

HOST = {right: bytes([16 + at]).hex() * 32 for at, right in enumerate(keys.HOST_RIGHTS)}


@pytest.fixture
def rack(channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A rack whose node a serves, with keys for everything; commands find its board, not the fake one of `channel`."""
    bench = Bench("".join(f"board.{right}_key={key}\n" for right, key in HOST.items()))
    drop_foreign_grants(bench)
    bench.settle()
    bench.run(5000)
    monkeypatch.setattr(transport, "open_channel", lambda address: BenchChannel(bench))
    clock = SimpleNamespace(sleep=lambda seconds: bench.run(round(seconds * 1000)), monotonic=lambda: bench.ms / 1000)
    monkeypatch.setattr(key, "time", clock)
    since = bench.ms
    yield bench
    assert counted(bench, since, events.FENCE_FIRED, events.LATE, events.ALTERED) == []
    assert bench.board.state.active == 0 and bench.nodes[0].serving


@pytest.fixture
def host_keys(tmp_path: Path) -> str:
    """The file with the keys of this host."""
    path = tmp_path / "host.keys"
    path.touch(0o600)
    path.write_text("".join(f"{right}={key}\n" for right, key in HOST.items()))
    return str(path)


def when(bench: Bench, ready: Callable[[], bool], then: Callable[[], None]) -> None:
    """Let `then` happen, once, as soon as `ready`."""
    done: list[bool] = []

    def look() -> None:
        if not done and ready():
            done.append(True)
            then()

    bench.each_ms.append(look)


def test_a_node_is_given_a_new_key_in_one_command(rack: Bench, host_keys: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a-2.key"

    def new_key() -> bytes:
        return bytes.fromhex(keys.read_file(file)[""])

    when(rack, lambda: bool(rack.board.config.current.nodes[0].key_next), lambda: give_key(rack.nodes[0], new_key()))
    result = run("key", "roll", "a", str(file), "--yes", "--key-file", host_keys)
    assert result.code == 0, result.err
    assert result.out.splitlines() == ["a: both keys are taken", "a: only the new key is taken"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert new_key().hex() not in result.out + result.err
    assert 'node.a.key_file = "' in result.err
    node = rack.board.config.current.nodes[0]
    assert (node.key, node.key_next) == (new_key().hex(), "")
    again = run("key", "roll", "a", str(file), "--key-file", host_keys)
    assert again.code == 0 and "only the new key is taken" in again.out


def test_a_roll_that_is_broken_off_goes_on_with_the_same_command(
    rack: Bench, host_keys: str, run: Run, tmp_path: Path
) -> None:
    file = str(tmp_path / "a-2.key")
    result = run("key", "roll", "a", file, "--yes", "--wait", "0s", "--key-file", host_keys)
    assert result.code == 0 and "systemctl reload heartwire-agent" in result.err
    assert rack.board.config.current.nodes[0].key == KEYS[0].hex()
    other = run("key", "roll", "a", str(tmp_path / "a-3.key"), "--yes", "--key-file", host_keys)
    assert other.code == 9 and "is on its way" in other.err
    give_key(rack.nodes[0], bytes.fromhex(keys.read_file(Path(file))[""]))
    rack.run(3000)
    shown = run("key", "list", "--key-file", host_keys)
    assert [line.split()[0] for line in shown.out.splitlines() if "used it last" in line] == ["node.a.key_next"] + [
        "node.b.key"
    ]
    assert run("key", "roll", "a", file, "--key-file", host_keys).code == 0
    assert rack.board.config.current.nodes[0].key_next == ""


def test_a_roll_may_be_taken_back(rack: Bench, host_keys: str, run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "a-2.key")
    run("key", "roll", "a", file, "--yes", "--wait", "0s", "--key-file", host_keys)
    assert run("key", "roll", "a", file, "--cancel", "--key-file", host_keys).code == 0
    node = rack.board.config.current.nodes[0]
    assert (node.key, node.key_next) == (KEYS[0].hex(), "")


def test_a_node_that_does_not_use_its_new_key_keeps_the_old_one(
    rack: Bench, host_keys: str, run: Run, tmp_path: Path
) -> None:
    result = run("key", "roll", "a", str(tmp_path / "a-2.key"), "--yes", "--wait", "20s", "--key-file", host_keys)
    assert result.code == 15
    assert "has not used its new key yet; both are taken" in result.err and "heartwire key roll a" in result.err


@pytest.mark.parametrize("what", ["view", "operate", "configure", "host"])
def test_keys_of_the_host_link_are_both_taken_until_the_roll_is_finished(
    what: str, rack: Bench, host_keys: str, run: Run, tmp_path: Path
) -> None:
    file = str(tmp_path / "host-2.keys")
    began = run("key", "roll", what, file, "--yes", "--key-file", host_keys)
    assert began.code == 0 and "--finish" in began.err, began.err
    for held in (host_keys, file):
        assert run("status", "--key-file", held).code == 0
    finished = run(
        "key", "roll", what, file, "--finish", "--key-file", file if what in ("configure", "host") else host_keys
    )
    assert finished.code == 0, finished.err
    new = keys.read_file(Path(file))
    for right in keys.HOST_RIGHTS:
        assert rack.board.config.current.get(f"board.{right}_key") == new.get(right, HOST[right])
        assert rack.board.config.current.get(f"board.{right}_key_next") == ""
    if what == "host":
        assert run("status", "--key-file", host_keys).code == 10
        assert run("status", "--key-file", file).code == 0


def test_what_cannot_be_rolled_says_why(rack: Bench, host_keys: str, run: Run, tmp_path: Path) -> None:
    bare = tmp_path / "bare.key"
    keys.write_new(bare, ("",))
    assert run("key", "roll", "operate", str(bare), "--yes", "--key-file", host_keys).code == 2
    assert run("key", "roll", "a", host_keys, "--yes", "--key-file", host_keys).code == 2
    assert run("key", "roll", "a", str(tmp_path / "x"), "--finish", "--key-file", host_keys).code == 2
    assert run("key", "roll", "a", str(bare), "--finish", "--cancel", "--key-file", host_keys).code == 2
    assert run("key", "roll", "a", str(bare), "--finish", "--key-file", host_keys).code == 2
    assert run("key", "roll", "a", str(tmp_path / "y"), "--key-file", host_keys).code == 2, "nobody is there to ask"
    assert not (tmp_path / "y").exists()


def test_the_settings_of_a_board_come_back_as_they_were() -> None:
    text = "board.bench=1\nboard.dead_ms=900\nboard.name=x\nnode.a.key=key:12345678\nnode.spare.enabled=1\n"
    values = dict(line.split("=") for line in text.splitlines())
    assert keyroll.settings_of(values).text() == text
    with pytest.raises(Exception, match="does not know"):
        keyroll.settings_of({"board.new": "1"})


def test_stages_of_a_roll() -> None:
    new = "ab" * 32
    shown = settings.fingerprint(new)
    roll = keyroll.roll_of("a", {"": new}, {})
    assert new not in repr(roll)
    assert roll.stage({}) == roll.stage({"node.a.key": "key:00000000"}) == keyroll.FRESH
    assert roll.stage({"node.a.key": "key:00000000", "node.a.key_next": shown}) == keyroll.BEGUN
    assert roll.stage({"node.a.key": shown}) == keyroll.DONE
    with pytest.raises(Refused):
        roll.stage({"node.a.key": shown, "node.a.key_next": "key:00000000"})
    with pytest.raises(UsageProblem, match="no operate key to replace"):
        keyroll.roll_of("operate", {"operate": new}, {})
    assert keyroll.WHAT[:3] == codes.NODES

"""The epoch file: what is refused at start-up, and that the way out never lowers what this server has seen."""

import json
import os
from pathlib import Path

import pytest

from heartwire.agent import state
from heartwire.agent.errors import StateError
from heartwire.agent.state import EPOCH_MAX, durable_before, lock_directory, read_epoch, repair_epoch
from heartwire.cli.main import main

WRONG = [
    b"", b"\n", b"x", b"-1", b"+1", b"1_0", b" 7", b"7 ", b"7\n8\n", b"0x7", b"7.0", b"\xff", "٣".encode(),
    b"%d" % (EPOCH_MAX + 1), b"9" * 65, b"9" * 5000, b"\0" * 4,
]  # fmt: skip


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_file_is_refused_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "epoch").write_bytes(content)
    with pytest.raises(StateError) as caught:
        read_epoch(tmp_path)
    assert "heartwire agent epoch --set" in caught.value.next_step
    repair_epoch(tmp_path, 12)
    assert read_epoch(tmp_path) == 12


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused_and_put_aside(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "epoch"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(StateError, match="no regular file"):
        read_epoch(tmp_path)
    repair_epoch(tmp_path, 3)
    assert read_epoch(tmp_path) == 3
    assert (tmp_path / "epoch.wrong").exists()


@pytest.mark.parametrize("content", [b"7", b"7\n", b"0\n", b"%d\n" % EPOCH_MAX])
def test_a_number_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "epoch").write_bytes(content)
    assert read_epoch(tmp_path) == int(content)


def test_the_way_out_never_lowers_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"epoch_durable": 9}))
    (tmp_path / "epoch").write_bytes(b"damaged")
    with pytest.raises(StateError, match="lower than 9"):
        repair_epoch(tmp_path, 8)
    assert (tmp_path / "epoch").read_bytes() == b"damaged"
    repair_epoch(tmp_path, 9)
    with pytest.raises(StateError, match="lower than 9"):
        repair_epoch(tmp_path, 8)
    with pytest.raises(StateError, match="cannot be an epoch"):
        repair_epoch(tmp_path, EPOCH_MAX + 1)
    assert read_epoch(tmp_path) == 9


def test_not_while_an_agent_runs(tmp_path: Path) -> None:
    lock = lock_directory(tmp_path)
    with pytest.raises(StateError, match="in use by another agent"):
        repair_epoch(tmp_path, 9)
    os.close(lock)


UNBELIEVABLE = [
    "", "[]", "{}", "[" * 5000,
    *(f'{{"epoch_durable": {value}}}' for value in ('"9"', "true", "-1", "1e9", "1073741823")),
]  # fmt: skip


@pytest.mark.parametrize("text", UNBELIEVABLE)
def test_a_status_file_that_says_nothing_believable_is_not_believed(tmp_path: Path, text: str) -> None:
    assert durable_before(tmp_path) == 0
    (tmp_path / "status.json").write_text(text)
    assert durable_before(tmp_path) == 0


def test_a_removed_file_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who removes the file, or puts an older copy back, does not make this server follow an old board."""
    from heartwire.agent import run
    from heartwire.agent.settings import AgentSettings
    from tests.unit.agent.agent_fakes import FakeWatchdog

    (tmp_path / "status.json").write_text(json.dumps({"epoch_durable": 9}))
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(run, "open_watchdog", lambda _: FakeWatchdog())
    monkeypatch.setattr(run, "loop", lambda agent, *_: seen.append((agent.lease.epoch, agent.disk.durable_epoch)))
    settings = AgentSettings("a", "/dev/none", state_directory=tmp_path, lock_memory=False, real_time_priority=0)
    assert run.run(settings) == 0
    assert seen == [(9, 0)], "it is stored anew by the agent's first round"


def test_the_command_says_what_it_has_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = ["--state-directory", str(tmp_path)]
    assert main(["agent", "epoch", "--set", "12", *to]) == 0
    assert main(["agent", "epoch", *to]) == 0
    assert capsys.readouterr().out == "12\n12\n"
    assert main(["agent", "epoch", "--set", "11", *to]) == 12
    (tmp_path / "epoch").write_bytes(b"")
    assert main(["agent", "epoch", *to]) == 12
    error = capsys.readouterr().err
    assert "lower than 12" in error and "agent epoch --set N" in error


def test_a_disk_that_fails_in_no_known_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    disk = state.Disk(tmp_path, 0)
    monkeypatch.setattr(state, "write_epoch", fail)
    disk.start()
    disk.store_epoch(3)
    disk.finish(5.0)
    assert (disk.durable_epoch, disk.epoch_error) == (0, "MemoryError()")

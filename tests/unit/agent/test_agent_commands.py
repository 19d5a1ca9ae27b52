"""Commands and the kernel watchdog of the agent: helpers that start programs, and when the watchdog is fed."""

import fcntl
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire.agent import hooks, runner, watchdog
from heartwire.agent.errors import WatchdogError
from heartwire.agent.hooks import ForkedCommands, Result
from heartwire.agent.lease import Judgement, Wish
from heartwire.agent.log import Log
from heartwire.agent.run import BackgroundStream
from heartwire.agent.settings import Command, settings_from

MINIMAL = {"node": "a", "port": "/dev/x", "state_directory": "/tmp/x"}


def wait_for(ready: Any, limit_s: float = 10.0) -> Any:
    """Poll until `ready` gives something; the limit is only for a test that fails."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := ready():
            return value
        time.sleep(0.005)
    raise AssertionError("waited in vain")


# --- commands ---


@pytest.fixture
def commands() -> Iterator[ForkedCommands]:
    forked = ForkedCommands(quiet=True)
    yield forked
    forked.close()


def result_of(commands: ForkedCommands, argv: list[str], limit_s: float = 20.0, **more: Any) -> Result:
    number = commands.start(Command(tuple(argv), limit_s), more.pop("environment", {}), **more)
    results = wait_for(commands.results)
    assert [result.number for result in results] == [number]
    return results[0]  # type: ignore[no-any-return]


def test_commands_end_with_their_status(commands: ForkedCommands) -> None:
    assert result_of(commands, ["true"]).succeeded
    assert result_of(commands, ["sh", "-c", "exit 3"])[1:3] == ("exit", 3)
    assert result_of(commands, ["sh", "-c", "kill -9 $$"])[1:3] == ("signal", 9)
    assert result_of(commands, ["/no/such/program"])[1:3] == ("not_started", 2)


def test_commands_get_their_environment_and_no_terminal(commands: ForkedCommands) -> None:
    script = 'test "$HEARTWIRE_EPOCH" = 7 && test -n "$PATH" && ! read x'
    assert result_of(commands, ["sh", "-c", script], environment={"HEARTWIRE_EPOCH": "7"}).succeeded


def test_a_command_has_its_own_variables_but_never_those_of_the_agent(commands: ForkedCommands) -> None:
    script = 'test "$HEARTWIRE_EPOCH" = 7 && test "$PGBIN" = /x'
    own = (("PGBIN", "/x"), ("HEARTWIRE_EPOCH", "5"))
    number = commands.start(Command(("sh", "-c", script), 20.0, own), {"HEARTWIRE_EPOCH": "7"})
    [result] = wait_for(commands.results)
    assert (result.number, result.succeeded) == (number, True)


def test_commands_inherit_no_descriptor(commands: ForkedCommands) -> None:
    # 0, 1, 2 and the one that `ls` reads the directory with.
    assert result_of(commands, ["sh", "-c", "test $(ls /proc/self/fd | wc -l) -le 4"]).succeeded


def test_a_time_limit_ends_the_whole_group(commands: ForkedCommands, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    result = result_of(commands, ["sh", "-c", f"sleep 100 & echo $! > {mark}; wait"], limit_s=0.2)
    assert result.outcome == "time_limit"
    child = int(mark.read_text())
    wait_for(lambda: not alive(child))


def test_a_command_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    commands = ForkedCommands(quiet=True)
    number = commands.start(Command(("sh", "-c", "trap '' TERM; while :; do sleep 1; done"), 30.0), {})
    commands.kill(number)
    assert wait_for(commands.results)[0].outcome == "killed"
    commands.close()


def test_a_command_that_comes_too_late_is_not_started(commands: ForkedCommands) -> None:
    assert result_of(commands, ["true"], not_after_ns=1).outcome == "too_late"
    later = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 60_000_000_000
    assert result_of(commands, ["true"], not_after_ns=later).succeeded


def test_commands_die_with_the_agent(tmp_path: Path) -> None:
    forked = ForkedCommands(quiet=True)
    mark = tmp_path / "pid"
    forked.start(Command(("sh", "-c", f"echo $$ > {mark}; exec sleep 100"), 200.0), {})
    child = int(wait_for(lambda: mark.exists() and mark.read_text()))
    forked.close()
    wait_for(lambda: not alive(child))


def test_a_dead_runner_gives_results_all_the_same() -> None:
    forked = ForkedCommands(quiet=True)
    forked.close()
    forked.start(Command(("true",), 1.0), {})
    assert [result.outcome for result in forked.results()] == ["hung"]


def test_a_hung_runner_gives_an_overdue_result(monkeypatch: pytest.MonkeyPatch, commands: ForkedCommands) -> None:
    number = commands.start(Command(("sleep", "60"), 60.0), {})
    start = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: start + 100)
    assert Result(number, "hung", 0, 0.0) in commands.results()


def test_checks_that_hang_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch, commands: ForkedCommands, tmp_path: Path
) -> None:
    """A dead disk: each check is given up, none ends. Then the disk comes back."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    stuck = Command(("sh", "-c", f"read x < {gate}"), 1000.0)
    now = time.monotonic()
    ahead = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now + ahead)
    started = []
    for _ in range(2 * hooks.HUNG_MAX):
        started.append(commands.start(stuck, {}))
        ahead += 2000
        assert commands.results() == [Result(started[-1], "hung", 0, 0.0)]
    monkeypatch.undo()
    wait_for(lambda: len(children(commands.process)) >= hooks.HUNG_MAX)
    assert len(children(commands.process)) == hooks.HUNG_MAX
    with gate.open("w") as disk:
        # Held open, with a line for each: one that was not at its read yet gets there too.
        disk.write("go\n" * 4 * hooks.HUNG_MAX)
        disk.flush()
        wait_for(lambda: commands.results() or not commands._hung)
    assert result_of(commands, ["true"]).succeeded


def test_hooks_are_started_however_many_hang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forked = ForkedCommands(quiet=False)
    forked._hung = set(range(1000, 1000 + 2 * hooks.HUNG_MAX))
    assert result_of(forked, ["true"]).succeeded
    forked.close()


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def alive(process: int) -> bool:
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


# --- watchdog ---


def judged(wish: Wish, entitled: bool = False, since_ns: int = 0) -> Judgement:
    return Judgement(wish, entitled, 0, since_ns, "")


@pytest.mark.parametrize("wish", list(Wish))
def test_stopped_services_always_feed(wish: Wish) -> None:
    assert watchdog.may_feed(judged(wish), False, 10**18, 0)


@pytest.mark.parametrize("wish", [Wish.ADVISORY, Wish.KEEP, Wish.RUN])
def test_what_may_run_feeds(wish: Wish) -> None:
    assert watchdog.may_feed(judged(wish), True, 10**18, 0)


@pytest.mark.parametrize("wish", [Wish.STOP, Wish.DRAIN])
def test_what_must_stop_feeds_until_its_time_is_over(wish: Wish) -> None:
    assert watchdog.may_feed(judged(wish, since_ns=100), True, 149, 50)
    assert not watchdog.may_feed(judged(wish, since_ns=100), True, 150, 50)


def test_a_drain_with_a_lease_feeds() -> None:
    assert watchdog.may_feed(judged(Wish.DRAIN, entitled=True), True, 10**18, 0)


def fake_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int) -> Path:
    path = tmp_path / "watchdog"
    path.touch()

    def ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
        assert request == watchdog.WDIOC_SETTIMEOUT
        return answer.to_bytes(4, "little")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return path


def test_the_kernel_watchdog_is_fed_and_disarmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_device(tmp_path, monkeypatch, 10)
    dog = watchdog.KernelWatchdog(str(path), 10)
    assert dog.armed
    dog.feed()
    dog.close(disarm=True)
    dog.close(disarm=False)
    assert path.read_bytes() == b"\0V"


def test_the_kernel_watchdog_stays_armed_if_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_device(tmp_path, monkeypatch, 10)
    dog = watchdog.KernelWatchdog(str(path), 10)
    dog.close(disarm=False)
    assert path.read_bytes() == b""
    assert dog.armed


def test_a_watchdog_slower_than_asked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_device(tmp_path, monkeypatch, 60)
    with pytest.raises(OSError, match="60 s"):
        watchdog.KernelWatchdog(str(path), 10)
    assert path.read_bytes() == b"V"


def test_a_missing_watchdog_has_a_next_step() -> None:
    from heartwire.agent.run import open_watchdog

    settings = settings_from({**MINIMAL, "watchdog": "/no/such", "hooks": {"check": ["true"]}})
    with pytest.raises(WatchdogError) as caught:
        open_watchdog(settings)
    assert "softdog" in caught.value.next_step


# --- log ---


def test_log_lines_are_one_line_each() -> None:
    stream = io.StringIO()
    log = Log(stream, "a")
    log.warning("x", text='two\nlines "quoted"', flag=True, none=None, number=5, empty="")
    assert (
        stream.getvalue()
        == 'level=warning node=a event=x text="two\\x0alines \\"quoted\\"" flag=yes number=5 empty=""\n'
    )


def test_a_broken_or_slow_stream_costs_only_lines() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Log(Broken(), "a").info("x")
    reader, writer = os.pipe()
    stream = BackgroundStream(os.fdopen(writer, "w"))
    log = Log(stream, "a")  # type: ignore[arg-type]
    for _ in range(5000):
        log.info("x", text="y" * 100)
    assert stream.lost > 0
    os.close(reader)
    stream.finish(5)

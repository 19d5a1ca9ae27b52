"""`heartwire status|log|boards|help|completion`: output and exit codes."""

from __future__ import annotations

import io
import json

import pytest

from heartwire.cli import status_view
from heartwire.cli.main import COMMANDS, cli
from heartwire.cli.output import Line
from heartwire.errors import kinds
from heartwire_protocol import alarms, codes, events, reasons
from heartwire_protocol.messages import PROTOCOL_VERSION
from tests import golden
from tests.fakes.board import FakeBoard, MemoryChannel
from tests.unit.host.scenes import Run, failover, follow, many, sequences, trouble


def test_a_flash_that_takes_nothing_stands_in_status(board: FakeBoard, run: Run) -> None:
    assert "flash" not in run("status").out
    assert json.loads(run("status", "--json").out)["storage_bad"] is False
    board.status.update(storage_bad=1, alarm=1)
    assert "! its flash does not take what is written, so it fences nobody" in run("status").out
    assert json.loads(run("status", "--json").out)["storage_bad"] is True


def test_status_names_the_steps_of_each_alarm(board: FakeBoard, run: Run) -> None:
    assert "heartwire help" not in run("status").out
    board.status["alarms"] = alarms.EXPOSED | alarms.FENCE_FAILED
    assert run("status").out.endswith("\nsteps: `heartwire help fence-failed`, `heartwire help exposed`\n")


def test_status_in_a_pipe(board: FakeBoard, run: Run) -> None:
    failover(board)
    result = run("status")
    assert (result.code, result.err) == (0, "")
    golden.check("host/status.txt", result.out)


def test_status_in_trouble(board: FakeBoard, run: Run) -> None:
    trouble(board)
    result = run("status")
    assert result.code == 0
    golden.check("host/status_trouble.txt", result.out)


@pytest.mark.parametrize("width", [80, 120])
def test_status_on_a_terminal(board: FakeBoard, run: Run, width: int) -> None:
    from rich.console import Console

    from heartwire.answers import NodeStatus, Status

    trouble(board)
    nodes = [NodeStatus.of(body) for body in board.node_bodies.values()]
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system="standard", highlight=False)
    for part in status_view.parts(Status.of(board.status), nodes):
        console.print(part.rich(console.width))
    text = stream.getvalue()
    golden.check(f"host/status_{width}.ansi", text)
    plain = Console(file=io.StringIO(), width=width, no_color=True)
    with plain.capture() as capture:
        for part in status_view.parts(Status.of(board.status), nodes):
            plain.print(part.rich(plain.width))
    assert max(len(line.rstrip()) for line in capture.get().splitlines()) <= width


def test_status_json_has_exactly_the_documented_keys(board: FakeBoard, run: Run) -> None:
    board.status["shiny"] = 1
    body = json.loads(run("status", "--json").out)
    documented = run("help", "json").out
    assert "shiny" not in body
    for name in (*body, *body["nodes"][0]):
        assert f"\n  {name} " in documented
    assert body["active"] == "a"
    assert body["wall"] == "2027-01-03T16:04:05.000Z"
    assert [node["node"] for node in body["nodes"]] == ["a", "b"]
    assert body["nodes"][0]["flags"] == ["running", "answered"]


def test_status_of_an_older_board_lacks_keys_quietly(board: FakeBoard, run: Run) -> None:
    board.script["status"] = {"name": "old", "mode": "observe"}
    board.script["node"] = lambda body: {"node": body["node"], "enabled": 1}
    result = run("status")
    assert result.code == 0
    assert "observe mode" in result.out


def test_status_with_a_value_of_the_wrong_type_is_a_mismatch(board: FakeBoard, run: Run) -> None:
    board.script["status"] = {"epoch": "seven"}
    result = run("status")
    assert result.code == 8
    assert "epoch = 'seven'" in result.err


def test_status_check_tells_what_needs_attention(board: FakeBoard, run: Run) -> None:
    assert run("status", "--check").code == 0
    board.node_bodies["b"]["verdict"] = "dead"
    result = run("status", "--check")
    assert result.code == 15
    assert "b (beta) is dead" in result.err


def test_status_without_nodes(board: FakeBoard, run: Run) -> None:
    board.script["node"] = {"error": "refused", "reason": "unknown_node"}
    assert "no node is configured" in run("status").out


def test_status_sets_a_missing_wall_time_quietly(board: FakeBoard, run: Run) -> None:
    board.status["wall"] = None
    assert run("status").code == 0
    assert [body["op"] for body in board.asked if body["op"] == "time"] == ["time"]
    board.status["wall"] = None
    board.script["time"] = {"error": "not_allowed"}
    result = run("status")
    assert (result.code, result.err) == (0, "")


def test_other_tables_are_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartwire.link.TABLE_HASH", b"\1\2\3\4")
    result = run("status")
    assert result.code == 0
    assert result.err.startswith("warning: the board's tables")


def test_watch_in_a_pipe_prints_blocks_until_ctrl_c(
    run: Run, channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    looks = iter([None, None])

    def sleep(_: float) -> None:
        if next(looks, "end") == "end":
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    result = run("status", "--watch")
    assert result.code == 130
    assert result.out.count("rack-1") == 3
    assert "cancelled" in result.err


def test_history_lists_who_was_active_and_why(board: FakeBoard, run: Run) -> None:
    # Many later records push the old ones out of the board's rings.
    assert "a (alpha) is active, and the board's journal has no change of that" in run("history").err
    failover(board)
    rows = run("history").out.splitlines()
    assert len(rows) == 3
    assert rows[2].split()[:1] == ["10"] and "b (beta)" in rows[2] and "11s" in rows[2]
    assert rows[2].endswith("the node was proven off")
    found = json.loads(run("history", "--json", "--limit", "1").out)
    assert [(row["node"], row["epoch"], row["without_ms"]) for row in found] == [("b", 8, 11420)]


def test_follow_shows_what_comes_and_ends_with_130(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    many(board, 20)
    result = follow(run, [lambda: None, lambda: many(board, 2)], monkeypatch, "--json")
    assert result.code == 130
    assert sequences(result.out) == list(range(11, 23))


def test_follow_goes_on_after_a_reset_of_the_board(
    board: FakeBoard, channel: MemoryChannel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(board, 3)

    def unplug() -> None:
        channel.unplugged = True
        many(board, 1)

    def back() -> None:
        channel.unplugged = False
        board.restart()
        board.log(events.BOOT, reason=reasons.WATCHDOG)

    result = follow(run, [unplug, lambda: None, back], monkeypatch, "--json")
    assert sequences(result.out) == [1, 2, 3, 4, 5]
    assert "connection lost; waiting for the board" in result.err
    assert "the board answers again; it has restarted" in result.err


def test_follow_notices_a_journal_that_starts_over(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    many(board, 5)

    def reformat() -> None:
        fresh = FakeBoard()
        fresh.log(events.STORE_EMPTY)
        board.records, board.status["newest"] = fresh.records, 1

    result = follow(run, [reformat], monkeypatch, "--json")
    assert sequences(result.out) == [1, 2, 3, 4, 5, 1]
    assert "starts over" in result.err


def test_no_boards(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartwire.ports.list_ports", list)
    result = run("boards")
    assert (result.code, result.out) == (0, "")
    assert "no board is plugged in" in result.err
    assert json.loads(run("boards", "--json").out) == []


def test_boards(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from heartwire.ports import Port

    found = [Port("/dev/ttyACM0", "E66118604B5C4A2A", "Board in FS mode", "1-2")]
    monkeypatch.setattr("heartwire.ports.list_ports", lambda: found)
    assert "/dev/ttyACM0  id:E66118604B5C4A2A" in run("boards").out
    assert json.loads(run("boards", "--probe", "--json").out)[0]["answer"] == f"Heartwire, protocol {PROTOCOL_VERSION}"


def test_every_command_has_help_with_an_example(run: Run) -> None:
    import click

    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        entry = next(entry for entry in COMMANDS if entry.name == name)
        if entry.module.rpartition(".")[2] in ("agent", "monitor", "virtual", "demo", "flash"):
            continue
        text = run(name, "--help").out
        assert "Example:" in text, name
        assert entry.help in text, name
        for inner in getattr(command, "commands", {}):
            assert "Example:" in run(name, inner, "--help").out, inner


def test_help_lists_commands_by_section(run: Run) -> None:
    golden_text = run("--help").out
    assert "Look:" in golden_text
    assert run("help").out.startswith(golden_text.rstrip())


def test_help_topics(run: Run) -> None:
    text = run("help", "exit-codes").out
    for kind in kinds():
        assert kind.meaning in text
    assert "configure" in run("help", "keys").out
    assert 'ATTRS{idVendor}=="2e8a"' in run("help", "ports").out
    assert "heartwire status --watch" in run("help", "status").out
    assert run("help", "nonsense").code == 2


def test_exit_codes_are_distinct_and_have_words() -> None:
    # A kind without a code of its own is a special case of the one above it.
    found = [kind for kind in kinds() if "exit_code" in vars(kind)]
    assert len(found) > 10
    assert len({kind.exit_code for kind in found}) == len(found)
    assert all(kind.meaning and kind.__doc__ for kind in found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.code == 0
    assert "_HEARTWIRE_COMPLETE" in result.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["swi"], "switchover"), (["fence", ""], "spare"), (["config", "ap"], "apply"), (["mode", "au"], "auto")],
)
def test_completion_answers(words: list[str], expected: str) -> None:
    from click.shell_completion import ShellComplete

    found = ShellComplete(cli, {}, "heartwire", "_HEARTWIRE_COMPLETE").get_completions(words[:-1], words[-1])
    assert expected in [item.value for item in found]


def test_version(run: Run) -> None:
    assert run("--version").out == f"heartwire 0.1.0 (protocol {PROTOCOL_VERSION})\n"


def test_a_fault_inside_is_exit_code_1(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_view, "parts", lambda *_: 1 / 0)
    result = run("status")
    assert result.code == 1
    assert "a fault inside heartwire: ZeroDivisionError" in result.err


def test_an_interrupted_import_is_no_fault(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr(status_view, "parts", interrupted)
    result = run("status")
    assert result.code == 130
    assert result.err.strip() == "cancelled"


def test_names_and_help_import_no_command() -> None:
    """What --version, --help and completion load decides how fast they are."""
    import subprocess
    import sys

    code = """
import sys
from heartwire.cli.main import main
main(["--version"]), main(["--help"])
slow = ("rich", "serial", "heartwire.board", "heartwire.cli.status", "tomllib", "json")
sys.exit(", ".join(name for name in slow if name in sys.modules) or 0)
"""
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_version_is_that_of_the_distribution() -> None:
    import tomllib

    import heartwire

    project = tomllib.loads((golden.FOLDER.parent.parent / "pyproject.toml").read_text())["project"]
    assert project.get("version", heartwire.__version__) == heartwire.__version__


def test_unknown_command_suggests(run: Run) -> None:
    result = run("statsu")
    assert result.code == 2
    assert "Did you mean 'status'?" in result.err


@pytest.mark.parametrize(
    ("typed", "meant"), [("doctor", "agent doctor"), ("journal", "log"), ("promote", "switchover")]
)
def test_a_name_from_elsewhere_is_answered_with_ours(run: Run, typed: str, meant: str) -> None:
    result = run(typed)
    assert result.code == 2
    assert f"Did you mean {meant!r}?" in result.err
    assert run(*meant.split(), "--help").code == 0


def test_names_from_elsewhere_lead_to_commands_that_there_are() -> None:
    import click

    from heartwire.cli.lazy import ELSEWHERE

    context = click.Context(cli)
    for typed, meant in ELSEWHERE.items():
        words = meant.split()
        command = cli.get_command(context, words[0])
        assert command is not None and typed not in cli.list_commands(context), typed
        assert len(words) == 1 or words[0] in ("mode", "maintenance") or words[1] in getattr(command, "commands", ()), (
            meant
        )


def test_a_board_without_settings_says_so(board: FakeBoard, run: Run) -> None:
    board.generation = 0
    board.status["mode"] = "observe"
    text = run("status").out
    assert "! the board has no settings yet" in text
    assert "heartwire config apply rack.toml" in text and "mode auto" not in text


def test_the_live_screen_keeps_the_newest_records_and_dims_what_is_past(
    board: FakeBoard, channel: MemoryChannel
) -> None:
    from heartwire.answers import Status
    from heartwire.board import Board
    from heartwire.cli.status import Recent
    from heartwire.keys import Keys
    from heartwire.link import Link

    failover(board)
    link = Link(channel, Keys())
    link.hello()
    recent = Recent()
    recent.look(Board(link), Status.of(board.status))
    shown = [part.plain() for part in recent.parts({"b": "b (beta)"})]
    assert "b (beta) is active with epoch 8" in shown[-2]
    assert not any("evidence" in text for text in shown)
    board.log(events.RUNNING, node=1, a=8, b=900)
    recent.look(Board(link), Status.of(board.status))
    assert "b runs its services" in recent.parts({})[-1].plain()
    parts = status_view.parts(Status.of(board.status), [])
    assert [part.plain() for part in status_view.dimmed(parts)] == [part.plain() for part in parts]
    first = status_view.dimmed(parts)[0]
    assert isinstance(first, Line) and {style for _, style in first.cells} == {"dim"}


def test_a_command_whose_extra_is_not_installed_says_which(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="littlefs")

    monkeypatch.setattr(importlib, "import_module", missing)
    result = run("status")
    assert result.code == 2
    assert "status needs littlefs, which is not installed" in result.err


def test_roles_and_verdicts_of_the_contract_all_have_a_style() -> None:
    assert set(status_view.ROLE_STYLES) == set(codes.ROLES)
    assert set(status_view.VERDICT_STYLES) == set(codes.VERDICTS)
    assert set(status_view.POWER_STYLES) == set(codes.POWERS)
    assert set(status_view.MODE_STYLES) == set(codes.MODES)


def test_a_monitor_example_needs_nothing(run: Run, bare: None) -> None:
    assert "[Unit]" in run("monitor", "example", "unit").out
    assert run("monitor", "check").code == 2

"""`heartwire why` on journals that the firmware itself wrote."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from heartwire import journal, why
from heartwire.cli.main import main
from heartwire.errors import UsageProblem
from heartwire_firmware import guards
from heartwire_protocol import reasons
from tests.fakes.bench import Bench


def entries(bench: Bench) -> list[journal.Entry]:
    """Return the bench's durable journal."""
    return [journal.decode(raw) for raw in bench.raw_journal()]


@pytest.fixture(scope="module")
def failed_over() -> list[journal.Entry]:
    bench = Bench()
    bench.settle()
    bench.nodes[0].crash()
    bench.run_until(lambda: bench.board.state.active == 1 and not bench.board.state.awaiting_running)
    bench.run(2000)
    return entries(bench)


def test_a_fence_names_its_rule_its_evidence_and_what_was_considered(failed_over: list[journal.Entry]) -> None:
    fired = next(one for one in failed_over if one.event == "fence_fired")
    found = why.explain(failed_over, fired.sequence)
    text = "\n".join(found.lines())
    assert "no good heartbeat for dead_ms" in text
    assert "Rule 5.6" in text
    assert len(found.evidence) == 2
    assert [one.event for one in found.led if one.node == "a"][-3:] == ["late", "fence_prepared", "dead"]
    assert [one.event for one in found.followed][:2] == ["off_proven", "granted"]
    assert "not so: no other line was heard clearly after it" in text


def test_without_a_number_the_newest_decision_is_explained(failed_over: list[journal.Entry]) -> None:
    found = why.explain(failed_over)
    assert found.decision.event == "granted" and found.decision.node == "b"
    assert found.fence is not None and found.fence.decision.event == "fence_fired"
    assert "The fence before it:" in found.lines()
    with pytest.raises(UsageProblem, match="record 9999"):
        why.explain(failed_over, 9999)


def test_a_hold_names_only_what_was_asked_before_it() -> None:
    bench = Bench()
    bench.settle()
    for node in bench.nodes:
        node.crash()
    bench.run(12000)
    held = [one for one in entries(bench) if one.event == "held"][-1]
    found = why.explain(entries(bench), held.sequence)
    assert held.reason == "common_cause"
    assert found.rule == "5.4"
    assert found.passed[-1] == "starting"


def test_the_order_is_the_firmwares() -> None:
    names = [reasons.NAMES[reason] for reason, _ in guards.AUTOMATIC]
    assert tuple(dict.fromkeys(names)) == why.AUTOMATIC_ORDER
    known = {row[1] for row in reasons.REASONS}
    assert set(why.AUTOMATIC_ORDER) <= known


def test_the_command_reads_a_saved_journal(
    failed_over: list[journal.Entry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(one.as_json()) + "\n" for one in failed_over))
    granted = next(one for one in failed_over if one.event == "granted" and one.node == "b")
    assert main(["why", "--file", str(path), str(granted.sequence)]) == 0
    out = capsys.readouterr().out
    assert "b is active with epoch 2" in out
    assert "Rule 5.1" in out
    assert main(["why", "--file", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"]["event"] in why.DECISIONS


def test_only_the_end_of_the_journal_is_read(failed_over: list[journal.Entry]) -> None:
    """A full journal takes ten seconds to read; the last minutes of it do not."""
    quiet = [replace(failed_over[-1], event="state_reported", sequence=at, uptime_ms=at) for at in range(5000)]
    rows = [*quiet, *[replace(one, sequence=5000 + one.sequence, boot=2) for one in failed_over]]
    read: list[int] = []

    def back() -> Iterator[list[journal.Entry]]:
        for high in range(len(rows), 0, -32):
            read.append(high)
            yield rows[max(0, high - 32) : high]

    found = why.explain(why.needed(back()))
    assert found.decision.event == "granted" and found.fence is not None
    assert len(read) <= 3


def test_a_burst_of_records_is_no_longer_story(failed_over: list[journal.Entry]) -> None:
    burst = [replace(failed_over[0], event="maintenance_began", sequence=at) for at in range(5000)]
    rows = [*burst, *[replace(one, sequence=5000 + one.sequence) for one in failed_over]]
    count = 0

    def back() -> Iterator[list[journal.Entry]]:
        nonlocal count
        for high in range(len(rows), 0, -100):
            count += 100
            yield rows[max(0, high - 100) : high]

    found = why.explain(why.needed(back()))
    assert found.decision.event == "granted" and found.fence is not None
    assert count <= 700


def test_events_of_a_newer_version_stand_where_they_happened(failed_over: list[journal.Entry]) -> None:
    at = next(index for index, one in enumerate(failed_over) if one.event == "fence_fired")
    strange = replace(failed_over[at], event="#85", event_number=85, reason="#98", reason_number=98)
    rows = [*failed_over[:at], strange, *failed_over[at:]]
    text = "\n".join(why.explain(rows).lines())
    assert "event #85 of a" in text and "reason #98" in text

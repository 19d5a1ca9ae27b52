"""What a guarding board must do, whatever board it is: each body takes a settled bench and asserts.

Run on the emulated chip by tests/emulated, on a real board by tests/hil, and on the virtual board by tests/virtual
through the same adapter as the real one. A body may leave its bench in any state.
"""

from __future__ import annotations

from heartwire_protocol import codes, framing, messages
from tests.bodies.bench import Bench

# A record that is not urgent waits for a slot between heartbeats for so long (pace.WRITE_PATIENCE_MS), and a bit.
ROWS_MS = 1800
HEARTBEATS = 10
HELLO_EVERY_MS = 25
HELLO = framing.encode(messages.HELLO, bytes([messages.PROTOCOL_VERSION]))


def name(node: int) -> str:
    """Return the name of a node."""
    return codes.NODES[node]


def missing(bench: Bench, node: int) -> int:
    """Return how many more heartbeats `node` has sent than the board took: as good, or as an incarnation's first."""
    first = int(bench.ask("drops", node=name(node))["drops"].get("unanswered", 0))
    return bench.sent(node) - first - int(bench.ask("node", node=name(node))["beats"])


def assert_cut_at_deadline(bench: Bench, node: int, since_ms: float, last_beat_ms: float) -> None:
    """Assert that the relay of `node` moved once since then, at the deadline of that heartbeat."""
    cuts = [at_ms for at_ms in bench.cuts_ms(node) if at_ms >= since_ms]
    assert len(cuts) == 1, cuts
    late_ms = cuts[0] - last_beat_ms - bench.dead_ms
    assert -bench.early_by_ms <= late_ms <= bench.late_by_ms, f"the relay moved {late_ms:.1f} ms after its deadline"


def silent_node_is_fenced_at_its_deadline_and_the_other_granted(bench: Bench) -> None:
    """Fence and failover, in the right order and never with two active nodes."""
    active, standby = bench.active, bench.standby
    began_ms, newest, epoch = bench.now_ms(), bench.newest(), int(bench.ask("status")["epoch"])
    bench.silence(active)
    bench.run_until(lambda: bench.runs(standby), 3 * bench.dead_ms)
    assert_cut_at_deadline(bench, active, began_ms, bench.last_beat_ms(active))
    bench.run_for(ROWS_MS)
    order = bench.rows(newest)
    steps = [("fence_prepared", active), ("fence_fired", active), ("off_proven", active), ("granted", standby)]
    places = [order.index((event, name(node))) for event, node in steps]
    assert places == sorted(places), order
    assert not bench.two_ran
    assert not bench.cuts_ms(standby)
    assert int(bench.ask("status")["epoch"]) == epoch + 1


def heartbeat_before_the_deadline_saves_the_node(bench: Bench) -> None:
    """A death is decided ahead of its deadline; a heartbeat that is whole before the deadline undoes that."""
    active = bench.active
    newest = bench.newest()
    for before_ms in bench.saves_ms:
        bench.silence(active)
        bench.run_for(bench.interval_ms)
        deadline_ms = bench.last_beat_ms(active) + bench.dead_ms
        bench.beat_at(active, deadline_ms - before_ms)
        bench.run_for(deadline_ms + 60 - bench.now_ms())
        assert not bench.cuts_ms(active), f"a server that was heard {before_ms} ms before its deadline lost its power"
        bench.speak(active)
        bench.run_for(3 * bench.interval_ms)
    bench.run_for(ROWS_MS)
    assert bench.runs(active)
    assert ("fence_fired", name(active)) not in bench.rows(newest)


def noise_of_a_dying_server_does_not_save_it(bench: Bench) -> None:
    """The deadline counts from the last good heartbeat, whatever bytes came since; the other node is answered."""
    active, standby = bench.active, bench.standby
    began_ms = bench.now_ms()
    bench.silence(active)
    bench.run_for(bench.interval_ms + 20)
    last_ms = bench.last_beat_ms(active)
    for part in (0.2, 0.4, 0.55, 0.75):
        bench.send_at(active, last_ms + part * bench.dead_ms, b"\x5a\x00\xff\x13")
    answered = bench.answered(standby)
    bench.run_for(last_ms + 1.3 * bench.dead_ms - bench.now_ms())
    assert_cut_at_deadline(bench, active, began_ms, last_ms)
    assert bench.answered(standby) - answered >= 0.9 * bench.dead_ms / bench.interval_ms


def flash_write_loses_no_heartbeat(bench: Bench) -> None:
    """A record is written while both beat: each heartbeat is taken, and nobody is late or altered."""
    newest = bench.newest()
    sent = [bench.sent(node) for node in range(2)]
    before = [missing(bench, node) for node in range(2)]
    bench.restart_agent(bench.standby)
    bench.run_for(ROWS_MS + 6 * bench.interval_ms)
    for node in range(2):
        # One may be on its way while the board is asked, at either end.
        assert abs(missing(bench, node) - before[node]) <= 1
        assert bench.sent(node) - sent[node] >= HEARTBEATS
    rows = bench.rows(newest)
    assert ("new_incarnation", name(bench.standby)) in rows, "nothing was written, so nothing was tested"
    assert not {"late", "altered", "half_line"} & {event for event, _ in rows}


def stalled_host_costs_no_answer(bench: Bench) -> None:
    """With a host that reads its answers and with one that does not, the nodes are answered the same."""
    for reads in (True, False):
        sent, answered = bench.sent(bench.active), bench.answered(bench.active)
        bench.host_asks(bench.host_fill, HELLO_EVERY_MS, reads)
        bench.run_for(3 * bench.interval_ms)
        sent, answered = bench.sent(bench.active) - sent, bench.answered(bench.active) - answered
        # One may be on its way at either end.
        assert answered >= sent - 1 > 3, (
            f"{answered} of {sent} answered while the host {'reads' if reads else 'stalls'}"
        )
    assert not bench.cuts_ms(bench.active)


def no_byte_from_the_host_ends_the_guard(bench: Bench) -> None:
    """MicroPython takes a 3 for Ctrl-C unless it is told not to."""
    boot = bench.ask("status")["boot"]
    before = bench.answered(bench.active)
    bench.host_send(bytes(range(256)) + b"\x03" * 64 + b"\x00")
    bench.run_for(5 * bench.interval_ms)
    assert bench.answered(bench.active) - before >= 4
    status = bench.ask("status")
    assert (status["mode"], status["boot"]) == ("auto", boot)


def restart_interrupts_nobody(bench: Bench) -> None:
    """A requested restart: the board comes back, adopts the running node and moves no relay."""
    status = bench.ask("status")
    before = bench.answered(bench.active)
    bench.ask("restart")
    bench.run_for(bench.interval_ms)
    bench.run_until(lambda: bench.answered(bench.active) > before + 5, 20 * bench.interval_ms + 3000)
    bench.run_for(ROWS_MS)
    again = bench.ask("status")
    assert again["boot"] == status["boot"] + 1
    assert (again["epoch"], again["active"]) == (status["epoch"], status["active"])
    assert bench.runs(bench.active)
    assert not bench.cuts_ms(bench.active) + bench.cuts_ms(bench.standby)
    assert not bench.two_ran


BODIES = (
    silent_node_is_fenced_at_its_deadline_and_the_other_granted,
    heartbeat_before_the_deadline_saves_the_node,
    noise_of_a_dying_server_does_not_save_it,
    flash_write_loses_no_heartbeat,
    stalled_host_costs_no_answer,
    no_byte_from_the_host_ends_the_guard,
    restart_interrupts_nobody,
)

"""What counts as a silence of a healthy server, and what time counts as watched."""

import pytest

from heartwire_protocol import codes, events
from tests.unit.adviser.worlds import DAY_S, DEAD_MS, LATE_MS, Journal, exponential, watched

A, B = codes.NODE_A, codes.NODE_B


def quiet() -> Journal:
    """Return a journal of two nodes that are heard since 1 s."""
    found = Journal()
    found.say(events.BOOT)
    found.now_ms = 1000
    found.say(events.FIRST_HEARD, A)
    found.say(events.FIRST_HEARD, B)
    return found


def test_a_generated_history_is_read_as_it_was_made() -> None:
    made = watched(7, exponential(900), 3.0, 40)
    found = made.read(uptime_ms=made.now_ms)
    truth = [entry.a for entry in made.entries if entry.event == "good_again"]
    assert len(truth) > 100
    assert sorted(found.silences_ms) == sorted(truth)
    # Each node is watched but for its own silences of dead_ms and more, of which there are few.
    assert found.node_s == pytest.approx(2 * made.now_ms / 1000, rel=0.01)


def test_a_silence_that_ends_in_a_fence_is_none_of_a_healthy_server() -> None:
    made = quiet()
    made.now_ms += LATE_MS
    made.say(events.LATE, A, LATE_MS)
    made.now_ms += DEAD_MS - LATE_MS
    made.say(events.DEAD, A, DEAD_MS)
    made.say(events.FENCE_FIRED, A, codes.METHOD_POWER, DEAD_MS)
    made.now_ms += 1500
    made.say(events.OFF_PROVEN, A, 1500)
    made.now_ms += 90_000
    made.say(events.BOOT_TIME, A, 80_000, 80)
    made.say(events.GOOD_AGAIN, A, 101_500)
    found = made.read()
    assert (found.silences_ms, found.fenced) == ([], 1)
    assert (found.of("a").offs_ms, found.of("a").boots_ms, found.of("a").slowest_ms) == ([1500], [80_000], 80_000)


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(("length_ms", "silences", "restarted"), [(45_000, [], 1), (12_000, [12_000], 0)])
def test_a_server_that_started_anew_was_not_healthy_but_an_agent_may_restart(
    length_ms: int, silences: list[int], restarted: int, behind: bool
) -> None:
    made = quiet()
    made.silence(A, length_ms)
    good = made.entries.pop()
    for event in (events.GOOD_AGAIN, events.NEW_INCARNATION) if behind else (events.NEW_INCARNATION, events.GOOD_AGAIN):
        made.say(event, A, good.a)
    made.now_ms += 60_000
    made.silence(B, 3200)
    found = made.read()
    assert (found.silences_ms, found.restarted) == ([*silences, 3200], restarted)


@pytest.mark.parametrize("node", [A, codes.NO_NODE])
def test_maintenance_is_no_time_to_learn_from(node: int) -> None:
    made = quiet()
    made.now_ms = 11_000
    made.say(events.MAINTENANCE_BEGAN, node, 600)
    made.silence(A, 60_000)
    made.say(events.MAINTENANCE_ENDED, node)
    made.now_ms += 5000
    made.silence(A, 3500)
    found = made.read()
    assert found.silences_ms == [3500]
    assert found.watched_s["a"] == pytest.approx(10 + 5 + 3.5)
    assert found.watched_s["b"] == pytest.approx(10 + 5 + 3.5 + (60 if node == A else 0))


def test_a_node_that_goes_down_on_purpose_is_not_silent() -> None:
    made = quiet()
    made.say(events.STATE_REPORTED, A, codes.STATE_PLANNED_OFF)
    made.silence(A, 120_000)
    assert made.read().silences_ms == []
    made.say(events.STATE_REPORTED, A, codes.STATE_HEALTHY)
    made.silence(A, 4000)
    assert made.read().silences_ms == [4000]


def test_a_relay_test_measures_and_is_no_silence() -> None:
    made = quiet()
    made.say(events.PROOF_BEGAN, A, 5000)
    made.silence(A, 40_000)
    made.say(events.PROOF_PASSED, A, 430, 90)
    found = made.read()
    assert found.silences_ms == []
    assert found.of("a").proofs_ms == [430]


def test_behind_a_gap_nothing_is_taken_for_granted() -> None:
    made = quiet()
    made.now_ms += LATE_MS
    made.say(events.LATE, A, LATE_MS)
    made.now_ms += 50_000
    made.say(events.GOOD_AGAIN, A, 3500, skip=4)  # what happened to a meanwhile is not known
    made.now_ms += 10_000
    made.silence(A, 3300)
    found = made.read()
    assert found.silences_ms == [3300]
    assert found.watched_s == {"a": pytest.approx(3 + 10 + 3.3), "b": pytest.approx(3)}


def test_who_is_good_now_and_of_whom_nothing_was_written_was_good_all_the_time() -> None:
    made = quiet()
    made.entries = made.entries[:1]
    made.now_ms = 0
    assert made.read(uptime_ms=DAY_S * 1000, good=["a"]).watched_s == {"a": DAY_S}
    assert made.read(uptime_ms=DAY_S * 1000).watched_s == {}


def test_a_restart_of_the_board_ends_what_is_known() -> None:
    made = quiet()
    made.now_ms = 61_000
    made.silence(B, 3100)
    made.boot, made.now_ms = 2, 0
    made.say(events.BOOT)
    made.now_ms = 2000
    made.say(events.FIRST_HEARD, A)
    made.now_ms = 12_000
    found = made.read(uptime_ms=12_000)
    assert found.watched_s == {"a": pytest.approx(63.1 + 10), "b": pytest.approx(63.1)}
    assert found.silences_ms == [3100]


def test_new_settings_begin_it_anew_but_starts_and_proofs_stay() -> None:
    made = quiet()
    made.silence(A, 8000)
    made.say(events.BOOT_TIME, A, 50_000, 50)
    made.say(events.STALLED, codes.NO_NODE, 120)
    made.say(events.SETTINGS_CONFIRMED, codes.NO_NODE, 4)
    made.now_ms += 7000
    found = made.read(uptime_ms=made.now_ms, good=["a", "b"])
    assert found.silences_ms == []
    assert found.node_s == pytest.approx(14)
    assert found.of("a").boots_ms == [50_000]
    assert found.stalls_ms == [120]


def test_lines_that_fall_silent_together_give_their_spread() -> None:
    made = quiet()
    made.now_ms += LATE_MS
    made.say(events.LATE, A, LATE_MS)
    made.now_ms += 700
    made.say(events.LATE, B, LATE_MS)
    made.now_ms += 2000
    made.say(events.GOOD_AGAIN, A, 5700)
    made.say(events.GOOD_AGAIN, B, 5000)
    made.now_ms += 3_600_000
    made.silence(B, 4000)
    found = made.read()
    assert found.spreads_ms == [700]
    assert sorted(found.silences_ms) == [4000, 5000, 5700]

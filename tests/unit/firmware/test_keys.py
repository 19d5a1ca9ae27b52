"""Two keys for a while: rolled without a missed heartbeat or a refused order. A board that has lost its settings."""

from __future__ import annotations

import json

import pytest

from heartwire import next_steps
from heartwire.answers import Status
from heartwire_firmware import config, slots
from heartwire_protocol import codes, events, framing, reasons, settings, settings_rules
from tests.fakes.bench import KEYS, Bench
from tests.unit.firmware.changes import (
    FENCES,
    NEW_KEY,
    apply,
    changed,
    confirm,
    counted,
    drop_foreign_grants,
    give_key,
    rig,
)
from tests.unit.firmware.test_hostlink import CONFIGURE, KEYED, OPERATE, VIEW, Host

BOTH = f"node.a.key_next={NEW_KEY.hex()}\n"
THEN = f"node.a.key={NEW_KEY.hex()}\nnode.a.key_next=\n"


def beats(bench: Bench) -> int:
    return int(bench.board.intakes[0].beats)


@pytest.mark.parametrize("loss", ["hold", "stop"])
def test_a_key_is_rolled_without_a_missed_heartbeat(loss: str) -> None:
    bench = rig(f"node.a.on_board_loss={loss}\n")
    since, before = bench.ms, beats(bench)
    gone: list[int] = []
    bench.each_ms.append(lambda: None if bench.nodes[0].serving and bench.nodes[0].left_ms else gone.append(bench.ms))
    for step in (BOTH, None, THEN):
        if step is None:
            give_key(bench.nodes[0], NEW_KEY)
            bench.run(5000)
            assert bench.ask(op="node", node="a")["key"] == 2
            continue
        assert "generation" in apply(bench, changed(bench, step))
        bench.run(5000)
        assert confirm(bench)["ok"] == 1
        assert bench.ask(op="node", node="a")["key"] == 1
    bench.run(10000)
    assert gone == []
    assert beats(bench) - before >= (bench.ms - since) // 1000
    assert counted(bench, since, *FENCES, events.LATE, events.ALTERED, events.HALF_LINE) == []
    assert bench.board.intakes[0].drops[codes.DROP_WRONG_ANSWER] == 0


def test_a_node_is_given_its_first_key_the_same_way() -> None:
    bench = Bench(keyed=False)
    drop_foreign_grants(bench)
    bench.settle()
    bench.run(5000)
    since = bench.ms
    apply(bench, changed(bench, BOTH))
    bench.run(5000)
    assert confirm(bench)["ok"] == 1
    give_key(bench.nodes[0], NEW_KEY)
    bench.run(5000)
    apply(bench, changed(bench, THEN))
    bench.run(5000)
    assert confirm(bench)["ok"] == 1
    assert counted(bench, since, *FENCES, events.LATE, events.ALTERED) == []


@pytest.mark.parametrize("key", [KEYS[0], NEW_KEY], ids=["old", "new"])
def test_a_board_that_restarts_in_the_middle_hears_the_node_whichever_key_it_has(key: bytes) -> None:
    bench = rig()
    apply(bench, changed(bench, BOTH))
    bench.run(5000)
    confirm(bench)
    give_key(bench.nodes[0], key)
    bench.run(3000)
    since = bench.ms
    bench.reset()
    bench.run(6000)
    assert bench.board.livenesses[0].verdict == codes.VERDICT_GOOD
    assert counted(bench, since, events.ALTERED) == []
    assert bench.board.state.active == 0 and bench.nodes[0].serving


@pytest.mark.parametrize("key", [KEYS[0], NEW_KEY], ids=["old", "new"])
def test_an_agent_that_starts_anew_is_heard_with_either_key(key: bytes) -> None:
    bench = rig()
    apply(bench, changed(bench, BOTH))
    bench.run(5000)
    confirm(bench)
    node = bench.nodes[0]
    node.restart_agent()
    give_key(node, key)
    bench.run(4000)
    assert bench.board.intakes[0].incarnation == node.incarnation
    assert bench.board.livenesses[0].verdict == codes.VERDICT_GOOD


def test_a_third_key_is_none_and_the_old_one_is_none_when_the_roll_is_over() -> None:
    bench = rig()
    apply(bench, changed(bench, BOTH))
    bench.run(5000)
    confirm(bench)
    give_key(bench.nodes[1], bytes([0x77]) * 32)
    give_key(bench.nodes[0], NEW_KEY)
    bench.run(5000)
    assert bench.board.intakes[1].altered
    apply(bench, changed(bench, THEN))
    bench.run(5000)
    bench.nodes[1].crash()
    confirm(bench)
    give_key(bench.nodes[0], KEYS[0])
    bench.run(5000)
    assert bench.board.intakes[0].altered


def test_a_node_that_may_fence_asks_with_either_key() -> None:
    bench = rig("node.a.may_fence=1\n")
    bench.arm(codes.MODE_FENCER)
    apply(bench, changed(bench, BOTH))
    bench.run(5000)
    confirm(bench)
    give_key(bench.nodes[0], NEW_KEY)
    bench.run(3000)
    bench.nodes[0].wants_fence = 1
    bench.run(5000)
    assert bench.board.relays.commanded[1]


# The host link.

NEXT = {"view": bytes([4]) * 32, "operate": bytes([5]) * 32, "configure": bytes([6]) * 32}
WITH_NEXT = KEYED + "".join(f"board.{right}_key_next={key.hex()}\n" for right, key in NEXT.items())


@pytest.mark.parametrize(("right", "old", "op"), [(1, VIEW, "status"), (2, OPERATE, "cancel"), (3, CONFIGURE, "mode")])
def test_both_keys_of_a_right_sign(right: int, old: bytes, op: str) -> None:
    bench = Bench(WITH_NEXT)
    bench.run(4000)
    host = Host(bench)
    new = NEXT[codes.RIGHTS[right]]
    for key, error in ((old, None), (new, None), (NEW_KEY, "bad_mac")):
        answer = host.ask(right, key, op=op, mode="observe")
        assert answer.get("error") in (error, "refused") and (error or answer.get("error") != "bad_mac"), answer
    assert host.ask(0, None, op=op, mode="observe")["error"] == "not_allowed"


def test_no_answer_shows_a_key() -> None:
    bench = Bench(WITH_NEXT + f"node.a.key_next={NEW_KEY.hex()}\n")
    bench.run(4000)
    host = Host(bench)
    shown = "".join(json.dumps(host.ask(1, VIEW, op="settings", offset=at)) for at in (0, 300, 600, 900))
    for key in (*NEXT.values(), VIEW, OPERATE, CONFIGURE, NEW_KEY, *KEYS):
        assert key.hex() not in shown
    assert settings.fingerprint(NEW_KEY.hex()) in shown


@pytest.mark.parametrize(
    ("given", "op", "wanted"),
    [
        ("operate", "settings_revert", "operate"),
        ("operate", "cancel", "operate"),
        ("operate", "status", None),
        ("configure", "cancel", "configure"),
        ("configure", "status", None),
        ("view", "cancel", "view"),
        ("view", "settings_revert", "view"),
        ("view configure", "cancel", "configure"),
        ("view operate", "settings_revert", "operate"),
        ("", "settings_revert", None),
        ("", "cancel", None),
    ],
)
def test_no_key_can_be_gone_around(given: str, op: str, wanted: str | None) -> None:
    keys = {"view": VIEW, "operate": OPERATE, "configure": CONFIGURE}
    bench = Bench("".join(f"board.{name}_key={keys[name].hex()}\n" for name in given.split()))
    bench.run(4000)
    host = Host(bench)
    answer = host.ask(0, None, op=op)
    if wanted is None:
        assert answer.get("error") in (None, "refused")
        return
    assert answer == {"error": "not_allowed", "right": wanted}
    assert host.ask(codes.RIGHTS.index(wanted), keys[wanted], op=op).get("error") in (None, "refused")


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ("board.operate_key=O\n", "configure_first"),
        ("board.view_key=O\n", "configure_first"),
        ("board.view_key=O\nboard.operate_key=N\n", "configure_first"),
        ("board.configure_key=O\n", ""),
        ("board.operate_key=O\nboard.configure_key=N\n", ""),
        ("board.operate_key=O\nboard.configure_key=O\n", "rights_differ"),
        ("board.operate_key=O\nboard.configure_key=N\nboard.operate_key_next=N\n", "rights_differ"),
        ("board.configure_key_next=O\n", "next_follows"),
        ("board.configure_key=O\nboard.operate_key_next=N\n", "next_follows"),
        ("board.configure_key=O\nboard.configure_key_next=N\n", ""),
    ],
)
def test_rules_between_keys(lines: str, rule: str) -> None:
    found, problems = settings.parse(lines.replace("=O", "=" + "aa" * 32).replace("=N", "=" + "bb" * 32))
    assert problems == []
    assert [words.split(":")[0] for _, words in settings_rules.check(found)] == ([rule] if rule else [])
    assert settings_rules.check(found, True) == [], "what a board has kept is not refused at its start"


def test_every_rule_between_keys_is_broken_once() -> None:
    assert {row[0] for row in settings_rules.KEY_RULES} == {"configure_first", "rights_differ", "next_follows"}


# A board whose settings are lost.


@pytest.fixture
def lost() -> Host:
    """Return a host of an armed board whose settings, keys and all, are damaged."""
    bench = Bench(KEYED)
    drop_foreign_grants(bench)
    bench.settle()
    bench.run(3000)
    bench.power_cut()
    for name in [name for name in bench.files.contents if name.startswith("settings")]:
        bench.files.contents[name] = bench.files.contents[name][:-1] + b"?"
    bench.power_on()
    bench.run(4000)
    return Host(bench)


def turn_key(host: Host, on: bool) -> None:
    host.bench.hardware.pins.levels["KEY"] = int(on)
    host.bench.run(100)


def test_a_board_that_has_lost_its_settings_takes_no_order_without_the_key_switch(lost: Host) -> None:
    bench = lost.bench
    assert bench.board.state.mode == codes.MODE_AUTO and bench.board.state.safe_mode
    assert counted(bench, 0, events.SETTINGS_LOST) == [(events.SETTINGS_LOST, 3, reasons.CORRUPT)]
    status = lost.ask(op="status")
    assert (status["safe"], status["lost_settings"]) == (1, 1)
    shown = Status.of(status)
    assert next(step.command for step in next_steps.steps(shown, [])) == "config apply --unsigned"
    for request in (
        {"op": "fence", "node": "a", "by": 3},
        {"op": "mode", "mode": "observe"},
        {"op": "settings_begin", "length": 0, "crc": 0},
        {"op": "settings_apply"},
        {"op": "repl"},
        {"op": "restart"},
        {"op": "log", "after": 0, "count": 1},
        {"op": "settings", "offset": 0},
    ):
        answer = lost.ask(**request)
        assert (answer["error"], answer["reason"]) == ("not_allowed", "settings_lost"), request
    bench.nodes[0].crash()
    bench.run(400000)
    assert counted(bench, 0, *FENCES) == [] and bench.board.state.active != 1


def test_the_key_switch_gives_it_settings_again_and_it_starts_anew(lost: Host) -> None:
    turn_key(lost, True)
    text = KEYED + "".join(f"node.{codes.NODES[node]}.key={KEYS[node].hex()}\n" for node in range(2))
    data = text.encode()
    assert lost.ask(op="settings_begin", length=len(data), crc=framing.crc16(data, len(data))) == {"ok": 1}
    for at in range(0, len(text), 300):
        assert lost.ask(op="settings_put", offset=at, text=text[at : at + 300]) == {"ok": 1}
    applied = lost.ask(op="settings_apply")
    assert "generation" in applied, applied
    assert lost.ask(3, CONFIGURE, op="settings_confirm", generation=applied["generation"])["ok"] == 1
    bench = lost.bench
    turn_key(lost, False)
    bench.run(10000)
    assert not bench.board.config.lost and not bench.board.state.safe_mode
    assert bench.board.state.active == 0, "the node that ran is active again"
    again = Host(bench)
    assert again.ask(op="fence", node="a", by=3)["error"] == "not_allowed"
    assert again.ask(1, VIEW, op="status")["mode"] == "auto"


def test_two_unconfirmed_trials_and_a_restart_lose_no_key() -> None:
    bench = rig()
    before = bench.board.config.current.text()
    for name in ("first", "second"):
        assert "generation" in apply(bench, changed(bench, f"board.name={name}\n"))
    bench.run(62000)
    bench.reset()
    bench.run(5000)
    assert bench.board.config.current.text() == before
    assert not bench.board.state.safe_mode and bench.board.state.active == 0


def test_a_new_board_whose_first_trial_was_cut_off_is_open_as_it_was() -> None:
    bench = Bench()
    bench.files.contents.clear()
    slots.TwoSlots(bench.files, "settings").save(b"board.name=x\n", config.TRIAL)
    bench.power_on()
    bench.run(3000)
    assert not bench.board.config.lost and not bench.board.state.safe_mode
    assert bench.ask(op="settings_begin", length=0, crc=65535) == {"ok": 1}

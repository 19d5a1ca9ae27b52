"""What scenario statements about nodes, cables, power, button and transfer relay do to the fake rack, on every tier.

Pure: it turns words into the state of rack.Rack and its parts; time and wires are the stage's. Statements about the
board and the operator are the stages' own. Called by policy_stage and wired_stage.
"""

from __future__ import annotations

from heartwire.simulate.language import Action, Scenario
from heartwire.simulate.rack import POSITIONS, Rack
from heartwire.simulate.supply import CHATTER_MS, Feed
from heartwire.simulate.vocabulary import time_of
from heartwire_protocol import codes

# What takes time in a service, by the verb that says how long.
TAKES_TIME = {"starts-in": "on_active", "stops-in": "on_standby", "checks-in": "check"}
# Servers do not beat in step.
STAGGER_MS = 130


def set_scene(rack: Rack, scenario: Scenario) -> None:
    """Bring the rack to what it is when the board of `scenario` gets power."""
    rack.allow_two = "two" in scenario.allowed
    # Somebody stands at the board and holds the key switch, so that arming needs no key file.
    rack.key_on = True
    for name in scenario.two_feeds:
        rack.supplies[codes.NODES.index(name)].feeds.append(Feed())
    for node in [node for node in off_nodes(scenario) if node not in late_off(rack, scenario)]:
        rack.supplies[node].off_before_start()
    for node, name in enumerate(scenario.nodes):
        fake = rack.nodes[node]
        fake.beat_every(rack.settings.board.interval_ms)
        fake.beat_from(rack.ms + STAGGER_MS * node)
        if name == scenario.settled:
            fake.serve()


def off_nodes(scenario: Scenario) -> list[int]:
    """Return the nodes that are off when the timeline begins."""
    return [codes.NODES.index(name) for name in scenario.off]


def late_off(rack: Rack, scenario: Scenario) -> list[int]:
    """Return the nodes that are off when a settled timeline begins, but must be heard first: all but cold standbys."""
    if scenario.settled is None:
        return []
    return [node for node in off_nodes(scenario) if rack.settings.nodes[node].standby != "cold"]


def next_beat_ms(rack: Rack) -> int:
    """Return when the first node beats next. A scenario's time begins there, so that its phase is always the same."""
    return next(fake.next_beat_ms for fake in rack.nodes if fake.alive)


def act(rack: Rack, action: Action) -> None:
    """Let `action`, which is about no board and no operator, happen in the rack."""
    if action.subject == "button":
        rack.button_ms = rack.ms + (time_of(action.words[0]) or 0)
    elif action.subject == "key-switch":
        rack.key_on = action.verb == "on"
    elif action.subject == "transfer":
        _transfer(rack, action.verb, action.words)
    else:
        _node(rack, codes.NODES.index(action.subject), action.verb, action.words)


def _transfer(rack: Rack, verb: str, words: tuple[str, ...]) -> None:
    if verb == "moved":
        rack.transfer_at = POSITIONS.index(words[0])
    elif verb in POSITIONS:
        rack.transfer_at, rack.transfer_stuck = POSITIONS.index(verb), True
    else:
        rack.transfer_stuck = verb == "stuck"


def seen(rack: Rack, what: str, node: str) -> str | None:
    """Return what is to be seen of `node` from outside the board: its power, its services, its lease; else None."""
    index = codes.NODES.index(node)
    if what == "power":
        return "on" if rack.supplies[index].powered else "off"
    if what == "serves":
        return "yes" if rack.nodes[index].serving else "no"
    if what == "lease":
        return "yes" if rack.nodes[index].left_ms else "no"
    return None


def _node(rack: Rack, node: int, verb: str, words: tuple[str, ...]) -> None:
    fake = rack.nodes[node]
    supply = rack.supplies[node]
    plain = {
        "crashes": fake.crash, "freezes": fake.freeze, "thaws": fake.thaw, "reboots": supply.reboot,
        "shuts-down": supply.shut_down, "agent-restarts": fake.restart_agent,
        "agent-upgrades": fake.upgrade_agent,
    }  # fmt: skip
    if verb in plain:
        plain[verb]()
    elif verb in ("loses-mains", "gets-mains"):
        supply.mains = verb == "gets-mains"
    elif verb in ("disobeys", "obeys"):
        fake.obey(verb == "obeys")
    elif verb == "stays-down":
        supply.boots = False
    elif verb == "boots-in":
        supply.boots, supply.boot_ms = True, time_of(words[0]) or 0
    elif verb in ("sees-peer", "misses-peer", "knows-no-peer"):
        fake.see_peer({"sees-peer": True, "misses-peer": False}.get(verb))
    elif verb == "beats":
        fake.mute = words[0] == "mute"
        fake.trouble = words[0] if words[0] in ("stuck", "wrong") else ""
        interval_ms = rack.settings.board.interval_ms
        fake.beat_every(interval_ms // 10 if words[0] == "early" else interval_ms)
    elif verb == "beats-every":
        fake.beat_every(time_of(words[0]) or 1000)
    elif verb == "reports":
        _report(rack, node, words)
    elif verb == "epoch":
        fake.claim_epoch(int(words[0]))
    elif verb == "serves":
        fake.serve()
    elif verb == "watchdog":
        fake.arm_watchdog(words[0] == "armed")
    elif verb == "asks-to-fence":
        fake.ask_to_fence(codes.NODES.index(words[0]))
    elif verb == "takes-new-key":
        rack.change_key(node, on_board=False)
        fake.restart_agent()
    elif verb == "speaks-at":
        fake.baud = int(words[0])
    else:
        _part(rack, node, verb, words)


def _report(rack: Rack, node: int, words: tuple[str, ...]) -> None:
    length_ms = (time_of(words[2]) or 0) if len(words) == 3 else 0
    rack.nodes[node].report(codes.number_of(codes.STATES, words[0]), length_ms // 1000)
    if length_ms:
        rack.report_until(node, rack.ms + length_ms)


def _part(rack: Rack, node: int, part: str, words: tuple[str, ...]) -> None:
    supply = rack.supplies[node]
    word = words[0]
    if part == "line":
        _line(rack, node, words)
    elif part == "feed":
        supply.hidden_feed = word == "hidden"
    elif part == "front":
        supply.front_broken = word == "broken"
    elif part == "service" and word in TAKES_TIME:
        rack.nodes[node].take_time(TAKES_TIME[word], time_of(words[1]) or 0)
    elif part == "service":
        rack.nodes[node].fail_service("" if word == "mended" else word)
    else:
        _feed(supply.feeds[1 if part.endswith("2") else 0], part.rstrip("12"), words)


def _feed(feed: Feed, part: str, words: tuple[str, ...]) -> None:
    word = words[0]
    if part == "relay":
        feed.welded = word == "welded"
    elif part == "feed":
        feed.mains = word == "gets-mains"
    else:
        feed.fault = "" if word == "mended" else word
        feed.chatter_ms = (time_of(words[1]) if len(words) > 1 else 0) or CHATTER_MS


def _line(rack: Rack, node: int, words: tuple[str, ...]) -> None:
    word = words[0]
    if word == "records":
        rack.recordings[node].begin(rack.ms, time_of(words[1]) or 0)
        return
    if word == "replays":
        rack.replay(node, on=True)
        return
    if word == "mended":
        rack.replay(node, on=False)
    for kind, where in (("cut", rack.cut), ("deaf", rack.deaf), ("noisy", rack.noisy), ("talks", rack.talking)):
        where.discard(node)
        if word == kind:
            where.add(node)

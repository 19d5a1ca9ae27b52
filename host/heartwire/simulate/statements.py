"""What scenario statements about nodes, cables, power, button and transfer relay do to the fake rack, on every tier.

Pure: it turns words into the state of rack.Rack and its parts; time and wires are the stage's. Statements about the
board and the operator are the stages' own. Called by policy_stage and wired_stage.
"""

from __future__ import annotations

from heartwire.simulate.language import Action, Scenario, time_of
from heartwire.simulate.rack import Rack
from heartwire_protocol import codes, messages

# Servers do not beat in step.
STAGGER_MS = 130


def set_scene(rack: Rack, scenario: Scenario) -> None:
    """Bring the rack to what it is when the board of `scenario` gets power."""
    rack.allow_two = scenario.allow_two
    for name in scenario.off:
        rack.supplies[codes.NODES.index(name)].off_before_start()
    for node, name in enumerate(scenario.nodes):
        fake = rack.nodes[node]
        fake.next_beat_ms = rack.ms + STAGGER_MS * node
        fake.interval_ms = rack.settings.board.interval_ms
        fake.state = codes.STATE_HEALTHY
        if name == scenario.settled:
            fake.running, fake.stopped = True, False


def next_beat_ms(rack: Rack) -> int:
    """Return when the first node beats next. A scenario's time begins there, so that its phase is always the same."""
    return next(fake.next_beat_ms for fake in rack.nodes if fake.alive)


def act(rack: Rack, action: Action) -> None:
    """Let `action`, which is about no board and no operator, happen in the rack."""
    if action.subject == "button":
        rack.button_ms = rack.ms + (time_of(action.words[0]) or 0)
    elif action.subject == "transfer":
        rack.transfer_stuck = action.verb == "stuck"
    else:
        _node(rack, codes.NODES.index(action.subject), action.verb, action.words)


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
    }  # fmt: skip
    known, peer_seen = messages.FLAG_PEER_KNOWN, messages.FLAG_PEER_SEEN
    if verb in plain:
        plain[verb]()
    elif verb in ("loses-mains", "gets-mains"):
        supply.mains = verb == "gets-mains"
    elif verb in ("disobeys", "obeys"):
        fake.obedient = verb == "obeys"
    elif verb == "stays-down":
        supply.boots = False
    elif verb == "boots-in":
        supply.boots, supply.boot_ms = True, time_of(words[0]) or 0
    elif verb in ("sees-peer", "misses-peer", "knows-no-peer"):
        peer = {"sees-peer": known | peer_seen, "misses-peer": known, "knows-no-peer": 0}[verb]
        fake.extra_flags = fake.extra_flags & ~(known | peer_seen) | peer
    elif verb == "beats":
        fake.mute = words[0] == "mute"
        fake.trouble = words[0] if words[0] in ("stuck", "wrong") else ""
        interval_ms = rack.settings.board.interval_ms
        fake.interval_ms = interval_ms // 10 if words[0] == "early" else interval_ms
    elif verb == "beats-every":
        fake.interval_ms = time_of(words[0]) or 1000
    elif verb == "reports":
        _report(rack, node, words)
    elif verb == "epoch":
        fake.epoch = int(words[0])
    elif verb == "serves":
        fake.running, fake.stopped = True, False
    elif verb == "watchdog":
        fake.on_board_loss = "stop" if words[0] == "armed" else "hold"
    elif verb == "asks-to-fence":
        fake.wants_fence = codes.NODES.index(words[0])
    else:
        _part(rack, node, verb, words[0])


def _report(rack: Rack, node: int, words: tuple[str, ...]) -> None:
    fake = rack.nodes[node]
    fake.state = codes.number_of(codes.STATES, words[0])
    if fake.state == codes.STATE_PLANNED_OFF:
        fake.running, fake.stopped = False, True
    if len(words) == 3:
        length = time_of(words[2]) or 0
        fake.busy_s = length // 1000
        rack.report_until(node, rack.ms + length)


def _part(rack: Rack, node: int, part: str, word: str) -> None:
    supply = rack.supplies[node]
    if part == "line":
        for kind, where in (("cut", rack.cut), ("deaf", rack.deaf), ("noisy", rack.noisy)):
            where.discard(node)
            if word == kind:
                where.add(node)
    elif part == "relay":
        supply.welded = word == "welded"
    elif part == "feed":
        supply.hidden_feed = word == "hidden"
    else:
        supply.sense_stuck = {"stuck-on": True, "stuck-off": False, "mended": None}[word]

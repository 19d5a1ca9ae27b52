"""The rack of a scenario: fake nodes, their power, their cables, the transfer relay and the button, at any moment.

It knows what each part does as time passes, and nothing of how bytes and pins reach a board or how its time is made:
whoever owns the board (bench.py, wired_stage.py) calls `pass_time` with the levels of the board's outputs, carries what
comes back, and shows the board `inputs`. It checks two laws of physics and notes each breach in `violations`: two nodes
serve at once, and the relays of all nodes are cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heartwire.simulate.agent_node import AgentNode
from heartwire.simulate.body import Node
from heartwire.simulate.node import FakeNode
from heartwire.simulate.supply import Supply
from heartwire_protocol import codes, settings

SENSES = (("SENSE_A1", "SENSE_A2"), ("SENSE_B1", "SENSE_B2"), ("SENSE_SPARE",))
POWER = ("POWER_A", "POWER_B", "POWER_SPARE")
FRONT = ("FRONT_A", "FRONT_B", "FRONT_SPARE")
TRANSFER = ("TRANSFER_SET_A", "TRANSFER_SET_B")
# What a rack's nodes are: fake agents, or the product's own. A node with the plain-text profile is a script in either.
KINDS = ("fake", "agent")
# Positions of the transfer relay: at a node, or where its contacts say neither or both.
POSITIONS = ("a", "b", "between", "both")
KEYS = tuple(bytes([0x41 + node]) * 32 for node in range(3))
# What comes of a frame at the wrong bit rate.
GARBLED = bytes((0xFE, 0x78, 0x80, 0xF8, 0x98, 0x00))
# What a disturbed line carries now and then: a frame of no type with a wrong CRC.
NOISE = bytes((0x00, 0x07, 0x55, 0xAA, 0x13, 0x77, 0x42, 0x99, 0x00))
NOISE_EVERY_MS = 500
# A kernel's console: text at the line's own rate, in which nothing looks like the end of a frame.
CONSOLE = b"[    4.215033] kdump: saving vmcore, 45 % of the memory is written\r\n"


def make_node(kind: str, node: int, key: bytes | None) -> Node:
    """Return a node of `kind` (KINDS) with its key."""
    return AgentNode(node, key) if kind == "agent" else FakeNode(node, key)


def key_of(node: int, generation: int) -> bytes:
    """Return the key of `node` after it was changed `generation` times."""
    return KEYS[node] if not generation else bytes([KEYS[node][0], generation & 255]) * 16


def settings_of(text: str, nodes: int, keyed: bool) -> settings.Settings:
    """Return the settings `text` for the first `nodes` nodes, with the rack's keys. ValueError for bad ones."""
    if keyed:
        text += "".join(f"node.{codes.NODES[node]}.key={KEYS[node].hex()}\n" for node in range(nodes))
    if nodes > 2:
        text += "node.spare.enabled=1\n"
    if nodes < 2:
        text += "node.b.enabled=0\n"
    found, problems = settings.parse(text)
    if problems:
        raise ValueError(str(problems))
    for node in found.nodes:
        if node.profile == "text":
            node.key = ""
    return found


class Recording:
    """What went over a line to the board for a while, and is played back to it again and again."""

    def __init__(self) -> None:
        self._from_ms = 0
        self._length_ms = 0
        self._kept: list[tuple[int, bytes]] = []
        self._play_ms: int | None = None
        self._next = 0

    @property
    def plays(self) -> bool:
        """Tell whether it is played back."""
        return self._play_ms is not None

    def begin(self, ms: int, length_ms: int) -> None:
        """Keep what goes over the line from `ms` for `length_ms`."""
        self._from_ms, self._length_ms, self._kept = ms, max(1, length_ms), []
        self._play_ms = None

    def replay(self, ms: int | None) -> None:
        """Play it back from `ms` on; with None, end that."""
        self._play_ms, self._next = ms, 0

    def keep(self, ms: int, sent: list[bytes]) -> None:
        """Take what was sent at `ms`."""
        if self._from_ms < ms <= self._from_ms + self._length_ms:
            self._kept += [(ms - self._from_ms, data) for data in sent]

    def play(self, ms: int) -> list[bytes]:
        """Return what is played back up to `ms`, since the last time."""
        found: list[bytes] = []
        while self._play_ms is not None and self._kept:
            rounds, at = divmod(self._next, len(self._kept))
            after_ms, data = self._kept[at]
            if self._play_ms + rounds * self._length_ms + after_ms > ms:
                break
            found.append(data)
            self._next += 1
        return found


class Rack:
    """The servers that `found` describes, the first `nodes` of them; all on, none heard yet."""

    nodes: Sequence[Node]  # of `kind`

    def __init__(self, found: settings.Settings, nodes: int, keyed: bool = True, kind: str = KINDS[0]) -> None:
        self.settings = found
        self.nodes = [
            make_node("fake" if row.profile == "text" else kind, node, KEYS[node] if keyed else None)
            for node, row in enumerate(found.nodes[:nodes])
        ]
        self.supplies = [Supply(node) for node in self.nodes]
        for node, supply in enumerate(self.supplies):
            row = found.nodes[node]
            supply.front = row.front
            fake = self.nodes[node]
            fake.on_board_loss = row.on_board_loss
            fake.self_fence_ms = row.self_fence_ms
            fake.speaks_text = row.profile == "text"
        self.cut: set[int] = set()  # lines that carry nothing
        self.deaf: set[int] = set()  # lines that carry nothing to the node
        self.noisy: set[int] = set()  # lines with errors only
        self.talking: set[int] = set()  # lines with a kernel's console only
        self.recordings = [Recording() for _ in range(nodes)]
        self.heard_ms = [0] * nodes  # when their last good heartbeats were sent to the board
        self._sent_ms = [0] * nodes
        self.ms = 0
        self.violations: list[tuple[int, str]] = []
        self.allow_two = False
        self.button_ms = 0  # the button is held up to this moment
        self.key_on: bool | None = None  # the key switch; None: it is somebody else's
        self.key_generations = [0] * nodes  # of the keys that nodes sign with
        self.board_generations = [0] * nodes  # of the keys that the board has for them
        self.transfer_at = 0  # of POSITIONS
        self.transfer_stuck = False
        self._timers: list[tuple[int, int]] = []  # (ms, node) whose reported state ends
        self._next_noise_ms = [0] * nodes
        self._told: set[str] = set()

    @property
    def powered(self) -> list[bool]:
        """Tell which nodes have power."""
        return [supply.powered for supply in self.supplies]

    def report_until(self, node: int, ms: int) -> None:
        """Let the state that `node` reports end at `ms`."""
        self._timers.append((ms, node))

    def change_key(self, node: int, on_board: bool) -> bytes:
        """Change the key of `node` on the board, or on the node itself; return the new one."""
        generations = self.board_generations if on_board else self.key_generations
        generations[node] += 1
        key = key_of(node, generations[node])
        if not on_board:
            self.nodes[node].take_key(key)
        self._note_foreign(node)
        return key

    def replay(self, node: int, on: bool) -> None:
        """Play back what was recorded on the line of `node` from now on, or end that."""
        self.recordings[node].replay(self.ms if on else None)
        self._note_foreign(node)

    def _note_foreign(self, node: int) -> None:
        keys_differ = self.board_generations[node] != self.key_generations[node]
        self.nodes[node].foreign = keys_differ or self.recordings[node].plays

    def pass_time(self, elapsed: int, outputs: Mapping[str, int]) -> list[tuple[int, bytes]]:
        """Let `elapsed` milliseconds pass under the board's `outputs` (asserted by signal, none where it is off).

        Return what arrives at the board, as (node, bytes).
        """
        self.ms += elapsed
        for at, node in [timer for timer in self._timers if timer[0] <= self.ms]:
            self._timers.remove((at, node))
            if self.nodes[node].alive:
                self.nodes[node].end_report()
        sent: list[tuple[int, bytes]] = []
        for node, fake in enumerate(self.nodes):
            cut, pressed = bool(outputs.get(POWER[node])), bool(outputs.get(FRONT[node]))
            if self.supplies[node].step(elapsed, cut, pressed):
                fake.beat_from(self.ms)
            fake.advance(elapsed)
            if fake.bitten:
                fake.bitten = False
                self.supplies[node].reboot()
            sent += [(node, data) for data in self._send(node, fake)]
        if not self.transfer_stuck:
            for node, signal in enumerate(TRANSFER):
                if outputs.get(signal):
                    self.transfer_at = node
                    break
        self._check(outputs)
        return sent

    def hear(self, node: int, data: bytes) -> None:
        """Carry what the board sends to `node`, if its line and the node take it."""
        if self.nodes[node].alive and node not in self.cut and node not in self.deaf:
            self.nodes[node].hear(data)

    def inputs(self) -> dict[str, int]:
        """Return what the board's inputs show, asserted by signal."""
        levels: dict[str, int] = {}
        for node, supply in enumerate(self.supplies):
            for signal, on in zip(SENSES[node], supply.sensed, strict=False):
                levels[signal] = int(on)
        at = POSITIONS[self.transfer_at]
        levels["TRANSFER_AT_A"] = int(at in ("a", "both"))
        levels["TRANSFER_AT_B"] = int(at in ("b", "both"))
        if self.key_on is not None:
            levels["KEY"] = int(self.key_on)
        levels["BUTTON"] = int(self.button_ms > self.ms)
        return levels

    def _send(self, node: int, fake: Node) -> list[bytes]:
        found = fake.due(self.ms)
        noisy = node in self.noisy or node in self.talking
        # A key that the board has never got makes heartbeats wrong; one that it had before does not make a server ill.
        unknown = self.key_generations[node] > self.board_generations[node]
        if found and not (noisy or unknown or node in self.cut or fake.trouble):
            if self.ms - self._sent_ms[node] >= self.settings.board.early_ms:
                self.heard_ms[node] = self.ms
            self._sent_ms[node] = self.ms
        if noisy:
            found = []
            if self.ms >= self._next_noise_ms[node]:
                self._next_noise_ms[node] = self.ms + NOISE_EVERY_MS
                found = [NOISE if node in self.noisy else CONSOLE]
        found = [] if node in self.cut else found
        recording = self.recordings[node]
        recording.keep(self.ms, found)
        return found + recording.play(self.ms)

    def _check(self, outputs: Mapping[str, int]) -> None:
        serving = [codes.NODES[node] for node, fake in enumerate(self.nodes) if fake.serving]
        if len(serving) > 1 and not self.allow_two:
            self.violate(f"{' and '.join(serving)} serve at once")
        if len(self.nodes) > 1 and all(outputs.get(POWER[node]) for node in range(len(self.nodes))):
            self.violate("the relays of all nodes are cut at once")

    def violate(self, words: str) -> None:
        """Note that a law is broken, once for the same words."""
        if words not in self._told:
            self._told.add(words)
            self.violations.append((self.ms, words))

"""The virtual tier: a scenario on the real firmware on the MicroPython VM, with real agents, in real time.

Servers are virtual_product.ProductRack's; operator requests go over the host link, events are read from the journal.
What only fake nodes can do (altered heartbeats, reported states, ...) is refused before anything starts. Called by the
runner's users through tiers.open_stage.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartwire.board import Board
from heartwire.errors import HeartwireError, Refused, UsageProblem
from heartwire.journal import Entry
from heartwire.simulate.language import Action, Scenario, ScenarioError, time_of
from heartwire.simulate.run import Happened
from heartwire.virtual.cable import TO_BOARD, TO_SERVER
from heartwire.virtual.product import ProductRack
from heartwire_protocol import settings

POLL_S = 0.4
SETTLE_S = 40.0
NODE_VERBS = ("crashes", "freezes", "thaws", "reboots", "shuts-down", "loses-mains", "gets-mains", "line", "relay",
              "sense", "feed", "beats")  # fmt: skip
BOARD_VERBS = ("loses-power", "gets-power", "resets")
OPERATIONS = (
    "mode", "switchover", "emergency", "cancel", "fence", "fence-last", "release", "clear", "readopt", "declare",
    "maintenance", "approve", "deny", "schedule", "update", "restart", "time",
)  # fmt: skip


class ScenarioRack(ProductRack):
    """A product rack with a scenario's settings at their real length."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self._lines = [line.split("=", 1) for line in scenario.settings_text.split()]
        found, _ = settings.parse(scenario.settings_text)
        self._losses = {found.nodes[index].on_board_loss for index in range(len(scenario.nodes))}
        super().__init__(
            directory,
            nodes=scenario.nodes,
            timings={"interval_ms": found.board.interval_ms},
            on_board_loss=found.nodes[0].on_board_loss,
            respawn_ms=300,
        )

    def _config_text(self) -> str:
        sections: dict[str, list[str]] = {"board": []}
        for node in self.nodes:
            sections[f"node.{node}"] = ["enabled = true", f'key_file = "{node}.key"']
        if len(self.nodes) < 2:
            sections["node.b"] = ["enabled = false"]
        sections["board"] += ['operate_key_file = "host.keys"', 'configure_key_file = "host.keys"']
        for path, value in self._lines:
            section, name = path.rsplit(".", 1)
            kind = settings.row_of(path)[0][1]
            shown = ("true" if value == "1" else "false") if kind == settings.BOOL else value
            sections[section].append(
                f"{name} = {shown}" if kind in (settings.BOOL, settings.INT) else f'{name} = "{value}"'
            )
        return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())


class VirtualStage:
    """A scenario's rack, settled; fulfils run.Stage."""

    slack_ms = 2500

    def __init__(self, scenario: Scenario) -> None:
        problem = self._problem(scenario)
        if problem:
            raise UsageProblem(f"{scenario.name}: {problem}", "run it with --tier policy")
        self._folder = tempfile.TemporaryDirectory(prefix="heartwire-scenario-")
        self._rack = ScenarioRack(Path(self._folder.name), scenario)
        self.happened: list[Happened] = []
        self._after = 0
        self._zero_ns = 0
        self._began: dict[int, int] = {}
        try:
            self._settle(scenario)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _problem(scenario: Scenario) -> str:
        if scenario.settled is None or scenario.off or not scenario.keyed or scenario.allow_two:
            return "the virtual tier needs `start MODE with NODE`, keys, and servers that are on"
        for action in scenario.actions:
            known = {"operator": OPERATIONS, "board": BOARD_VERBS, "button": ("held",)}.get(action.subject, NODE_VERBS)
            if action.verb not in known or (action.verb == "beats" and action.words[0] not in ("mute", "well")):
                return f"line {action.line}: {action.subject} {action.verb} needs a fake node"
        return ""

    def _settle(self, scenario: Scenario) -> None:
        rack = self._rack
        rack.start()
        if scenario.mode in ("approve", "auto"):
            with rack.open() as board:
                self._wait(lambda: all(node.verdict == "good" for node in board.nodes()), "not all nodes are heard")
                board.set_mode(scenario.mode)
                self._wait(lambda: board.status().active is not None, "nobody is active")
                if board.status().active != scenario.settled:
                    board.switchover(str(scenario.settled))
                self._wait(lambda: board.status().active == scenario.settled, f"{scenario.settled} is not active")
                self._wait(lambda: rack.is_running(str(scenario.settled)), f"{scenario.settled} does not run")
        else:
            raise UsageProblem(f"{scenario.name}: the virtual tier starts in approve or auto mode", "use --tier policy")
        time.sleep(1.5)
        self._zero_ns = time.monotonic_ns()
        self._poll()
        self.happened.clear()

    @staticmethod
    def _wait(condition: Callable[[], bool], words: str) -> None:
        end = time.monotonic() + SETTLE_S
        while not condition():
            if time.monotonic() > end:
                raise ScenarioError(f"the scenario cannot start: {words}")
            time.sleep(0.2)

    def _ms(self) -> int:
        return (time.monotonic_ns() - self._zero_ns) // 1_000_000

    def run_until(self, ms: int) -> None:
        """Let real time pass up to `ms`, reading the journal."""
        while True:
            self._poll()
            left_s = (ms - self._ms()) / 1000
            if left_s <= 0:
                return
            time.sleep(min(POLL_S, left_s))

    def _poll(self) -> None:
        if self._rack.board.state != "running":
            return
        try:
            with self._rack.open() as board:
                for found in board.events(self._after):
                    if isinstance(found, Entry):
                        self._take(found)
        except HeartwireError:
            return  # the board is on its way down or up; it keeps its journal

    def _take(self, entry: Entry) -> None:
        self._after = entry.sequence
        began = self._began.setdefault(entry.boot, self._rack.board.main_ns)
        ms = (began - self._zero_ns) // 1_000_000 + entry.uptime_ms
        self.happened.append(Happened(ms, entry.event, entry.node, entry.reason, entry.a, entry.b))

    def violations(self) -> list[tuple[int, str]]:
        """The ledger of the services is judged by the demo and its tests; nothing more is watched here."""
        return []

    def close(self) -> None:
        """End everything and remove its files."""
        self._rack.close()
        self._folder.cleanup()

    def look(self, what: str, node: str | None) -> str:
        """Return what is to be seen now."""
        if what == "power" and node:
            return "on" if self._rack.supplies[node].powered else "off"
        if what == "serves" and node:
            return "yes" if self._rack.is_running(node) else "no"
        if self._rack.board.state != "running":
            return "the board is off"
        with self._rack.open() as board:
            if node is not None:
                return self._look_at(board, what, node)
            status = board.status()
            found: dict[str, Any] = {
                "active": status.active or "nobody", "holder": status.holder or "nobody", "mode": status.mode,
                "epoch": status.epoch, "phase": status.phase, "alarm": "on" if status.alarm else "off",
                "held": status.held or "nothing", "safe-mode": "on" if status.safe else "off",
            }  # fmt: skip
            return str(found.get(what, f"{what} cannot be seen here"))

    @staticmethod
    def _look_at(board: Board, what: str, node: str) -> str:
        seen = board.node(node)
        found: dict[str, Any] = {
            "role": seen.role, "verdict": seen.verdict, "relay": "cut" if seen.relay else "closed",
            "quarantined": "yes" if seen.role == "quarantined" else "no", "locked": "yes" if seen.locked else "no",
            "lease": "yes" if seen.lease_ms else "no",
        }  # fmt: skip
        return str(found.get(what, f"{what} cannot be seen here"))

    def do(self, action: Action) -> str | None:
        """Let something happen."""
        if action.subject == "operator":
            return self._operate(action)
        if action.subject == "board":
            act = {"loses-power": "power_off", "gets-power": "power_on", "resets": "hang"}[action.verb]
            getattr(self._rack.board, act)()
        elif action.subject == "button":
            self._rack.board.set_input("BUTTON", True)
            length_s = (time_of(action.words[0]) or 0) / 1000
            threading.Timer(length_s, lambda: self._rack.board.set_input("BUTTON", False)).start()
        else:
            self._node(action.subject, action.verb, action.words)
        return None

    def _operate(self, action: Action) -> str | None:
        verb, words = action.verb, action.words
        name = {"emergency": "switchover", "fence-last": "fence"}.get(verb, verb)
        arguments: dict[str, Any] = {}
        if verb == "mode":
            arguments["mode"] = words[0]
        elif verb in ("maintenance", "schedule"):
            arguments = {"node": None if words[0] == "board" else words[0], "seconds": int(words[1])}
        elif verb == "update":
            arguments["seconds"] = int(words[0])
        elif words:
            arguments["node"] = words[0]
        if name == "switchover":
            arguments["force"] = int(verb == "emergency")
        elif name == "fence":
            arguments["last"] = int(verb == "fence-last")
        with self._rack.open() as board:
            try:
                if verb == "time":
                    board.set_time()
                elif verb in ("approve", "deny"):
                    approval = board.status().approval
                    board.link.request(name, request=approval["request"] if approval else 0)
                else:
                    board.link.request(name, **arguments)
            except Refused as refusal:
                return refusal.reason
        return None

    def _node(self, node: str, verb: str, words: tuple[str, ...]) -> None:
        server, cable, supply = self._rack.servers[node], self._rack.cables[node], self._rack.supplies[node]
        if verb == "line" or verb == "beats":
            {
                "cut": cable.cut, "deaf": lambda: cable.one_way(TO_BOARD), "noisy": lambda: cable.noise(0.5),
                "mended": cable.mend, "mute": lambda: cable.one_way(TO_SERVER), "well": cable.mend,
            }[words[0]]()  # fmt: skip
        elif verb == "relay":
            supply.weld(words[0] == "welded")
        elif verb == "sense":
            supply.stick_sense({"stuck-on": True, "stuck-off": False, "mended": None}[words[0]])
        elif verb == "feed":
            supply.add_hidden_feed() if words[0] == "hidden" else supply.remove_hidden_feed()
        elif verb in ("loses-mains", "gets-mains"):
            supply.set_mains(verb == "gets-mains")
        else:
            calls: dict[str, Callable[[], None]] = {
                "crashes": server.crash, "freezes": server.freeze, "thaws": server.thaw, "reboots": server.reset,
                "shuts-down": server.shut_down,
            }  # fmt: skip
            calls[verb]()

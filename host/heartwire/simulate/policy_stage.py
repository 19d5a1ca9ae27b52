"""The policy tier: a scenario on the firmware's own supervisor and policy, on fake hardware, in virtual time.

Time moves in steps of STEP_MS, finer than any limit a scenario may set. Operator requests go straight to the board, as
after the host link checked them. Called by the runner's users through tiers.open_stage.
"""

from __future__ import annotations

from collections.abc import Callable

from heartwire.simulate.bench import Bench
from heartwire.simulate.language import Action, Scenario, ScenarioError, time_of
from heartwire.simulate.run import Happened, record
from heartwire_firmware import lights, policy_requests, policy_state
from heartwire_protocol import codes, messages, operations, reasons

STEP_MS = 20
SETTLE_MS = 120000


class PolicyStage:
    """A scenario's bench, settled; fulfils run.Stage."""

    slack_ms = 0

    def __init__(self, scenario: Scenario) -> None:
        self._bench = Bench(scenario.settings_text, len(scenario.nodes), scenario.keyed, on=False)
        self._bench.allow_two = scenario.allow_two
        for name in scenario.off:
            self._bench.supplies[codes.NODES.index(name)].off_before_start()
        for node, name in enumerate(scenario.nodes):
            # Servers do not beat in step.
            self._bench.nodes[node].next_beat_ms = 130 * node
            self._bench.nodes[node].state = codes.STATE_HEALTHY
            if name == scenario.settled:
                self._bench.nodes[node].running, self._bench.nodes[node].stopped = True, False
        self._bench.power_on()
        self._kept: dict[str, bytes] = {}
        self._zero_ms = 0
        self._timers: list[tuple[int, int]] = []  # (ms, node) whose reported state ends
        self._settle(scenario)
        self._zero_ms = self._bench.ms
        self._seen = len(self._bench.happened)
        self._bench.violations.clear()
        self.happened: list[Happened] = []

    def _settle(self, scenario: Scenario) -> None:
        bench = self._bench
        if scenario.settled is None:
            bench.board.state.mode = codes.MODES.index(scenario.mode)
            return
        node = codes.NODES.index(scenario.settled)
        state = bench.board.state
        mode = codes.MODES.index(scenario.mode)
        bench.step(STEP_MS)
        armed = mode >= codes.MODE_APPROVE
        self._wait(lambda: bench.board.facts.verdict[node] == codes.VERDICT_GOOD, f"{scenario.settled} is not heard")
        if mode != state.mode and bench.board.request(policy_requests.MODE, codes.NO_NODE, mode):
            raise ScenarioError(f"{scenario.name}: the mode could not be set")
        self._wait(lambda: state.active == node and not state.awaiting_running, f"{scenario.settled} is not active")
        off = [codes.NODES.index(name) for name in scenario.off]
        others = [other for other in range(len(scenario.nodes)) if other not in off]
        self._wait(
            lambda: all(bench.board.facts.verdict[other] == codes.VERDICT_GOOD for other in others), "not all are heard"
        )
        # The evidence of the senses is durable, and the node has its lease.
        self._wait(lambda: not bench.board.journal.waiting and (not armed or bench.nodes[node].serving), "no rest")

    def _wait(self, condition: Callable[[], bool], words: str) -> None:
        end = self._bench.ms + SETTLE_MS
        while not condition():
            if self._bench.ms >= end:
                raise ScenarioError(f"the scenario cannot start: {words}\n{self._bench.story()}")
            self._bench.step(STEP_MS)

    def run_until(self, ms: int) -> None:
        """Let time pass up to `ms` after the settled start."""
        bench = self._bench
        while bench.ms - self._zero_ms < ms:
            bench.step(min(STEP_MS, ms - (bench.ms - self._zero_ms)))
            for at, node in [timer for timer in self._timers if timer[0] <= bench.ms]:
                self._timers.remove((at, node))
                if bench.nodes[node].alive:
                    bench.nodes[node].state, bench.nodes[node].busy_s = codes.STATE_HEALTHY, 0
        self._collect()

    def _collect(self) -> None:
        bench = self._bench
        for row in bench.happened[self._seen :]:
            self.happened.append(record(row[0] - self._zero_ms, *row[1:]))
        self._seen = len(bench.happened)

    def violations(self) -> list[tuple[int, str]]:
        """Return the laws of physics that were broken."""
        return [(ms - self._zero_ms, words) for ms, words in self._bench.violations]

    def close(self) -> None:
        """Nothing is to be ended."""

    def look(self, what: str, node: str | None) -> str:
        """Return what is to be seen now."""
        bench = self._bench
        state = bench.board.state
        facts = bench.board.facts
        if node is not None:
            index = codes.NODES.index(node)
            found = {
                "role": codes.ROLES[state.role[index]],
                "verdict": codes.VERDICTS[facts.verdict[index]],
                "power": "on" if bench.supplies[index].powered else "off",
                "relay": "cut" if bench.board.relays.commanded[index] else "closed",
                "serves": "yes" if bench.nodes[index].serving else "no",
                "quarantined": "yes" if state.quarantined[index] else "no",
                "locked": "yes" if state.locked[index] else "no",
                "lease": "yes" if bench.nodes[index].left_ms else "no",
            }
            return found[what]
        return {
            "active": codes.name_of((*codes.NODES, "nobody"), state.active),
            "holder": codes.name_of((*codes.NODES, "nobody"), state.holder),
            "mode": codes.MODES[state.mode],
            "epoch": str(state.epoch),
            "phase": policy_state.PHASES[state.phase],
            "alarm": "on" if lights.is_alarm(state, facts) else "off",
            "held": codes.name_of(reasons.REASONS, state.held) if state.held else "nothing",
            "safe-mode": "on" if state.safe_mode else "off",
            "transfer": codes.NODES[bench.transfer_at],
            "led": "on" if bench.hardware.pins.levels["LED_STATUS"] else "off",
        }[what]

    def do(self, action: Action) -> str | None:
        """Let something happen."""
        if action.subject == "operator":
            return self._operate(action)
        if action.subject == "board":
            self._board(action.verb, action.words)
        elif action.subject == "button":
            self._bench.button_ms = self._bench.ms + (time_of(action.words[0]) or 0)
        elif action.subject == "transfer":
            self._bench.transfer_stuck = action.verb == "stuck"
        else:
            return self._node(codes.NODES.index(action.subject), action.verb, action.words)
        return None

    def _operate(self, action: Action) -> str | None:
        board = self._bench.board
        verb = action.verb
        if verb == "time":
            board.set_wall(20000, 43200000)
            return None
        if verb == "restart":
            board.stop(1)
            return None
        node = codes.NO_NODE
        argument = 0
        if action.words and action.words[0] in codes.NODES:
            node = codes.NODES.index(action.words[0])
        if verb == "mode":
            argument = codes.MODES.index(action.words[0])
        elif verb in ("emergency", "fence-last"):
            argument = 1
        elif verb in ("approve", "deny"):
            argument = board.state.request_number
        elif verb in ("maintenance", "schedule"):
            argument = int(action.words[1])
        elif verb == "update":
            argument = int(action.words[0])
        name = {"emergency": "switchover", "fence-last": "fence"}.get(verb, verb)
        row = operations.operation_row(name)
        reason = board.request(row[0], node, argument)
        self._collect()
        return codes.name_of(reasons.REASONS, reason) if reason else None

    def _board(self, verb: str, words: tuple[str, ...]) -> None:
        bench = self._bench
        if verb == "resets":
            bench.reset()
        elif verb == "loses-power":
            bench.power_cut()
        elif verb == "gets-power":
            bench.power_on()
        elif verb == "forgets":
            for name in list(bench.files.contents):
                if not name.startswith("settings"):
                    del bench.files.contents[name]
        elif verb == "stores":
            self._kept = dict(bench.files.contents)
        elif verb == "restores":
            bench.files.contents.clear()
            bench.files.contents.update(self._kept)
        elif verb == "bad-boots":
            bench.scratch[1] = 4
        elif verb == "stalls":
            bench.step(400)

    def _node(self, node: int, verb: str, words: tuple[str, ...]) -> str | None:
        bench = self._bench
        fake = bench.nodes[node]
        supply = bench.supplies[node]
        plain = {
            "crashes": fake.crash, "freezes": fake.freeze, "thaws": fake.thaw, "reboots": supply.reboot,
            "shuts-down": supply.shut_down, "agent-restarts": fake.restart_agent,
        }  # fmt: skip
        known, seen = messages.FLAG_PEER_KNOWN, messages.FLAG_PEER_SEEN
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
            peer = {"sees-peer": known | seen, "misses-peer": known, "knows-no-peer": 0}[verb]
            fake.extra_flags = fake.extra_flags & ~(known | seen) | peer
        elif verb == "beats":
            fake.mute = words[0] == "mute"
            fake.trouble = words[0] if words[0] in ("stuck", "wrong") else ""
            fake.interval_ms = 100 if words[0] == "early" else 1000
        elif verb == "beats-every":
            fake.interval_ms = time_of(words[0]) or 1000
        elif verb == "reports":
            fake.state = codes.number_of(codes.STATES, words[0])
            if fake.state == codes.STATE_PLANNED_OFF:
                fake.running, fake.stopped = False, True
            if len(words) == 3:
                length = time_of(words[2]) or 0
                fake.busy_s = length // 1000
                self._timers.append((bench.ms + length, node))
        elif verb == "epoch":
            fake.epoch = int(words[0])
        elif verb == "serves":
            fake.running, fake.stopped = True, False
        elif verb == "watchdog":
            fake.on_board_loss = "stop" if words[0] == "armed" else "hold"
        elif verb == "asks-to-fence":
            board = bench.board
            board._fence_for_peer(node, codes.NODES.index(words[0]))
        elif verb == "line":
            for kind, where in (("cut", bench.cut), ("deaf", bench.deaf), ("noisy", bench.noisy)):
                where.discard(node)
                if words[0] == kind:
                    where.add(node)
        elif verb == "relay":
            supply.welded = words[0] == "welded"
        elif verb == "feed":
            supply.hidden_feed = words[0] == "hidden"
        elif verb == "sense":
            supply.sense_stuck = {"stuck-on": True, "stuck-off": False, "mended": None}[words[0]]
        return None

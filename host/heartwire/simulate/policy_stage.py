"""The policy tier: a scenario on the firmware's own supervisor and policy, on fake hardware, in virtual time.

Time moves in steps of STEP_MS, finer than any limit a scenario may set. Operator requests go straight to the board, as
after the host link checked them; those that are about settings, keys, rights or tests go over the host link, which
takes some milliseconds. Called by the runner's users through tiers.open_stage.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from heartwire.answers import EPOCH_DAY
from heartwire.board import Board
from heartwire.errors import HeartwireError
from heartwire.link import Link
from heartwire.simulate import operators, statements, vocabulary
from heartwire.simulate.bench import Bench, BenchChannel
from heartwire.simulate.hardware import FakeTicks
from heartwire.simulate.language import Action, Scenario, ScenarioError
from heartwire.simulate.rack import KINDS, POSITIONS
from heartwire.simulate.rules import Rules
from heartwire.simulate.run import Happened, record
from heartwire.simulate.watch import Watch
from heartwire_firmware import lights, policy_state, starts
from heartwire_protocol import codes, operations, reasons
from heartwire_protocol.operations import DAY_MS

STEP_MS = 20
SETTLE_MS = 120000
# What an operator with all keys asks straight from the supervisor.
DIRECT = (
    "mode", "switchover", "emergency", "schedule", "cancel", "fence", "fence-last", "release", "clear", "readopt",
    "declare", "maintenance", "approve", "deny", "update", "restart", "time",
)  # fmt: skip


class PolicyStage:
    """A scenario's bench, settled; fulfils run.Stage."""

    slack_ms = 0

    def __init__(self, scenario: Scenario, kind: str = KINDS[0]) -> None:
        self._host_keys = scenario.host_keys
        text = operators.with_host_keys(scenario.settings_text, scenario.host_keys)
        start = scenario.uptime_ms % FakeTicks.PERIOD
        self._bench = Bench(text, len(scenario.nodes), scenario.keyed, start, on=False, kind=kind)
        for node, fake in enumerate(self._bench.nodes):
            fake.baud = self._bench.settings.nodes[node].baud
        statements.set_scene(self._bench, scenario)
        self._desk = operators.Desk(self._bench)
        self._bench.power_on()
        clock = self._bench.board.clock
        clock.day, clock.ms = divmod(scenario.uptime_ms, DAY_MS)
        self._kept: dict[str, bytes] = {}
        self._zero_ms = 0
        self._settle(scenario)
        self._zero_ms = self._bench.ms
        self._seen = len(self._bench.happened)
        self._bench.violations.clear()
        self.happened: list[Happened] = []
        self._rules = Rules(self._bench, scenario)
        self._watch = Watch(self._bench)
        self._look_around()
        self.happened.append(Happened(0, "", "", "", words=self._watch.story()))

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
        if mode != state.mode and bench.board.request(operations.MODE, codes.NO_NODE, mode):
            raise ScenarioError(f"{scenario.name}: the mode could not be set")
        self._wait(lambda: state.active == node and not state.awaiting_running, f"{scenario.settled} is not active")
        late = statements.late_off(bench, scenario)
        off = [node for node in statements.off_nodes(scenario) if node not in late]
        verdicts = bench.board.facts.verdict
        others = [other for other in range(len(scenario.nodes)) if other not in off]
        self._wait(lambda: all(verdicts[other] == codes.VERDICT_GOOD for other in others), "not all are heard")
        for other in late:
            bench.supplies[other].off_before_start()
        self._wait(lambda: all(verdicts[other] == codes.VERDICT_DEAD for other in late), "not all are off")
        # The evidence of the senses is durable, and the node has its lease.
        self._wait(lambda: not bench.board.journal.waiting and (not armed or bench.nodes[node].serving), "no rest")
        beat_ms = statements.next_beat_ms(bench)
        self._wait(lambda: bench.ms >= beat_ms, "no heartbeat")

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
            self._collect()
            self._look_around()
            self._rules.look(bench.outputs, bench.board if bench.board_on else None)
            if bench.board_on and self._desk.is_due(bench.ms):
                self._ask(self._desk.follow_up)
        self._collect()

    def _look_around(self) -> None:
        """Note what can be seen to have changed."""
        bench = self._bench
        board = bench.board
        alarm, led = "off", "dark: the board is off"
        if bench.board_on:
            alarm = "on" if lights.is_alarm(board.state, board.facts) else "off"
            led = lights.PATTERNS[lights.pattern_of(board.state, board.facts)][0]
        for node, words in self._watch.look(bench.outputs, alarm, led):
            self.happened.append(Happened(bench.ms - self._zero_ms, "", node, "", words=words))

    def catch_up(self) -> None:
        """Everything has been told already; what the rules of the whole run still say is added."""
        self._rules.end()

    def _collect(self) -> None:
        bench = self._bench
        if self._seen == len(bench.happened):
            return
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
                "relay": "cut" if bench.board.relays.commanded[index] else "closed",
                "quarantined": "yes" if state.quarantined[index] else "no",
                "locked": "yes" if state.locked[index] else "no",
            }
            return statements.seen(bench, what, node) or found[what]
        return {
            "active": codes.name_of((*codes.NODES, "nobody"), state.active),
            "holder": codes.name_of((*codes.NODES, "nobody"), state.holder),
            "mode": codes.MODES[state.mode],
            "epoch": str(state.epoch),
            "phase": policy_state.PHASES[state.phase],
            "alarm": "on" if lights.is_alarm(state, facts) else "off",
            "held": codes.name_of(reasons.REASONS, state.held) if state.held else "nothing",
            "safe-mode": "on" if state.safe_mode else "off",
            "transfer": POSITIONS[bench.transfer_at],
            "led": self._lamp("LED_STATUS"),
            "guarding": self._lamp("GUARDING"),
            "led-pattern": vocabulary.PATTERNS[lights.pattern_of(state, facts)],
        }[what]

    def _lamp(self, signal: str) -> str:
        return "on" if self._bench.board_on and self._bench.hardware.pins.levels[signal] else "off"

    def do(self, action: Action) -> str | None:
        """Let something happen."""
        if action.subject == "operator":
            refused = self._operate(action)
            if refused is None:
                self._rules.note(action)
            return refused
        self._rules.note(action)
        if action.subject == "board":
            self._board(action.verb)
        else:
            statements.act(self._bench, action)
        return None

    def _operate(self, action: Action) -> str | None:
        board = self._bench.board
        verb = action.verb
        if verb not in DIRECT or action.holds is not None:
            return self._ask(lambda board: self._desk.ask(board, action, self.happened), action.holds)
        if verb == "time":
            moment = vocabulary.moment_of(action.words[0]) if action.words else None
            since = moment - EPOCH_DAY if moment else timedelta(20000, 43200)
            board.wall.set(since.days, since.seconds * 1000)
            return None
        if verb == "restart":
            board.stop(starts.RESTART)
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
            if action.words:
                self._collect()
                pending = {"request": argument} if board.state.phase == policy_state.APPROVAL else None
                argument = operators.approval_number(action.words, pending, self.happened)
        elif verb in ("maintenance", "schedule"):
            argument = int(action.words[1])
        elif verb == "update":
            argument = int(action.words[0])
        name = {"emergency": "switchover", "fence-last": "fence"}.get(verb, verb)
        row = operations.operation_row(name)
        reason = board.request(row[0], node, argument)
        self._collect()
        return codes.name_of(reasons.REASONS, reason) if reason else None

    def _ask(self, question: Callable[[Board], str | None], holds: str | None = None) -> str | None:
        """Ask over the host link, with the key of `holds` or with all."""
        self._collect()
        link = Link(BenchChannel(self._bench), operators.keys_of(self._host_keys, holds))
        try:
            link.hello()
            return question(Board(link))
        except HeartwireError as error:
            return f"nothing; {error}"
        finally:
            self._collect()

    def _board(self, verb: str) -> None:
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
        elif verb in ("flash-full", "flash-mended"):
            bench.files.full = verb == "flash-full"
        elif verb == "stalls":
            bench.step(400)

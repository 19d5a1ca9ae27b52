"""What each operation of the host link does: one method per row of the table of operations that is not the policy's
alone.

Reads the stages' states and hands requests to the policy and to the self-test; a relay it moves only for a test that
guards.py allows. Handed by supervisor to hostlink, which calls it in a quiet slot.
"""

from heartwire_firmware import board as pin_list
from heartwire_firmware import fitness, lights, selftest, sequencer, trial, wiring
from heartwire_firmware.hostlink import problem
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, PHASES
from heartwire_protocol import bits, codes, events, operations, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

TEXT_PIECE = 300


def node_name(node: int) -> "str | None":
    """Return the name of `node`, None for no node."""
    return codes.NODES[node] if node < NODE_COUNT else None


class Operations:
    """The operations on `board` (supervisor.Supervisor)."""

    def __init__(self, board):
        self._board = board

    def execute(self, row, request, right: int):
        """Return the response dict of `request`, whose arguments were checked against `row`."""
        name = request.get("node")
        node = NO_NODE if name is None else codes.NODES.index(name)
        self._right = right
        do = getattr(self, "do_" + row[1], None)
        if do is not None:
            return do(request, node)
        # The policy alone decides on it: its number, where it has one, is the argument.
        argument = 0
        for column in row[4]:
            if column[1] == "int":
                argument = request[column[0]]
        return self._ask(row[0], node, argument)

    _right = 0

    @property
    def key_is_on(self) -> bool:
        """Tell whether the key switch is on."""
        return bool(self._board.key.asserted)

    def do_status(self, _request, _node: int):
        board = self._board
        state = board.state
        config = board.config
        target = state.target if state.phase else state.held_node
        bits = lights.alarm_bits(state, board.facts)
        return {
            "name": config.current.board.name,
            "version": board.version,
            "boot": state.boots,
            "uptime_s": board.clock.uptime_s(),
            "mode": codes.MODES[state.mode],
            "safe": state.safe_mode,
            "epoch": state.epoch,
            "holder": node_name(state.holder),
            "active": node_name(state.active),
            "phase": PHASES[state.phase],
            "target": node_name(target),
            "successor": node_name(state.successor),
            "held": reasons.NAMES[state.held] if state.held else None,
            "advisory": 0 if state.mode in ARMED else 1,
            "bench": int(config.current.board.bench),
            "generation": config.generation,
            "crc": config.crc,
            "trial_s": config.trial_ms // 1000,
            "lost_settings": int(config.lost),
            "newest": board.journal.durable,
            "lost": board.journal.lost,
            "maintenance_s": state.maintenance_ms[NODE_COUNT] // 1000,
            "approval": {"request": state.request_number, "left_s": state.approval_ms // 1000}
            if state.phase == APPROVAL
            else None,
            "free": board.free_memory,
            "loop_ms": board.clock.worst_ms,
            "key": board.key.asserted,
            "wall": [board.clock.wall_day, board.clock.wall_ms] if board.clock.wall_known else None,
            "alarm": 1 if bits else 0,
            "alarms": bits,
            "schedule": node_name(state.schedule_node),
            "schedule_s": self._schedule_s(),
            "storage_bad": int(board.facts.storage_bad),
        }

    def do_node(self, _request, node: int):
        board = self._board
        state = board.state
        facts = board.facts
        intake = board.intakes[node]
        return {
            "node": codes.NODES[node],
            "name": board.config.current.nodes[node].name,
            "enabled": int(facts.enabled[node]),
            "role": codes.ROLES[state.role[node]],
            "verdict": codes.VERDICTS[facts.verdict[node]],
            "age_ms": facts.age_ms[node],
            "state": codes.STATES[intake.state],
            "flags": intake.flags,
            "epoch": intake.epoch,
            "lease_ms": board.grants.left_ms[node],
            "incarnation": intake.incarnation,
            "sequence": intake.sequence,
            "power": codes.POWERS[facts.power[node]],
            "relay": int(board.relays.commanded[node]),
            "fence": sequencer.NAMES[facts.fence[node]],
            "half_line": int(fitness.is_half(facts, node)),
            "altered": int(facts.altered[node]),
            "beats": intake.beats,
            "key": 0 if intake.signer is None else 2 if intake.uses_next else 1,
            "grace_s": state.grace_ms[node] // 1000,
            "actions": state.actions[node],
            "locked": state.locked[node],
            "maintenance_s": state.maintenance_ms[node] // 1000,
            "feeds": board.senses.feeds(node),
            "suspect": state.suspect[node],
            "slowest_boot_s": state.slowest_s[node],
        }

    def do_drops(self, _request, node: int):
        counts = self._board.hostlink.drops if node == NO_NODE else self._board.intakes[node].drops
        drops = {}
        for index in range(len(counts)):
            if counts[index]:
                drops[codes.DROP_NAMES[index]] = counts[index]
        return {"drops": drops}

    def do_settings(self, request, _node: int):
        config = self._board.config
        offset = request["offset"]
        text = config.current.text(False)
        return {
            "text": text[offset : offset + TEXT_PIECE],
            "length": len(text),
            "crc": config.crc,
            "generation": config.generation,
            "trial_s": config.trial_ms // 1000,
            "waits": node_name(self._board.trial.missing()) if config.trial_ms else None,
        }

    def do_settings_begin(self, request, _node: int):
        self._board.config.begin(request["length"], request["crc"])
        return {"ok": 1}

    def do_settings_put(self, request, _node: int):
        if not self._board.config.put(request["offset"], request["text"].encode()):
            return problem("bad_argument", argument="offset")
        return {"ok": 1}

    def do_settings_apply(self, _request, _node: int):
        config = self._board.config
        if not self._board.may_stall():
            # Checking takes long as well.
            return problem("busy")
        new, problems = config.check_upload()
        if problems:
            return problem("bad_settings", path=problems[0][0], rule=problems[0][1])
        board = self._board
        board.filler.fill()
        found = wiring.refusal(config.current, new, board.state, board.facts, board.sequencer.status)
        if found is not None:
            path, node, standing = found
            board.journal.append(events.REFUSED, node, reasons.IN_USE, 7)
            words = {"path": path, "node": codes.NODES[node], "standing": standing}
            return problem("refused", reason="in_use", **words)
        board.trial.begin()
        if not config.apply(new):
            return problem("storage")
        board.trial.changed(trial.BEGAN)
        return {"generation": config.generation, "trial_s": config.trial_ms // 1000}

    def do_settings_confirm(self, request, _node: int):
        config = self._board.config
        board = self._board
        on_trial = config.trial_ms
        if on_trial and not board.may_stall():
            return problem("busy")
        node = board.trial.missing() if on_trial else NO_NODE
        if node != NO_NODE and request["generation"] == config.generation:
            return problem("refused", reason="not_good_again", node=codes.NODES[node])
        lost = config.lost
        if not config.confirm(request["generation"]):
            return problem("refused", reason="wrong_phase")
        if on_trial:
            board.trial.changed(trial.CONFIRMED)
        if lost:
            board.stop(1)  # safe mode, and what it made of nodes that it could not know, ends with a new start
        return {"ok": 1, "generation": config.generation}

    def do_settings_revert(self, _request, _node: int):
        config = self._board.config
        if config.trial_ms and self._board.sequencer.busy:
            return problem("refused", reason="other_operation")
        if config.revert():
            self._board.trial.changed(trial.REVERTED)
        return {"ok": 1, "generation": config.generation}

    def do_mode(self, request, node: int):
        mode = codes.MODES.index(request["mode"])
        arms = mode != codes.MODE_OBSERVE and self._board.state.mode == codes.MODE_OBSERVE
        if arms and self._right < codes.RIGHT_CONFIGURE and not self._board.key.asserted:
            return problem("not_allowed", reason="not_armed")
        return self._ask(operations.MODE, NO_NODE, mode)

    def do_switchover(self, request, node: int):
        return self._ask(operations.SWITCHOVER, node, 1 if request.get("force") else 0)

    def do_fence(self, request, node: int):
        return self._ask(operations.FENCE, node, request["by"] << bits.BY_AT | (1 if request.get("last") else 0))

    def _schedule_s(self):
        left_s = self._board.facts.schedule_s
        if self._board.state.schedule_node == NO_NODE or left_s >= codes.COUNT_MAX - 1:
            return None
        return left_s

    def do_plans(self, _request, _node: int):
        state = self._board.state
        facts = self._board.facts
        return {
            "schedule": node_name(state.schedule_node),
            "schedule_s": self._schedule_s(),
            "long_lease_s": state.long_ms // 1000,
            "led": lights.PATTERNS[lights.pattern_of(state, facts)][0],
            "transfer": node_name(self._board.transfer.at) if self._board.config.current.board.transfer else None,
        }

    def do_platform(self, _request, _node: int):
        micropython, machine, folder = self._board.chip.platform()
        return {"micropython": micropython, "machine": machine, "folder": folder, "crash": self._board.chip.crash()}

    def do_inputs(self, _request, _node: int):
        pins = self._board.pins
        inputs = {}
        outputs = {}
        for row in pin_list.PINS:
            if row[2] == "IN":
                inputs[row[0]] = pins.get(row[0])
            elif row[2] == "OUT" and row[0] != "ARM":
                outputs[row[0]] = pins.get(row[0])
        return {"inputs": inputs, "outputs": outputs}

    def do_tests(self, _request, _node: int):
        test = self._board.selftest
        return {
            "phase": selftest.PHASES[test.phase],
            "node": node_name(test.last_node),
            "number": test.number,
            "cut_ms": test.cut_ms,
            "left_ms": test.left_ms,
            "result": codes.PROOF_NAMES[test.result],
            "off_ms": test.off_ms or None,
            "on_ms": test.on_ms or None,
        }

    def _may_move(self):
        """Return the answer that refuses a test which moves a contact, or None."""
        if self._right < codes.RIGHT_CONFIGURE and not self._board.key.asserted:
            return problem("not_allowed", reason="not_armed")
        return None

    def do_proof(self, request, node: int):
        refusal = self._may_move()
        if refusal is not None:
            return refusal
        seconds = request["seconds"]
        answer = self._ask(operations.PROOF, node, seconds)
        if "error" in answer:
            return answer
        reason = self._board.selftest.begin(node, seconds)
        if reason != reasons.NONE:
            self._board.journal.append(events.REFUSED, node, reason, operations.PROOF, seconds)
            return problem("refused", reason=reasons.NAMES[reason])
        return {"ok": 1, "number": self._board.selftest.number}

    def do_press(self, _request, node: int):
        refusal = self._may_move()
        if refusal is not None:
            return refusal
        answer = self._ask(operations.PRESS, node, 0)
        if "error" in answer:
            return answer
        ms = self._board.config.current.board.press_ms
        self._board.journal.append(events.FRONT_PRESSED, node, reasons.OPERATOR, ms)
        self._board.relays.press(node, ms)
        return {"ok": 1, "ms": ms}

    def do_transfer(self, _request, node: int):
        answer = self._ask(operations.TRANSFER, node, 0)
        if "error" not in answer and self._board.transfer.at != node:
            self._board.selftest.transfer = node
        return answer

    def do_lamps(self, request, _node: int):
        lights_ = self._board.lights
        if not lights_.may_test:
            return problem("refused", reason="other_operation")
        lights_.test(request["lit"], request["seconds"] * 1000)
        return {"ok": 1}

    def do_test_end(self, _request, _node: int):
        board = self._board
        board.selftest.end(reasons.CANCELLED)
        board.selftest.transfer = NO_NODE
        board.lights.test(0, 0)
        return {"ok": 1}

    def do_test_note(self, request, node: int):
        self._board.journal.append(events.TESTED, node, reasons.OPERATOR, request["check"], request["outcome"])
        return {"ok": 1}

    def do_time(self, request, _node: int):
        self._board.set_wall(request["day"], request["ms"])
        return {"ok": 1}

    def do_restart(self, _request, _node: int):
        self._board.stop(1)
        return {"ok": 1}

    def do_repl(self, _request, _node: int):
        # A watched server may be the USB host: only a key in the hand or in the file stops the guard.
        board = self._board
        unguarded = board.state.mode == codes.MODE_OBSERVE and not board.hostlink.has_configure_key
        if self._right < codes.RIGHT_CONFIGURE and not board.key.asserted and not unguarded:
            return problem("not_allowed", reason="not_armed")
        if board.relays.cut_count:
            return problem("refused", reason="other_operation")
        board.stop(2)
        return {"ok": 1}

    def _ask(self, operation: int, node: int, argument: int):
        reason = self._board.request(operation, node, argument)
        if reason != reasons.NONE:
            return problem("refused", reason=reasons.NAMES[reason])
        return {"ok": 1}

"""What the host link tells of the board: how it and its nodes are, what it would do, what it runs on.

It reads the stages and changes nothing: one method per row of the table of operations. Used by supervisor.
"""

from heartwire_firmware import board as pin_list
from heartwire_firmware import fitness, lights, sequencer
from heartwire_firmware.hostlink import node_name
from heartwire_firmware.policy_core import ARMED
from heartwire_firmware.policy_state import APPROVAL, PHASES
from heartwire_protocol import codes, reasons
from heartwire_protocol.codes import NO_NODE, NODE_COUNT
from heartwire_protocol.version import FIRMWARE_VERSION


class StatusOperations:
    """Reads the stages; `drops` are what the host link itself has dropped."""

    def __init__(
        self, state, facts, config, clock, journal, chip, key, pins, intakes, grants, relays, senses, transfer, drops
    ):
        self._state = state
        self._facts = facts
        self._config = config
        self._clock = clock
        self._journal = journal
        self._chip = chip
        self._key = key
        self._pins = pins
        self._intakes = intakes
        self._grants = grants
        self._relays = relays
        self._senses = senses
        self._transfer = transfer
        self._drops = drops

    def do_status(self, _request, _node: int, _right: int):
        state = self._state
        config = self._config
        target = state.target if state.phase else state.held_node
        bits = lights.alarm_bits(state, self._facts)
        return {
            "name": config.current.board.name,
            "version": FIRMWARE_VERSION,
            "boot": state.boots,
            "uptime_s": self._clock.uptime_s(),
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
            "newest": self._journal.durable,
            "lost": self._journal.lost,
            "maintenance_s": state.maintenance_ms[NODE_COUNT] // 1000,
            "approval": {"request": state.request_number, "left_s": state.approval_ms // 1000}
            if state.phase == APPROVAL
            else None,
            "free": self._chip.free,
            "loop_ms": self._clock.worst_ms,
            "key": self._key.asserted,
            "wall": [self._clock.wall_day, self._clock.wall_ms] if self._clock.wall_known else None,
            "alarm": 1 if bits else 0,
            "alarms": bits,
            "schedule": node_name(state.schedule_node),
            "schedule_s": self._schedule_s(),
            "storage_bad": int(self._facts.storage_bad),
        }

    def do_node(self, _request, node: int, _right: int):
        state = self._state
        facts = self._facts
        intake = self._intakes[node]
        return {
            "node": codes.NODES[node],
            "name": self._config.current.nodes[node].name,
            "enabled": int(facts.enabled[node]),
            "role": codes.ROLES[state.role[node]],
            "verdict": codes.VERDICTS[facts.verdict[node]],
            "age_ms": facts.age_ms[node],
            "state": codes.STATES[intake.state],
            "flags": intake.flags,
            "epoch": intake.epoch,
            "lease_ms": self._grants.left_ms[node],
            "incarnation": intake.incarnation,
            "sequence": intake.sequence,
            "power": codes.POWERS[facts.power[node]],
            "relay": int(self._relays.commanded[node]),
            "fence": sequencer.NAMES[facts.fence[node]],
            "half_line": int(fitness.is_half(facts, node)),
            "altered": int(facts.altered[node]),
            "beats": intake.beats,
            "key": 0 if intake.signer is None else 2 if intake.uses_next else 1,
            "grace_s": state.grace_ms[node] // 1000,
            "actions": state.actions[node],
            "locked": state.locked[node],
            "maintenance_s": state.maintenance_ms[node] // 1000,
            "feeds": self._senses.feeds(node),
            "suspect": state.suspect[node],
            "slowest_boot_s": state.slowest_s[node],
        }

    def do_drops(self, _request, node: int, _right: int):
        counts = self._drops if node == NO_NODE else self._intakes[node].drops
        drops = {}
        for index in range(len(counts)):
            if counts[index]:
                drops[codes.DROP_NAMES[index]] = counts[index]
        return {"drops": drops}

    def _schedule_s(self):
        left_s = self._facts.schedule_s
        if self._state.schedule_node == NO_NODE or left_s >= codes.COUNT_MAX - 1:
            return None
        return left_s

    def do_plans(self, _request, _node: int, _right: int):
        state = self._state
        facts = self._facts
        return {
            "schedule": node_name(state.schedule_node),
            "schedule_s": self._schedule_s(),
            "long_lease_s": state.long_ms // 1000,
            "led": lights.PATTERNS[lights.pattern_of(state, facts)][0],
            "transfer": node_name(self._transfer.at) if self._config.current.board.transfer else None,
        }

    def do_platform(self, _request, _node: int, _right: int):
        micropython, machine, folder = self._chip.platform()
        return {"micropython": micropython, "machine": machine, "folder": folder, "crash": self._chip.crash()}

    def do_inputs(self, _request, _node: int, _right: int):
        inputs = {}
        outputs = {}
        for row in pin_list.PINS:
            if row[2] == "IN":
                inputs[row[0]] = self._pins.get(row[0])
            elif row[2] == "OUT" and row[0] != "ARM":
                outputs[row[0]] = self._pins.get(row[0])
        return {"inputs": inputs, "outputs": outputs}

"""What the host link does with settings: shows them, takes new ones in pieces, and tries, keeps or reverts them.

Used by supervisor.
"""

from heartwire_firmware import trial, wiring
from heartwire_firmware.hostlink import node_name, problem
from heartwire_firmware.starts import RESTART
from heartwire_protocol import codes, events, operations, reasons
from heartwire_protocol.codes import NO_NODE

TEXT_PIECE = 300


class SettingsOperations:
    """The settings of `config` (config.Config), and their `trial` (trial.Trial). `may_stall()` tells whether what takes
    long may be done now, `stop(RESTART)` has the board start anew.
    """

    def __init__(self, config, on_trial, state, facts, filler, sequencer, journal, may_stall, stop):
        self._config = config
        self._trial = on_trial
        self._state = state
        self._facts = facts
        self._filler = filler
        self._sequencer = sequencer
        self._journal = journal
        self._may_stall = may_stall
        self._stop = stop

    def do_settings(self, request, _node: int, _right: int):
        config = self._config
        offset = request["offset"]
        text = config.current.text(False)
        return {
            "text": text[offset : offset + TEXT_PIECE],
            "length": len(text),
            "crc": config.crc,
            "generation": config.generation,
            "trial_s": config.trial_ms // 1000,
            "waits": node_name(self._trial.missing()) if config.trial_ms else None,
        }

    def do_settings_begin(self, request, _node: int, _right: int):
        self._config.begin(request["length"], request["crc"])
        return {"ok": 1}

    def do_settings_put(self, request, _node: int, _right: int):
        if not self._config.put(request["offset"], request["text"].encode()):
            return problem("bad_argument", argument="offset")
        return {"ok": 1}

    def do_settings_apply(self, _request, _node: int, _right: int):
        config = self._config
        if not self._may_stall():
            # Checking takes long as well.
            return problem("busy")
        new, problems = config.check_upload()
        if problems:
            return problem("bad_settings", path=problems[0][0], rule=problems[0][1])
        self._filler.fill()
        found = wiring.refusal(config.current, new, self._state, self._facts, self._sequencer.status)
        if found is not None:
            path, node, standing = found
            self._journal.append(events.REFUSED, node, reasons.IN_USE, operations.SETTINGS_APPLY)
            words = {"path": path, "node": codes.NODES[node], "standing": standing}
            return problem("refused", reason="in_use", **words)
        self._trial.begin()
        if not config.apply(new):
            return problem("storage")
        self._trial.changed(trial.BEGAN)
        return {"generation": config.generation, "trial_s": config.trial_ms // 1000}

    def do_settings_confirm(self, request, _node: int, _right: int):
        config = self._config
        on_trial = config.trial_ms
        if on_trial and not self._may_stall():
            return problem("busy")
        node = self._trial.missing() if on_trial else NO_NODE
        if node != NO_NODE and request["generation"] == config.generation:
            return problem("refused", reason="not_good_again", node=codes.NODES[node])
        lost = config.lost
        if not config.confirm(request["generation"]):
            return problem("refused", reason="wrong_phase")
        if on_trial:
            self._trial.changed(trial.CONFIRMED)
        if lost:
            self._stop(RESTART)  # safe mode, and what it made of nodes that it could not know, ends with a new start
        return {"ok": 1, "generation": config.generation}

    def do_settings_revert(self, _request, _node: int, _right: int):
        config = self._config
        if config.trial_ms and self._sequencer.busy:
            return problem("refused", reason="other_operation")
        if config.revert():
            self._trial.changed(trial.REVERTED)
        return {"ok": 1, "generation": config.generation}

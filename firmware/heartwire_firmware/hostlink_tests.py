"""What the host link does for tests: of a relay, a front panel, the transfer relay, the lamps.

A relay it moves only for a test that guards.py allows. Used by supervisor.
"""

from heartwire_firmware import selftest
from heartwire_firmware.hostlink import answer_of, node_name, problem
from heartwire_protocol import codes, events, operations, reasons
from heartwire_protocol.codes import NO_NODE


class HardwareTests:
    """Tests; `request` hands a request to the policy and returns the reason of a refusal."""

    def __init__(self, request, relay_test, transfer, lights, relays, journal, config, key):
        self._request = request
        self._selftest = relay_test
        self._transfer = transfer
        self._lights = lights
        self._relays = relays
        self._journal = journal
        self._config = config
        self._key = key

    def do_tests(self, _request, _node: int, _right: int):
        test = self._selftest
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

    def _may_move(self, right: int):
        """Return the answer that refuses a test which moves a contact, or None."""
        if right < codes.RIGHT_CONFIGURE and not self._key.asserted:
            return problem("not_allowed", reason="not_armed")
        return None

    def do_proof(self, request, node: int, right: int):
        refusal = self._may_move(right)
        if refusal is not None:
            return refusal
        seconds = request["seconds"]
        answer = answer_of(self._request(operations.PROOF, node, seconds))
        if "error" in answer:
            return answer
        reason = self._selftest.begin(node, seconds)
        if reason != reasons.NONE:
            self._journal.append(events.REFUSED, node, reason, operations.PROOF, seconds)
            return problem("refused", reason=reasons.NAMES[reason])
        return {"ok": 1, "number": self._selftest.number}

    def do_press(self, _request, node: int, right: int):
        refusal = self._may_move(right)
        if refusal is not None:
            return refusal
        answer = answer_of(self._request(operations.PRESS, node, 0))
        if "error" in answer:
            return answer
        ms = self._config.current.board.press_ms
        self._journal.append(events.FRONT_PRESSED, node, reasons.OPERATOR, ms)
        self._relays.press(node, ms)
        return {"ok": 1, "ms": ms}

    def do_transfer(self, _request, node: int, _right: int):
        answer = answer_of(self._request(operations.TRANSFER, node, 0))
        if "error" not in answer and self._transfer.at != node:
            self._selftest.transfer = node
        return answer

    def do_lamps(self, request, _node: int, _right: int):
        if not self._lights.may_test:
            return problem("refused", reason="other_operation")
        self._lights.test(request["lit"], request["seconds"] * 1000)
        return {"ok": 1}

    def do_test_end(self, _request, _node: int, _right: int):
        self._selftest.end(reasons.CANCELLED)
        self._selftest.transfer = NO_NODE
        self._lights.test(0, 0)
        return {"ok": 1}

    def do_test_note(self, request, node: int, _right: int):
        self._journal.append(events.TESTED, node, reasons.OPERATOR, request["check"], request["outcome"])
        return {"ok": 1}

"""What each operation of the host link does: one method per row of the table of operations that is not the policy's
alone, here or in the parts that tell, take settings and test.

Hands requests to the policy. Handed by supervisor to hostlink, which calls it in a quiet slot.
"""

from heartwire_firmware.hostlink import answer_of, problem
from heartwire_firmware.starts import REPL, RESTART
from heartwire_protocol import bits, codes, operations
from heartwire_protocol.codes import NO_NODE


class Operations:
    """The operations; `parts` are objects with further ones. `request` hands one to the policy and returns the reason
    of a refusal, `stop(RESTART or REPL)` leaves the loop, `has_configure_key()` tells whether the host link has one.
    """

    def __init__(self, request, stop, wall, state, relays, key, has_configure_key, parts):
        self._request = request
        self._stop = stop
        self._wall = wall
        self._state = state
        self._relays = relays
        self._key = key
        self._has_configure_key = has_configure_key
        self._parts = parts
        parts.append(self)

    def execute(self, row, request, right: int):
        """Return the response dict of `request`, whose arguments were checked against `row`."""
        name = request.get("node")
        node = NO_NODE if name is None else codes.NODES.index(name)
        for part in self._parts:
            do = getattr(part, "do_" + row[1], None)
            if do is not None:
                return do(request, node, right)
        # The policy alone decides on it: its number, where it has one, is the argument.
        argument = 0
        for column in row[4]:
            if column[1] == "int":
                argument = request[column[0]]
        return answer_of(self._request(row[0], node, argument))

    @property
    def key_is_on(self) -> bool:
        """Tell whether the key switch is on."""
        return bool(self._key.asserted)

    def do_mode(self, request, node: int, right: int):
        mode = codes.MODES.index(request["mode"])
        arms = mode != codes.MODE_OBSERVE and self._state.mode == codes.MODE_OBSERVE
        if arms and right < codes.RIGHT_CONFIGURE and not self._key.asserted:
            return problem("not_allowed", reason="not_armed")
        return answer_of(self._request(operations.MODE, NO_NODE, mode))

    def do_switchover(self, request, node: int, _right: int):
        return answer_of(self._request(operations.SWITCHOVER, node, 1 if request.get("force") else 0))

    def do_fence(self, request, node: int, _right: int):
        argument = request["by"] << bits.BY_AT | (1 if request.get("last") else 0)
        return answer_of(self._request(operations.FENCE, node, argument))

    def do_time(self, request, _node: int, _right: int):
        self._wall.set(request["day"], request["ms"])
        return {"ok": 1}

    def do_restart(self, _request, _node: int, _right: int):
        self._stop(RESTART)
        return {"ok": 1}

    def do_repl(self, _request, _node: int, right: int):
        # A watched server may be the USB host: only a key in the hand or in the file stops the guard.
        unguarded = self._state.mode == codes.MODE_OBSERVE and not self._has_configure_key()
        if right < codes.RIGHT_CONFIGURE and not self._key.asserted and not unguarded:
            return problem("not_allowed", reason="not_armed")
        if self._relays.cut_count:
            return problem("refused", reason="other_operation")
        self._stop(REPL)
        return {"ok": 1}

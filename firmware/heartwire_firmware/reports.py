"""Reports: journals what nodes say of themselves, when it changes. Used by supervisor."""

from heartwire_protocol import codes, events, messages
from heartwire_protocol.codes import NODE_COUNT


class Reports:
    """What each node said last, and `journal`, which remembers it."""

    def __init__(self, journal, livenesses):
        self._journal = journal
        self._livenesses = livenesses
        self._altered = [False] * NODE_COUNT
        self._half = [False] * NODE_COUNT
        self._said = [-1] * NODE_COUNT

    def take(self, node: int, intake) -> None:
        """Journal what `intake` of `node` says now and did not say before."""
        journal = self._journal
        if intake.new_incarnation:
            intake.new_incarnation = False
            journal.append(events.NEW_INCARNATION, node, 0, intake.incarnation)
        if intake.altered != self._altered[node]:
            self._altered[node] = intake.altered
            if intake.altered:
                journal.append(events.ALTERED, node, 0, intake.last_drop, intake.drops[intake.last_drop])
        if intake.half_line != self._half[node] and self._livenesses[node].verdict == codes.VERDICT_GOOD:
            self._half[node] = intake.half_line
            if intake.half_line:
                journal.append(events.HALF_LINE, node)
        said = intake.state | (intake.flags & ~messages.FLAG_CHALLENGE_ODD) << 3
        if said != self._said[node] and intake.beats:
            self._said[node] = said
            journal.append(events.STATE_REPORTED, node, 0, intake.state, intake.flags)

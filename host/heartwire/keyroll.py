"""Replace a key without a missed heartbeat or a refused order: both are taken for a while, then only the new one.

A roll has two changes of settings, `begin` and `finish`, and between them whoever holds the old key is given the new
one. Where it stands is read from the board (`stage`), so a roll may be broken off and taken up again at any moment, by
another host too. Nothing here reads or writes a key file. Called by `heartwire key roll`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heartwire.board import Board
from heartwire.errors import ProtocolMismatch, Refused, UsageProblem
from heartwire.settings_transfer import Waiting
from heartwire_protocol import codes, settings
from heartwire_protocol.settings import NEXT, Settings

RIGHTS = ("view", "operate", "configure")
HOST = "host"
# What can be rolled: the key of a node, of a right, or of all rights that the board has keys for.
WHAT = (*codes.NODES, *RIGHTS, HOST)

FRESH = "fresh"  # the board knows nothing of the new key
BEGUN = "begun"  # it takes both
DONE = "done"  # it takes the new one alone

# The node signed its last heartbeat with key_next (answers.NodeStatus.key).
USES_NEXT = 2


@dataclass(frozen=True)
class Roll:
    """The new keys by the path of the setting that they come into."""

    keys: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Roll({', '.join(sorted(self.keys))})"

    def stage(self, running: Mapping[str, str]) -> str:
        """Return where the roll stands by the settings that the board runs (path to value, keys as fingerprints).

        Raises Refused while another new key is on its way.
        """
        stages = {self._stage(path, key, running) for path, key in self.keys.items()}
        return next(stage for stage in (FRESH, BEGUN, DONE) if stage in stages)

    def _stage(self, path: str, key: str, running: Mapping[str, str]) -> str:
        shown = settings.fingerprint(key)
        later = running.get(path + NEXT, "")
        if later == shown:
            return BEGUN
        if later:
            raise Refused(
                f"{path}: another new key, {later}, is on its way",
                "finish that roll with its own key file, or end it with --cancel",
            )
        return DONE if running.get(path) == shown else FRESH

    def begin(self, board: Board, running: Mapping[str, str], waiting: Waiting | None = None) -> int:
        """Let the board take the new keys as well; return the generation of its settings."""
        wanted = settings_of(running)
        for path, key in self.keys.items():
            if self._stage(path, key, running) == FRESH:
                wanted.put(path + NEXT, key)
        return board.apply_settings(wanted, waiting=waiting)

    def finish(self, board: Board, running: Mapping[str, str], waiting: Waiting | None = None) -> int:
        """Let the board take the new keys alone; return the generation of its settings."""
        wanted = settings_of(running)
        for path, key in self.keys.items():
            wanted.put(path, key)
            wanted.put(path + NEXT, "")
        return board.apply_settings(wanted, waiting=waiting)

    def cancel(self, board: Board, running: Mapping[str, str], waiting: Waiting | None = None) -> int:
        """Let the board take the old keys alone; return the generation of its settings."""
        wanted = settings_of(running)
        for path in self.keys:
            wanted.put(path + NEXT, "")
        return board.apply_settings(wanted, waiting=waiting)


def roll_of(what: str, found: Mapping[str, str], running: Mapping[str, str]) -> Roll:
    """Return the roll of `what` (one of WHAT) to the keys `found` in a key file, by name; a bare key has the name "".

    Raises UsageProblem where the file lacks a key, or the board has none to replace.
    """
    if what in codes.NODES:
        key = found.get(what) or found.get("")
        if not key:
            raise UsageProblem(f"the file has no key of node {what}", "a node's file holds one bare key")
        return Roll({f"node.{what}.key": key})
    rights = [right for right in RIGHTS if what in (right, HOST) and _path(right) in running]
    if not rights:
        raise UsageProblem(
            f"the board has no {what} key to replace",
            "`heartwire config apply` sets a first one: `heartwire help keys`",
        )
    missing = [right for right in rights if right not in found]
    if missing:
        raise UsageProblem(f"the file has no key {', '.join(missing)}", "a file of the host has one RIGHT=KEY a line")
    return Roll({_path(right): found[right] for right in rights})


def names_for(what: str, running: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the keys that a new file for `what` has to hold."""
    if what in codes.NODES:
        return ("",)
    return tuple(right for right in RIGHTS if what == right or (what == HOST and _path(right) in running))


def settings_of(running: Mapping[str, str]) -> Settings:
    """Return the running settings, with fingerprints for keys: uploaded, they change nothing."""
    found = Settings()
    for path, value in running.items():
        try:
            kind = settings.row_of(path)[0][1]
        except KeyError:
            raise ProtocolMismatch(
                f"the board has a setting {path} that this heartwire does not know", "install the one that fits it"
            ) from None
        found.put(path, int(value) if kind in (settings.INT, settings.BOOL) else value)
    return found


def _path(right: str) -> str:
    return f"board.{right}_key"

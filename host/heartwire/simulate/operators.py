"""What an operator of a scenario asks a board over its host link, and what the answer is in one word. On every tier.

It joins words to heartwire.board's API, as a person with the command line does; the stage gives the board on an open
link. Called by policy_stage and wired_stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heartwire import settings_transfer
from heartwire.answers import EPOCH_DAY
from heartwire.board import Board
from heartwire.errors import BadConfig, NotAllowed, Refused, StorageProblem
from heartwire.keys import Keys
from heartwire.simulate.language import Action
from heartwire.simulate.rack import Rack
from heartwire.simulate.run import Happened
from heartwire.simulate.vocabulary import moment_of
from heartwire_protocol import codes, settings

# How often an operator looks whether the nodes have followed a change of settings.
ASK_MS = 1000
# What a scenario calls an operation, where that is not its own name.
NAMES = {"emergency": "switchover", "fence-last": "fence", "end-tests": "test_end"}


def host_key(right: str) -> str:
    """Return the key of `right` that stages give the board where a scenario says host-keys."""
    return f"{0x70 + codes.RIGHTS.index(right):02x}" * 32


def keys_of(rights: Sequence[str], holds: str | None) -> Keys:
    """Return the keys of an operator: all `rights` that the board has, or only that of the right `holds`."""
    return Keys({codes.RIGHTS.index(right): host_key(right) for right in rights if holds in (None, right)})


def with_host_keys(text: str, rights: Sequence[str]) -> str:
    """Return the settings `text` with the keys of `rights`."""
    return text + "".join(f"board.{right}_key={host_key(right)}\n" for right in rights)


class Desk:
    """What operators of one scenario know: the settings as they should be, and which approvals were asked for."""

    def __init__(self, rack: Rack) -> None:
        self._rack = rack
        self._wanted = rack.settings.text()
        self._on_trial = ""  # settings that the board keeps once every node has followed
        self._again_ms = 0

    def ask(self, board: Board, action: Action, happened: Sequence[Happened]) -> str | None:
        """Ask for what `action` says; return the reason or the code of a refusal in one word, or None.

        Raises HeartwireError where there was no answer.
        """
        try:
            self._do(board, action.verb, action.words, happened)
        except Refused as refusal:
            return refusal.reason or refusal.code
        except NotAllowed:
            return "not_allowed"
        except BadConfig:
            return "bad_settings"
        except StorageProblem:
            return "storage"
        return None

    def _do(self, board: Board, verb: str, words: tuple[str, ...], happened: Sequence[Happened]) -> None:
        if verb == "time":
            _set_time(board, words)
        elif verb in ("approve", "deny"):
            board.link.request(verb, request=approval_number(words, board.status().approval, happened))
        elif verb in ("set", "try"):
            self._apply(board, words, confirm=verb == "set")
        elif verb == "key":
            key = self._rack.change_key(codes.NODES.index(words[0]), on_board=True)
            self._apply(board, (f"node.{words[0]}.key", key.hex()))
        elif verb == "confirm":
            board.link.request("settings_confirm", generation=board.settings().generation)
        elif verb == "revert":
            board.link.request("settings_revert")
        elif verb in ("proof", "press"):
            arguments = {"seconds": int(words[1])} if verb == "proof" else {}
            board.link.request(verb, sign_with=codes.RIGHT_CONFIGURE, node=words[0], **arguments)
        elif verb == "mode":
            board.set_mode(words[0])
        else:
            board.link.request(NAMES.get(verb, verb), **_arguments(verb, words))

    def _apply(self, board: Board, words: Sequence[str], confirm: bool = True) -> None:
        """Upload changed settings, run them on trial and confirm them; what is not confirmed is not remembered."""
        text = changed(self._wanted, words)
        wanted, problems = settings.parse(text)
        if problems:
            raise BadConfig("; ".join(f"{path}: {rule}" for path, rule in problems))
        settings_transfer.upload(board.link, wanted.text())
        board.link.request("settings_apply")
        if confirm:
            self._on_trial = text
            self.follow_up(board)

    def is_due(self, ms: int) -> bool:
        """Tell whether the board is to be asked again to keep what is on trial; at most every ASK_MS."""
        if not self._on_trial or ms < self._again_ms:
            return False
        self._again_ms = ms + ASK_MS
        return True

    def follow_up(self, board: Board) -> None:
        """Ask the board to keep what is on trial; it does once each node that was good is good again."""
        running = board.settings()
        if running.trial_s:
            try:
                board.link.request("settings_confirm", generation=running.generation)
                self._wanted = self._on_trial
            except Refused as refusal:
                if refusal.reason == "not_good_again":
                    return
                raise
        self._on_trial = ""


def changed(text: str, words: Sequence[str]) -> str:
    """Return the settings `text` with each PATH VALUE of `words` put over it."""
    values = settings_transfer.values_of(text)
    for path, value in zip(words[::2], words[1::2], strict=True):
        values[path] = {"true": "1", "false": "0"}.get(value, value)
    return "".join(f"{path}={value}\n" for path, value in values.items())


def approval_number(words: tuple[str, ...], pending: dict[str, Any] | None, happened: Sequence[Happened]) -> int:
    """Return the number that an approval names: NUMBER, the one before the pending one (old), or the pending one."""
    if words and words[0] != "old":
        return int(words[0])
    now = int(pending["request"]) if pending else 0
    if not words:
        return now
    asked = [one.a for one in happened if one.event == "approval_asked" and one.a != now]
    return asked[-1] if asked else max(0, now - 1)


def _set_time(board: Board, words: tuple[str, ...]) -> None:
    moment = moment_of(words[0]) if words else None
    if moment is None:
        board.set_time()
        return
    since = moment - EPOCH_DAY
    board.link.request("time", day=since.days, ms=since.seconds * 1000 + since.microseconds // 1000)


def _arguments(verb: str, words: tuple[str, ...]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if verb in ("maintenance", "schedule"):
        arguments = {"node": None if words[0] == "board" else words[0], "seconds": int(words[1])}
    elif verb == "update":
        arguments["seconds"] = int(words[0])
    elif words:
        arguments["node"] = words[0]
    if verb in ("switchover", "emergency"):
        arguments["force"] = int(verb == "emergency")
    elif verb in ("fence", "fence-last"):
        arguments |= {"last": int(verb == "fence-last"), "by": codes.NO_NODE}
    return arguments

"""What an error of the board means: the contract has codes and reasons, and the words and next steps stand here.

A board has no room for words. Called by link with each reply; it asks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heartwire.errors import BadConfig, NotAllowed, ProtocolMismatch, Refused, StorageProblem
from heartwire.journal import reason_words
from heartwire_protocol import codes, operations

# What helps where the error, the reason of a refusal, or it and the operation say it; the board has no room for words.
NEXT_STEPS = {
    "busy": "a deadline is near, and the board has no moment for it; try again",
    "bad_settings": "mend the file and apply it again; the board keeps its old settings",
    "storage": "look at `heartwire status`; the board's flash may be full or worn out",
    "unknown_operation": "the board's firmware is older than this heartwire: `heartwire flash` brings it up to date",
    "not_armed": "sign with the configure key (--key-file), or turn the board's key switch on",
    "settings_confirm wrong_phase": "those settings are no longer on trial: apply them again",
    "settings_revert other_operation": "wait until the fence is over",
    "lamps other_operation": "in observe mode only, or in maintenance of the whole board: `heartwire maintenance 10m`",
    "repl other_operation": "wait until no power relay is cut",
    "not_in_maintenance": "`heartwire maintenance NODE` first, for longer than its boot_grace_ms; or observe mode",
    "settings_lost": "turn the board's key switch on, then `heartwire config apply --unsigned` puts its settings back",
    "not_good_again": "`heartwire status` shows why; `heartwire config revert` goes back to the settings before",
}
# Why a change of settings is refused by what a node is (firmware: wiring.standing), and what helps.
IN_USE = {
    "active": (
        "is active",
        "make another node active first: `heartwire switchover`; or `heartwire mode observe`, apply, and arm again",
    ),
    "holder": (
        "holds the role",
        "make another node active first: `heartwire switchover`, or `heartwire declare` if it is gone for good",
    ),
    "late": ("is late, and its silence is being judged", "wait until it is good again or dead, then try again"),
    "fenced": ("is being fenced or has no power", "`heartwire release {node}` when that is over, then try again"),
    "under_way": ("is part of what is under way", "wait until it is over: `heartwire status --watch`"),
    "tested": ("has its relay tested", "wait until the test is over, then try again"),
    "running": ("runs its services", "stop its services first: unheard they could run beside another node's"),
}


@dataclass(frozen=True)
class Reply:
    """The body of a response, and the journal records that came before it."""

    body: dict[str, Any]
    records: tuple[bytes, ...]


def checked(op: str, reply: Reply) -> Reply:
    """Return the reply, or raise what its error code means."""
    error = reply.body.get("error")
    if error is None:
        return reply
    code, reason = str(error), str(reply.body.get("reason", ""))
    words = f"{op}: {dict(operations.ERRORS).get(code, code)}"
    if reason:
        words = f"{op}: refused: {reason_words(reason)}"
    next_step = NEXT_STEPS.get(f"{op} {reason}") or NEXT_STEPS.get(reason) or NEXT_STEPS.get(code)
    if code == "not_allowed":
        if not reason:
            row = operations.operation_row(op)
            wanted = reply.body.get("right") or (codes.RIGHTS[row[2]] if row else "right")
            words = f"{op}: the board wants the {wanted} key"
        raise NotAllowed(words, next_step)
    if code == "bad_mac":
        # A session that is over was begun anew already (Link.request), so it is the key.
        raise NotAllowed(
            f"{op}: the key in your key file is not the board's",
            "give the file with this board's keys: --key-file or HEARTWIRE_KEY_FILE; see `heartwire help keys`",
        )
    if code == "bad_settings":
        problem = f"{reply.body.get('path', 'settings')}: {reply.body.get('rule', 'refused')}"
        raise BadConfig(f"the board refuses the settings: {problem}", next_step, problems=(problem,))
    if code == "storage":
        raise StorageProblem(words, next_step)
    if code in ("unknown_operation", "bad_request"):
        raise ProtocolMismatch(words, next_step)
    if code == "bad_argument":
        words = f"{op}: {operations.limits_of(op, str(reply.body.get('argument', '')))}"
    node = str(reply.body.get("node", ""))
    if reason == "in_use":
        stands, helps = IN_USE.get(str(reply.body.get("standing")), (reason_words(reason), None))
        words = f"{op}: refused: {reply.body.get('path')} stays as it is while {node} {stands}"
        next_step = helps.format(node=node) if helps else next_step
    elif node:
        words += f" ({node})"
    raise Refused(words, next_step, reason=reason, code=code)

"""Move settings over the link: read the running ones, upload new ones, try them, confirm or revert.

The board runs an upload on trial and goes back by itself unless it is confirmed in time, so every way out of `apply`
is safe. Keys travel only where they are new; as fingerprints they mean "keep yours". Called by board.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heartwire.errors import (
    Cancelled,
    HeartwireError,
    NoAnswer,
    NotAllowed,
    NotAuthentic,
    NotPrivate,
    ProtocolMismatch,
    Refused,
    Unplugged,
)
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire_protocol import codes, framing, settings
from heartwire_protocol.settings import Settings

# Characters of a piece, as the contract says; JSON may double some of them, and the whole request must stay below 512
# bytes.
PIECE = 300
PIECE_JSON = 430
RESTARTS = 3
FINGERPRINT = "key:"
Progress = Callable[[int, int], None]
# Called with the node that is waited for, and for how many seconds still.
Waiting = Callable[[str, int], None]
# While a node is waited for: how often the board is asked, and how long before its trial ends this host ends it.
ASK_S = 0.5
LEAVE_S = 3
FOLLOW = (
    "let its agent follow while the trial runs, or `heartwire maintenance {node} 10m` first; a key is changed with "
    "`heartwire key roll {node}`"
)


@dataclass(frozen=True)
class Running:
    """The settings a board runs, as canonical text with fingerprints for keys."""

    text: str
    generation: int
    crc: int
    trial_s: int

    @property
    def values(self) -> dict[str, str]:
        """The lines of the text, path to value; what is missing stands at its default."""
        return values_of(self.text)


def values_of(text: str) -> dict[str, str]:
    """Return the lines of a canonical text as path to value."""
    return {path: value for path, _, value in (line.partition("=") for line in text.splitlines() if line)}


def public_text(wanted: Settings) -> str:
    """Return the canonical text of `wanted` with fingerprints for keys; keys given as fingerprints stay as they are."""
    lines = []
    for path, value in values_of(wanted.text()).items():
        if is_key(path) and not value.startswith(FINGERPRINT):
            value = settings.fingerprint(value)
        lines.append(f"{path}={value}\n")
    return "".join(lines)


def is_key(path: str) -> bool:
    """Tell whether a path is a key; False for a path that this version does not know."""
    try:
        return bool(settings.row_of(path)[0][1] == settings.KEY)
    except KeyError:
        return False


def download(link: Link) -> Running:
    """Return the running settings. Raises NoAnswer if they keep changing meanwhile."""
    for _ in range(RESTARTS):
        text = ""
        first: tuple[int, int, int] | None = None
        while True:
            body = link.request("settings", offset=len(text)).body
            try:
                piece, length = str(body["text"]), int(body["length"])
                generation, crc, trial_s = int(body["generation"]), int(body["crc"]), int(body.get("trial_s", 0))
            except (KeyError, TypeError, ValueError):
                raise ProtocolMismatch("the board's answer to settings lacks text, length, crc or generation") from None
            key = (length, generation, crc)
            if first is None:
                first = key
            if key != first:
                break  # changed while it was being read: start again
            text += piece
            if len(text) >= length:
                return Running(text, generation, crc, trial_s)
            if not piece:
                raise ProtocolMismatch(f"the board's settings end after {len(text)} of {length} characters")
    raise NoAnswer("the board's settings change while they are read", "somebody else is changing them; try again")


def upload(link: Link, text: str, progress: Progress | None = None) -> None:
    """Send `text` to the board for the next settings_apply; `progress` gets (characters sent, all characters).

    Raises NotPrivate where a key that is no fingerprint would cross a network in clear.
    """
    secret = [path for path, value in values_of(text).items() if is_key(path) and not value.startswith(FINGERPRINT)]
    if link.channel.exposed and secret:
        raise NotPrivate(
            f"{link.channel.name}: {', '.join(secret[:3])} would cross the network in clear; nothing was sent"
        )
    data = text.encode("ascii")
    link.request("settings_begin", length=len(data), crc=framing.crc16(data, len(data)))
    sent = 0
    while sent < len(text):
        piece = text[sent : sent + PIECE]
        while len(json.dumps(piece)) > PIECE_JSON:
            piece = piece[: len(piece) * 3 // 4]
        link.request("settings_put", offset=sent, text=piece)
        sent += len(piece)
        if progress is not None:
            progress(sent, len(text))


def apply(
    link: Link,
    wanted: Settings,
    progress: Progress | None = None,
    confirming: Callable[[], None] | None = None,
    waiting: Waiting | None = None,
) -> int:
    """Upload, try, read back and confirm `wanted`; return its generation. See Board.apply_settings."""
    upload(link, wanted.text(), progress)
    keys_before = link.keys
    body = _start_trial(link)
    generation = int(body.get("generation", 0))
    trial_s = int(body.get("trial_s", 60))
    try:
        _use_keys(link, keys_before.replaced(_new_keys(wanted)))
        _read_back(link, wanted, generation)
        _wait_until_good(link, generation, waiting, keys_before)
        if confirming is not None:
            confirming()
        _confirm(link, generation, waiting, keys_before)
    except (Unplugged, NoAnswer) as error:
        error.next_step = f"the board goes back to its old settings within {trial_s} s; then try again"
        raise
    except BaseException:
        # Whatever it was, Ctrl-C included: nobody has seen the new settings work.
        revert(link)
        with contextlib.suppress(HeartwireError):
            _use_keys(link, keys_before)
        raise
    return generation


def _use_keys(link: Link, keys: Keys) -> None:
    """Go on with other keys: the board says anew which ones it has."""
    link.keys = keys
    link.hello()


def _start_trial(link: Link) -> dict[str, Any]:
    """Ask the board to run the upload on trial; an interrupt while it is asked ends the trial that may have begun."""
    try:
        return link.request("settings_apply").body
    except (KeyboardInterrupt, Cancelled):
        revert(link)
        raise KeyboardInterrupt from None
    except SystemExit:
        revert(link)
        raise


def _confirm(link: Link, generation: int, waiting: Waiting | None, keys_before: Keys) -> None:
    """Confirm; a node that has fallen silent just now is waited for again."""
    while True:
        try:
            link.request("settings_confirm", generation=generation)
            return
        except Refused as refusal:
            if refusal.reason != "not_good_again":
                raise
        _wait_until_good(link, generation, waiting, keys_before)


def _wait_until_good(link: Link, generation: int, waiting: Waiting | None, keys_before: Keys) -> None:
    """Wait until every node that was good before is good under the settings on trial. Raises Refused if one is not."""
    node = ""
    while True:
        try:
            body = link.request("settings", offset=0).body
        except (NotAllowed, NotAuthentic):
            # With its old settings it has its old keys.
            _use_keys(link, keys_before)
            body = link.request("settings", offset=0).body
        if body.get("generation") != generation:
            raise Refused(
                f"the board went back to its old settings: {node or 'a node'} would have lost its lease under the new",
                FOLLOW.format(node=node or "NODE"),
                reason="not_good_again",
            )
        if not body.get("waits"):
            return
        node = str(body["waits"])
        left_s = int(body.get("trial_s", 0)) - LEAVE_S
        if left_s <= 0:
            raise Refused(
                f"{node} was good before and is not good under the new settings: the board keeps its old ones",
                FOLLOW.format(node=node),
                reason="not_good_again",
            )
        if waiting is not None:
            waiting(node, left_s)
        link.pause(ASK_S)


def revert(link: Link) -> bool:
    """Ask the board to end a trial now; False if it could not be asked (it reverts by itself then)."""
    with contextlib.suppress(HeartwireError):
        link.request("settings_revert")
        return True
    return False


def _new_keys(wanted: Settings) -> dict[int, str]:
    changes = {}
    for right in (codes.RIGHT_VIEW, codes.RIGHT_OPERATE, codes.RIGHT_CONFIGURE):
        value = str(wanted.get(f"board.{codes.RIGHTS[right]}_key"))
        if not value.startswith(FINGERPRINT):
            changes[right] = value
    return changes


def _read_back(link: Link, wanted: Settings, generation: int) -> None:
    """Hold what the board now runs against what was wanted."""
    running = download(link)
    if running.generation != generation:
        raise ProtocolMismatch(
            f"the board runs generation {running.generation} instead of {generation}", "apply it again"
        )
    expected = values_of(public_text(wanted))
    wrong = sorted(path for path in {*expected, *running.values} if expected.get(path) != running.values.get(path))
    if wrong:
        raise ProtocolMismatch(
            f"the board runs other settings than it was sent: {', '.join(wrong[:5])}",
            "board and host may be of different versions; the old settings stay",
        )

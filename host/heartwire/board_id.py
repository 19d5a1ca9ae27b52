"""A board's id: 16 hexadecimal digits, the chip's own, which is its USB serial number too. Whoever names one wants no
other board.
"""

from __future__ import annotations

import os
import re

from heartwire.errors import UsageProblem

# The only board that is talked to, where nobody says it otherwise.
ENVIRONMENT = "HEARTWIRE_BOARD_ID"
FORM = re.compile(r"[0-9A-Fa-f]{16}")


def board_id_of(text: str | None) -> str:
    """Return a board's id in capitals; "" for none. Raises UsageProblem if it cannot be one."""
    if text and not FORM.fullmatch(text):
        raise UsageProblem(
            f"board id {text[:40]}: must be 16 hexadecimal digits",
            "`heartwire boards` and `heartwire status --json` show it",
        )
    return (text or "").upper()


def wanted_id(named: str | None) -> str:
    """Return the only board that is talked to, as named, else as the environment says; "" for any. Raises UsageProblem
    if it cannot be one.
    """
    return board_id_of(named or os.environ.get(ENVIRONMENT))

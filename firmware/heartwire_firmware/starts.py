"""Starts: how many went badly in a row, what boot.py and main.py did about it, and when one counts as good.

The count stands in a scratch register, which every reset but a power loss leaves alone: boot.py counts a start up
before anything can go wrong, main.py goes to the other folder's firmware after three, and a minute of running ends it.
Called by supervisor.
"""

from heartwire_protocol import events
from heartwire_protocol.codes import NO_NODE

# A start counts as good after this long.
GOOD_BOOT_MS = 60000
BAD_BOOTS_MAX = 3
# Scratch register 1: the count in the low byte, and what main.py keeps there.
BOOT_REGISTER = 1
_COUNT = 0xFF
_BASE = 8
_RAN = 1 << 16
_FELL_BACK = 1 << 17

# How the loop ends.
RUN = 0  # it goes on
RESTART = 1
REPL = 2


def bad_boots(chip, journal) -> int:
    """Return how many starts before this one went badly, since firmware last came to run; journal a change of
    firmware, once.
    """
    word = chip.scratch(BOOT_REGISTER)
    before = max(0, (word & _COUNT) - 1)
    if word & _FELL_BACK:
        chip.put_scratch(BOOT_REGISTER, word & ~_FELL_BACK)
        journal.append(events.FELL_BACK, NO_NODE, 0, before)
    return max(0, before - (word >> _BASE & _COUNT))


def note_running(chip) -> None:
    """Note that this firmware came to run: what goes badly from now on is its own doing."""
    chip.put_scratch(BOOT_REGISTER, chip.scratch(BOOT_REGISTER) | _RAN)


def note_good(chip) -> None:
    """Note that this start went well."""
    chip.put_scratch(BOOT_REGISTER, 0)

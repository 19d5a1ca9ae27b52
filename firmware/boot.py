# Heartwire, before anything else: no Ctrl-C from a server's console, and every output at its documented level.
#
# Imports nothing that can fail: a damaged file system must not leave a pin undefined. Levels and pins are those of
# hw/pins.toml (a test holds them equal). A pin gets its value before its direction, so there is no glitch. If a fence
# was marked before a reset (scratch register 0), its relay is energised again at once; the loop proves and ends it.
#
# Decides too whether main.py shall guard, and starts the watchdog if so: USB comes up after this file, and a Ctrl-C
# that is waiting there stops main.py in its first lines, before it can do either.
#
# On a chip that is not in its table the same addresses are something else: there nothing is touched, and main.py says
# why.
import sys

import machine
import micropython

# Where the watchdog is (heartwire_protocol/chips.py).
WATCHDOGS = (("RP2040", 0x40058000), ("RP2350", 0x400D8000))
OUTPUTS = (
    (0, 1), (2, 1), (4, 1), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0),
    (11, 0), (12, 0), (13, 0), (14, 0), (15, 0), (25, 0), (28, 0),
)  # fmt: skip
POWER = (6, 7, 8)
ARM = 9
SCRATCH = 0xC
MARK_MAGIC = 0x2A57F000
MARK_MAGIC_MASK = 0x3FFFF000
# Bad boots in a row, in the low byte: the loop sets it to 0 after a minute of running. At power-on it is 0. From the
# fourth on the board guards in safe mode, or main.py starts the other folder's firmware; above the byte is main.py's.
BAD_BOOTS = SCRATCH + 4
COUNT = 0xFF
# Beyond the count's end, back by a number of starts that keeps both folders' turns.
WRAP = 6
# Why it restarted: the firmware asks for the prompt with the first value; main.py gives it when it finds the second.
NOTE = SCRATCH + 8
NOTE_REPL = 0x2A57E002
NOTE_PROMPT = 0x2A57E003
# The watchdog's longest time, nearly: a file that is not whole can keep MicroPython's loader reading for ever. The loop
# starts it again with a time of its own.
LOAD_MS = 8000
WATCHDOG_CLEAR = 0x3000
WATCHDOG_ENABLE = 1 << 30

# Nothing that main.py can do: each line here is compiled before the outputs are set, for a millisecond.
for chip, base in WATCHDOGS:
    if getattr(sys.implementation, "_machine", "").endswith(chip):
        memory = machine.mem32
        micropython.kbd_intr(-1)
        mark = memory[base + SCRATCH]
        marked = mark if mark & MARK_MAGIC_MASK == MARK_MAGIC else 0
        for gpio, level in OUTPUTS:
            if gpio in POWER and marked >> POWER.index(gpio) & 1:
                level = 1
            elif gpio == ARM and marked & 7:
                level = 1
            machine.Pin(gpio, machine.Pin.OUT, value=level)

        before = memory[base + BAD_BOOTS]
        bad = (before & COUNT) + 1
        if bad > COUNT:
            bad -= WRAP
        if memory[base + NOTE] == NOTE_REPL:
            bad = before = 0
            memory[base + NOTE] = NOTE_PROMPT
            # A prompt is for as long as somebody needs it, whether or not the restart has stopped the watchdog.
            memory[base + WATCHDOG_CLEAR] = WATCHDOG_ENABLE
        else:
            # The prompt was for one start; the next one guards, whatever became of main.py.
            if memory[base + NOTE] == NOTE_PROMPT:
                memory[base + NOTE] = 0
            machine.WDT(timeout=LOAD_MS)
        memory[base + BAD_BOOTS] = before & 0x3FFFFF00 | bad

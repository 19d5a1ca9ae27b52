# Heartwire: build the hardware, wire the stages, run the loop. Whatever goes wrong ends in a restart, never in a
# half-running guard.
import micropython

# Again, and first of all, because MicroPython allows Ctrl-C anew for each script it runs: a 3 among the bytes from the
# host would end the guard.
micropython.kbd_intr(-1)

import sys  # noqa: E402

import machine  # noqa: E402

# Where the watchdog is, and the oldest MicroPython (heartwire_protocol/chips.py).
CHIPS = (("RP2040", 0x40058000, (1, 24)), ("RP2350", 0x400D8000, (1, 26)))
# Scratch registers 1 and 2, the watchdog, from that base on: see boot.py.
BAD_BOOTS = 0x10
NOTE = 0x14
NOTE_PROMPT = 0x2A57E003
WATCHDOG_CLEAR = 0x3000
WATCHDOG_ENABLE = 1 << 30
# From so many bad starts on, with the key switch on, the board does not try any more and gives the prompt, so that it
# can be repaired over USB. All relays then stand at their documented level. Without the key it goes on trying, as a
# prompt shows the keys in its files; where there are none, in a new board, it gives it as well.
GIVE_UP = 8
KEY = 22
# In the register of bad boots, for starts.py: the count at which this folder's turn began, if the firmware before never
# came to run; whether any did; whether the folder is another one than before.
BASE = 8
RAN = 1 << 16
FELL_BACK = 1 << 17
TURN = 3
FOLDERS = ("fw_a", "fw_b")
CRASH = "/crash.txt"
# Where nothing starts, not more often than this, shorter than the watchdog of boot.py: each start takes from the flash.
SLOWLY_MS = 5000


name = getattr(sys.implementation, "_machine", "unknown")
base = 0
for row in CHIPS:
    if name.endswith(row[0]):
        base, oldest = row[1:]


def refusal():
    if not base:
        return "Heartwire runs on the %s, and this is: %s" % (" and the ".join([row[0] for row in CHIPS]), name)
    version = sys.implementation[1][:3]  # type: ignore[index] # a tuple with names here
    if version[:2] >= oldest:
        return ""
    return "Heartwire needs MicroPython %d.%d or later, and this is %s; `heartwire flash` installs it" % (
        oldest + (".".join([str(part) for part in version]),)
    )


def choose():
    # The folder of the last whole update (host: flash/install.py); without one the firmware stands at the top. After
    # three bad starts it is the other one's turn, also where the name is lost or nonsense.
    import os

    slot = ""
    try:
        with open("/slot") as file:
            slot = file.read()
    except (OSError, ValueError):
        pass
    word = machine.mem32[base + BAD_BOOTS]
    bad = word & 0xFF
    if bad > 1 and bad % TURN == 1:
        other = FOLDERS[slot == FOLDERS[0]]
        try:
            if os.listdir("/" + other):
                slot = other
                began = word >> BASE & 0xFF if word & RAN else bad - 1
                machine.mem32[base + BAD_BOOTS] = bad | began << BASE | FELL_BACK
                with open("/slot.new", "w") as file:
                    file.write(slot)
                os.rename("/slot.new", "/slot")
        except OSError:
            pass
    if slot:
        sys.path.insert(0, "/" + slot)


def may_show():
    # Pulled down by the pad's own resistor until now: it counts if it stays low for milliseconds.
    pin = machine.Pin(KEY, machine.Pin.IN, machine.Pin.PULL_UP)
    if not sum([pin.value() for _ in range(500)]):
        return True
    for name in ("/data/settings.0", "/data/settings.1"):
        try:
            with open(name, "rb") as file:
                for row in file.read().split(b"\n"):
                    if b"key=" in row and not row.endswith(b"key="):
                        return False
        except OSError:
            pass
    return True


def guard():
    import gc

    choose()
    # All of the firmware in one module: host/heartwire/bundle makes it of firmware/heartwire_*.
    import heartwire_board  # type: ignore[import-not-found]

    # What loading has left lies between what lives: now it is filled first, and large pieces stay for later.
    gc.collect()
    heartwire_board.guard()


def note(error):
    import io

    told = io.StringIO()
    sys.print_exception(error, told)
    sys.stdout.write(told.getvalue())
    try:
        try:
            with open(CRASH) as file:
                if file.read() == told.getvalue():
                    return
        except OSError:
            pass
        with open(CRASH, "w") as file:
            file.write(told.getvalue())
    except OSError:
        pass


def prompt():
    machine.mem32[base + WATCHDOG_CLEAR] = WATCHDOG_ENABLE
    micropython.kbd_intr(3)


def start():
    why = refusal()
    if not base:
        micropython.kbd_intr(3)
    elif why or machine.mem32[base + NOTE] == NOTE_PROMPT:
        prompt()
    else:
        guarded()
    if why:
        sys.stdout.write(why + "\n")


def guarded():
    bad = machine.mem32[base + BAD_BOOTS] & 0xFF
    shows = False
    # Whatever goes wrong in here must not end at a prompt.
    try:
        shows = bad >= GIVE_UP and may_show()
        if not shows:
            guard()
    except BaseException as error:
        note(error)
        if bad >= GIVE_UP:
            import time

            time.sleep_ms(SLOWLY_MS)
    finally:
        if shows:
            prompt()
        else:
            machine.reset()


start()

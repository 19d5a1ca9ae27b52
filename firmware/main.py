# Heartwire: build the hardware, wire the stages, run the loop. Whatever goes wrong ends in a restart, never in a
# half-running guard.
import machine
import micropython

SCRATCH = 0x4005800C
BAD_BOOTS = SCRATCH + 4
NOTE = SCRATCH + 8
NOTE_REPL = 0x2A57E002
# RP2040 datasheet 4.7.6: CTRL, bit ENABLE; writes to this alias clear bits (2.1.2).
WATCHDOG_CLEAR = 0x4005B000
WATCHDOG_ENABLE = 1 << 30
# From the fourth start in a row that did not last a minute the board guards in safe mode; from here on it does not try
# any more and gives the prompt, so that it can be repaired over USB. All relays then stand at their documented level.
GIVE_UP = 8
# The watchdog's longest time, nearly: a file that is not whole can keep MicroPython's loader reading for ever. The loop
# starts it again with a time of its own.
LOAD_MS = 8000


def choose():
    # The folder of the last whole update (host: flash/install.py); without one the firmware stands at the top.
    import sys

    try:
        with open("/slot") as file:
            sys.path.insert(0, "/" + file.read())
    except OSError:
        pass


def guard():
    choose()
    machine.WDT(timeout=LOAD_MS)
    # All of the firmware in one module: host/heartwire/bundle makes it of firmware/heartwire_*.
    import heartwire_board  # type: ignore[import-not-found]

    heartwire_board.guard()


def start():
    # Again, because MicroPython allows Ctrl-C anew for each script it runs: a 3 among the bytes from the host would end
    # the guard.
    micropython.kbd_intr(-1)
    if machine.mem32[NOTE] == NOTE_REPL:
        machine.mem32[NOTE] = 0
        machine.mem32[BAD_BOOTS] = 0
    elif machine.mem32[BAD_BOOTS] < GIVE_UP:
        try:
            guard()
        except BaseException as error:
            import sys

            try:
                with open("/crash.txt", "w") as file:
                    sys.print_exception(error, file)
            except OSError:
                pass
            sys.print_exception(error)
        machine.reset()
    # A prompt is for as long as somebody needs it, whether or not the restart has stopped the watchdog.
    machine.mem32[WATCHDOG_CLEAR] = WATCHDOG_ENABLE
    micropython.kbd_intr(3)


start()

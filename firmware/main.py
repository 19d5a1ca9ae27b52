# Heartwire: build the hardware, wire the stages, run the loop. Whatever goes wrong ends in a restart, never in a
# half-running guard.
import machine
import micropython

# Scratch register 2; boot.py has decided.
NOTE = 0x40058014
NOTE_PROMPT = 0x2A57E003


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
    # All of the firmware in one module: host/heartwire/bundle makes it of firmware/heartwire_*.
    import heartwire_board  # type: ignore[import-not-found]

    heartwire_board.guard()


def start():
    # Again, because MicroPython allows Ctrl-C anew for each script it runs: a 3 among the bytes from the host would end
    # the guard.
    micropython.kbd_intr(-1)
    if machine.mem32[NOTE] == NOTE_PROMPT:
        micropython.kbd_intr(3)
        return
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


start()

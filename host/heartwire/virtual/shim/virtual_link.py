"""The one cable between the virtual machine and its supervisor: inputs come in, edges and bytes go out.

Everything except USB passes through one non-blocking stream socket, read at most once per millisecond into one buffer,
so that an idle turn of the firmware's loop costs one system call and allocates nothing. It never decides anything and
never sleeps, except to hand over an edge while the supervisor is behind. Called by machine.py, rp2.py and start.py.

In, fixed records of 32 bytes (so that a read never ends inside one): kind, argument, length, up to 29 bytes of payload.
    I gpio, level (0, 1, 2 = nothing drives it)    L line, bytes for that line    F count: flash operation to fail at
Out: kind, argument, length, payload.
    O gpio, level and stamp      Z gpio is an input again, stamp     T gpio still toggles, level and stamp
    L line, bytes    W fed, stamp    D watchdog started, timeout in ms    S scratch index, value
    H main.py starts    R reset    B bootloader    E main.py ended, length 1 if by an exception    P cut my power
Stamps are CLOCK_MONOTONIC in microseconds, the same clock as the host's time.monotonic_ns().
"""

import struct
import sys
import time

RECORD = 32
GPIOS = 30
FLOATING = 2
FED_EVERY_MS = 50  # the supervisor adds this to the watchdog's timeout
TOGGLE_EVERY_MS = 20  # a charge pump holds for longer than this
HARDWARE_FIFO = 32  # bytes a PL011 keeps while interrupts are off

levels_in = bytearray(GPIOS)
levels_out = bytearray(GPIOS)  # the output latches: they belong to the chip, not to a Pin object
overrun = [False, False]  # whether a UART's hardware FIFO has lost bytes
fast = bytearray(GPIOS)  # 1: edges of this pin are summed up instead of reported one by one
lines = [None, None, None]  # UART0, UART1, the PIO line: objects with receive(buffer, start, count)
flushes = []  # called once per pump: what PIO collected for sending
flash_fail_at = 0
config = {}

_rx = bytearray(RECORD * 64)
_tx = bytearray(16)
_control = None
_pumped_ms = -1
_fed_ms = -1000


def open_link(settings):
    """Open the control socket that the supervisor passed on as a file descriptor."""
    global _control, flash_fail_at
    config.update(settings)
    _control = open(settings["control_fd"], "r+b")
    for gpio in range(GPIOS):
        levels_in[gpio] = settings["inputs"][gpio]
    for gpio in settings["fast_gpios"]:
        fast[gpio] = 1
    flash_fail_at = settings["flash_fail_at"]


def pump():
    """Take what the supervisor sent, at most once per millisecond."""
    global _pumped_ms
    now_ms = time.ticks_ms()
    if now_ms == _pumped_ms:
        return
    _pumped_ms = now_ms
    pump_now()


def pump_now():
    """Take what the supervisor sent."""
    for flush in flushes:
        flush()
    count = _control.readinto(_rx)
    if count is None:
        return
    if count == 0:
        sys.exit(1)  # the supervisor is gone
    _take(count, 0)


def pump_after_stall():
    """Take what came while interrupts were off: a UART kept only what its hardware FIFO holds."""
    count = _control.readinto(_rx)
    if count:
        _take(count, HARDWARE_FIFO)


def _take(count, limit):
    global flash_fail_at
    position = 0
    kept0 = kept1 = 0
    while position < count:
        kind = _rx[position]
        argument = _rx[position + 1]
        length = _rx[position + 2]
        start = position + 3
        if kind == 0x4C:  # L
            if limit:
                kept = kept0 if argument == 0 else kept1
                if argument < 2 and length > limit - kept:
                    overrun[argument] = True
                    length = limit - kept
                if argument == 0:
                    kept0 += length
                elif argument == 1:
                    kept1 += length
            line = lines[argument]
            if line is not None and length:
                line.receive(_rx, start, length)
        elif kind == 0x49:  # I
            levels_in[argument] = _rx[start]
        elif kind == 0x46:  # F
            flash_fail_at = struct.unpack_from("<I", _rx, start)[0]
        position += RECORD


def _send(length):
    while _control.write(_tx, 0, length) is None:
        time.sleep_ms(1)  # an edge is never lost


def report_level(kind, gpio, level):
    """Report an output's level (O), that it toggles (T), or that it is an input (Z), with the time of now."""
    _tx[0] = ord(kind)
    _tx[1] = gpio
    _tx[2] = 9
    _tx[3] = level
    struct.pack_into("<Q", _tx, 4, time.ticks_us())
    _send(12)


def report_fed(force=False):
    """Report that the watchdog was fed, unless that was reported a moment ago."""
    global _fed_ms
    pump()
    if _pumped_ms - _fed_ms < FED_EVERY_MS and not force:
        return
    _fed_ms = _pumped_ms
    _tx[0] = 0x57  # W
    _tx[1] = 0
    _tx[2] = 8
    struct.pack_into("<Q", _tx, 3, time.ticks_us())
    _send(11)


def report_number(kind, argument, value):
    """Report a 32-bit number: D timeout in ms, S scratch register."""
    _tx[0] = ord(kind)
    _tx[1] = argument
    _tx[2] = 4
    struct.pack_into("<I", _tx, 3, value)
    _send(7)


def report(kind, argument=0):
    """Report a bare event."""
    _tx[0] = ord(kind)
    _tx[1] = argument
    _tx[2] = 0
    _send(3)


def end(kind):
    """Report the end of this life and wait for the supervisor to end it: nothing is flushed or closed, as on a chip."""
    report(kind)
    while True:
        time.sleep_ms(1000)


def send_bytes(line, buffer, count):
    """Send the first `count` (at most 255) bytes of `buffer` on a line; return False if the supervisor is behind."""
    _tx[0] = 0x4C  # L
    _tx[1] = line
    _tx[2] = count
    if _control.write(_tx, 0, 3) is None:
        return False
    done = 0
    while done < count:
        sent = _control.write(buffer, done, count - done)
        if sent is None:
            time.sleep_ms(1)
        else:
            done += sent
    return True

"""What the firmware uses of MicroPython's `rp2`: a PIO UART, DMA out of its FIFO, and the flash.

A behavioural stand-in, not PIO: programs are never executed, only their names count. A state machine running `uart_tx`
sends each word's low byte; one running `uart_rx` gets each received byte in the top 8 bits of a word, through a FIFO of
8 words that overflows, exactly what a joined FIFO does between two looks. DMA copies with the chip's own control bits,
byte lanes and rings, so a byte transfer reads 0 unless it reads address RXF + 3. Imported by the hardware module only.
"""

import time

import uctypes
import virtual_link as _link

_PIO_LINE = 2
_PIO_BASES = (0x50200000, 0x50300000)
_FIFO_DEPTH = 8
_machines = {}
_channels = []


class PIO:
    """Constants of rp2.PIO."""

    IN_LOW = 0
    IN_HIGH = 1
    OUT_LOW = 2
    OUT_HIGH = 3
    SHIFT_LEFT = 0
    SHIFT_RIGHT = 1
    JOIN_NONE = 0
    JOIN_TX = 1
    JOIN_RX = 2
    IRQ_SM0 = 256
    IRQ_SM1 = 512
    IRQ_SM2 = 1024
    IRQ_SM3 = 2048

    def __init__(self, id=0):
        self._id = id

    def remove_program(self, program=None):
        """Do nothing."""


class _Program:
    def __init__(self, name, options):
        self.name = name
        self.options = options


def asm_pio(**options):
    """Keep the program's name; its instructions are never run."""

    def keep(function):
        return _Program(function.__name__, options)

    return keep


class StateMachine:
    """A state machine whose program is called uart_tx or uart_rx."""

    def __init__(self, id, program=None, freq=-1, **pins):
        if not 0 <= id < 8:
            raise ValueError("invalid StateMachine")
        self._id = id
        self._active = False
        self._fifo = []
        self._tx = bytearray(64)
        self._tx_count = 0
        self._tx_level = 0
        self._tx_us = 0
        self._dma = None
        before = _machines.get(id)
        if before is not None:  # the chip has each state machine only once
            self._dma = before._dma
            if before._flush in _link.flushes:
                _link.flushes.remove(before._flush)
        _machines[id] = self
        if program is not None:
            self.init(program, freq, **pins)

    def init(self, program, freq=-1, **pins):
        """Take the program and its clock; a UART bit takes 8 cycles."""
        if program.name not in ("uart_tx", "uart_rx"):
            raise ValueError("the virtual board knows uart_tx and uart_rx, not " + program.name)
        self._sends = program.name == "uart_tx"
        self._bytes_per_s = max(1, freq // 80)
        if self._sends:
            _link.flushes.append(self._flush)
        else:
            _link.lines[_PIO_LINE] = self

    def active(self, value=None):
        """Start or stop, or return whether it runs."""
        if value is not None:
            self._active = bool(value)
        return self._active

    def restart(self):
        """Empty the FIFOs."""
        self._fifo.clear()
        self._tx_count = self._tx_level = 0

    def put(self, value, shift=0):
        """Queue a word, or each item of a buffer; only the low byte after the shift is sent."""
        if isinstance(value, int):
            self._put((value << shift) & 0xFF)
        else:
            for item in value:
                self._put((item << shift) & 0xFF)

    def _put(self, byte):
        if self._tx_count == len(self._tx):
            self._flush()
        self._age()
        self._tx[self._tx_count] = byte
        self._tx_count += 1
        self._tx_level += 1

    def _age(self):
        now_us = time.ticks_us()
        if not self._tx_level:
            self._tx_us = now_us
            return
        sent = (now_us - self._tx_us) * self._bytes_per_s // 1_000_000
        if sent:
            self._tx_level = max(0, self._tx_level - sent)
            self._tx_us = now_us

    def _flush(self):
        if self._tx_count and self._active and _link.send_bytes(_PIO_LINE, self._tx, self._tx_count):
            self._tx_count = 0

    def tx_fifo(self):
        """Return how many words wait to be sent; one leaves per byte time."""
        self._age()
        return min(self._tx_level, _FIFO_DEPTH)

    def rx_fifo(self):
        """Return how many words wait to be read."""
        _link.pump()
        return len(self._fifo)

    def get(self, buffer=None, shift=0):
        """Return the next word; wait for it as the chip does."""
        while not self._fifo:
            _link.pump()
        return self._fifo.pop(0) >> shift

    def receive(self, buffer, start, count):
        """Take bytes from the line: to the DMA that reads this FIFO, else into the FIFO; what does not fit is lost."""
        if not self._active:
            return
        dma = self._dma
        for position in range(start, start + count):
            if dma is not None and dma.running:
                dma.take(buffer[position])
            elif len(self._fifo) < _FIFO_DEPTH:
                self._fifo.append(buffer[position] << 24)


class DMA:
    """A DMA channel that reads a uart_rx FIFO, or writes a buffer into a uart_tx FIFO."""

    def __init__(self):
        if len(_channels) == 12:
            raise OSError(16)
        self.channel = len(_channels)
        _channels.append(self)
        self.ctrl = 0
        self.running = False
        self._machine = None
        self._lane = 0
        self._read = None
        self._write = 0
        self._left = 0
        self._memory = None
        self._offset = 0
        self._wrap = 0

    def pack_ctrl(self, default=None, **fields):
        """Return the control word; fields as on the chip, `size` 0 byte, 1 half-word, 2 word."""
        value = 0x3F8031 | 2 << 2 | self.channel << 11 if default is None else default
        for name, field in fields.items():
            shift, width = _CTRL_FIELDS[name]
            mask = (1 << width) - 1
            value = value & ~(mask << shift) | (int(field) & mask) << shift
        return value

    def unpack_ctrl(self, value):
        """Return the fields of a control word."""
        return {name: value >> place[0] & (1 << place[1]) - 1 for name, place in _CTRL_FIELDS.items()}

    def config(self, read=None, write=None, count=None, ctrl=None, trigger=False):
        """Set what is given; start if `trigger`."""
        if ctrl is not None:
            self.ctrl = ctrl
        if count is not None:
            self._left = count
        if read is not None:
            self._read = read
            self._attach(read)
        if write is not None:
            self._write = write
        if trigger:
            self._start()

    def _attach(self, source):
        if self._machine is not None:
            self._machine._dma = None
            self._machine = None
        if isinstance(source, StateMachine):
            self._machine = source
            self._lane = 0
        elif isinstance(source, int):
            for block in range(2):
                offset = source - _PIO_BASES[block] - 0x20
                if 0 <= offset < 16:
                    self._machine = _machines.get(block * 4 + (offset >> 2))
                    self._lane = offset & 3
        if self._machine is not None:
            self._machine._dma = self

    def _start(self):
        self.running = True
        if isinstance(self._write, StateMachine):
            self._write.put(self._read)
            self._left = 0
            self.running = False
            return
        if not isinstance(self._write, int):
            self._write = uctypes.addressof(self._write)
        ring_bits = self.ctrl >> 6 & 15
        item = 1 << (self.ctrl >> 2 & 3)
        if ring_bits and self.ctrl >> 10 & 1:
            self._wrap = 1 << ring_bits
            self._offset = self._write & (self._wrap - 1)
            self._memory = uctypes.bytearray_at(self._write - self._offset, self._wrap)
        else:
            self._wrap = 0
            self._offset = 0
            self._memory = uctypes.bytearray_at(self._write, min(self._left * item, 65536))
        self._write -= self._offset  # from here on the base of the memory
        machine = self._machine
        if machine is not None:
            while machine._fifo and self.running:
                self.take(machine._fifo.pop(0) >> 24)

    def take(self, byte):
        """Copy one received byte to memory, as the lanes of the source address have it."""
        item = 1 << (self.ctrl >> 2 & 3)
        offset = self._offset
        for lane in range(self._lane, self._lane + item):
            self._memory[offset] = byte if lane & 3 == 3 else 0
            offset += 1
        if self.ctrl >> 5 & 1:
            self._offset = offset & (self._wrap - 1) if self._wrap else offset
        self._left -= 1
        if self._left <= 0 or (not self._wrap and self._offset + item > len(self._memory)):
            self.running = False

    @property
    def write(self):
        """Return the current write address; looks at the line first."""
        _link.pump()
        return self._write + self._offset if isinstance(self._write, int) else uctypes.addressof(self._write)

    @write.setter
    def write(self, address):
        self._write = address
        self._offset = 0
        if self.running:
            self._start()

    @property
    def read(self):
        """Return what is read from."""
        return self._read

    @read.setter
    def read(self, source):
        self._read = source
        self._attach(source)

    @property
    def count(self):
        """Return how many transfers are left; looks at the line first."""
        _link.pump()
        return self._left

    @count.setter
    def count(self, value):
        self._left = value

    def active(self, value=None):
        """Start or stop, or return whether transfers are left."""
        if value is not None:
            if value:
                self._start()
            else:
                self.running = False
        _link.pump()
        return self.running

    def close(self):
        """Give the channel back."""
        self.running = False
        if self._machine is not None:
            self._machine._dma = None
        if self in _channels:
            _channels.remove(self)


_CTRL_FIELDS = {
    "enable": (0, 1),
    "high_pri": (1, 1),
    "size": (2, 2),
    "inc_read": (4, 1),
    "inc_write": (5, 1),
    "ring_size": (6, 4),
    "ring_sel": (10, 1),
    "chain_to": (11, 4),
    "treq_sel": (15, 6),
    "irq_quiet": (21, 1),
    "bswap": (22, 1),
    "sniff_en": (23, 1),
}


class Flash:
    """The file system's part of the flash as a block device over the image file, written through at once."""

    BLOCK = 4096
    PAGE = 256

    _file = None  # shared: a second object must not close the descriptor when it is collected

    def __init__(self):
        if Flash._file is None:
            Flash._file = open(_link.config["image_fd"], "r+b")
        self._image = Flash._file
        self._erase_us = _link.config["erase_us"]
        self._program_us = _link.config["program_us"]
        self._blank = b"\xff" * Flash.BLOCK

    def readblocks(self, block, buffer, offset=0):
        """Read from a block."""
        self._image.seek(block * Flash.BLOCK + offset)
        self._image.readinto(buffer)

    def writeblocks(self, block, buffer, offset=None):
        """Program pages; without an offset erase the block first."""
        if offset is None:
            self._erase(block)
            offset = 0
        self._operate(block * Flash.BLOCK + offset, buffer, self._program_us * (len(buffer) + 255) // Flash.PAGE)

    def ioctl(self, operation, argument):
        """Answer the block device protocol: 4 blocks, 5 block size, 6 erase."""
        if operation == 4:
            return _link.config["blocks"]
        if operation == 5:
            return Flash.BLOCK
        if operation == 6:
            self._erase(argument)
        return 0

    def _erase(self, block):
        self._operate(block * Flash.BLOCK, self._blank, self._erase_us)

    def _operate(self, position, data, busy_us):
        self._image.seek(position)
        if _link.flash_fail_at:
            _link.flash_fail_at -= 1
            if not _link.flash_fail_at:
                self._image.write(data, 0, len(data) // 2)
                _link.end("P")
        if busy_us:
            _link.pump_now()
            time.sleep_us(busy_us)
        self._image.write(data)
        if busy_us:
            _link.pump_after_stall()

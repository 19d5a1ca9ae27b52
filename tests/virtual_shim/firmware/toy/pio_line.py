"""The third line: a PIO UART that receives by DMA into a ring, the way a real firmware has to do it."""

import uctypes
from machine import Pin
from rp2 import DMA, PIO, StateMachine, asm_pio

_RING_BITS = 8
_RING = 1 << _RING_BITS
_RXF1 = 0x50200024


@asm_pio(sideset_init=PIO.OUT_HIGH, out_init=PIO.OUT_HIGH, out_shiftdir=PIO.SHIFT_RIGHT, fifo_join=PIO.JOIN_TX)
def uart_tx():
    """Not run by the virtual board."""


@asm_pio(in_shiftdir=PIO.SHIFT_RIGHT, fifo_join=PIO.JOIN_RX)
def uart_rx():
    """Not run by the virtual board."""


class PioLine:
    """any(), readinto() and write() like machine.UART."""

    def __init__(self, baudrate):
        self._tx = StateMachine(0, uart_tx, freq=8 * baudrate, sideset_base=Pin(2), out_base=Pin(2))
        self._rx = StateMachine(1, uart_rx, freq=8 * baudrate, in_base=Pin(3), jmp_pin=Pin(3))
        self._tx.active(1)
        self._rx.active(1)
        self._memory = bytearray(2 * _RING)
        address = uctypes.addressof(self._memory)
        self._base = (address + _RING - 1) & ~(_RING - 1)
        self._offset = self._base - address
        self._dma = DMA()
        control = self._dma.pack_ctrl(size=0, inc_read=False, ring_size=_RING_BITS, ring_sel=True, treq_sel=5)
        self._dma.config(read=_RXF1 + 3, write=self._base, count=0x0FFFFFFF, ctrl=control, trigger=True)
        self._taken = 0

    def any(self):
        """Return how many bytes wait."""
        return (self._dma.write - self._base - self._taken) & (_RING - 1)

    def readinto(self, buffer):
        """Read what waits; return None if there is nothing."""
        count = min(self.any(), len(buffer))
        if not count:
            return None
        for position in range(count):
            buffer[position] = self._memory[self._offset + self._taken]
            self._taken = (self._taken + 1) & (_RING - 1)
        return count

    def write(self, data):
        """Send bytes."""
        for byte in data:
            self._tx.put(byte)
        return len(data)

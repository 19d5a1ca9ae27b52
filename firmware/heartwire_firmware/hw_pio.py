"""The third serial line: a UART made of two PIO state machines, received by DMA into a ring.

The chip has two UARTs and three nodes. PIO receives at 8 cycles a bit and checks the stop bit; DMA moves each byte, so
nothing is lost while flash is erased with interrupts off. Made by hw_rp2.Hardware. It never interprets a byte.
"""

import sys

import rp2
import uctypes

from heartwire_firmware import idle, ports
from heartwire_firmware.hw_pio_programs import uart_rx, uart_tx

# PIO0 at 0x50200000, RXF0 at offset 0x20, DREQ numbers of PIO0 RX 4 to 7: RP2040 datasheet 3.7 and 2.5.3.1, RP2350
# 11.7 and 12.6.4.1, the same.
_RXF = 0x50200020
_DREQ_RX = 4
_TX_MACHINE = 0
_RX_MACHINE = 1
RING_BITS = 8
RING = 1 << RING_BITS
# As large as the RP2350's counter, whose upper four bits are a mode (datasheet 12.6, TRANS_COUNT; the RP2040's has 32
# bits); at 115200 baud without a pause this lasts six hours, and the ring is armed again long before.
_COUNT = (1 << 28) - 1
_COUNT_LOW = 1 << 27
_TX_FIFO = 8


class PioLine(ports.Line):
    """A ports.Line on PIO 0, state machines 0 (send) and 1 (receive); `tx` and `rx` are machine.Pin."""

    def __init__(self, tx, rx, baud: int):
        self._tx = tx
        self._rx = rx
        self._queue = bytearray(RING)
        self._queue_from = 0
        self._queue_until = 0
        memory = bytearray(2 * RING)
        address = uctypes.addressof(memory)
        start = (RING - address % RING) % RING
        self._memory = memory
        self._ring = memoryview(memory)[start : start + RING]
        self._ring_address = address + start
        self._dma = rp2.DMA()
        self._left = _COUNT
        self._overruns = 0
        self.idle = idle.IdleStamp()  # its mark: how much DMA has left
        self._make(baud)

    def _make(self, baud: int) -> None:
        self._sender = rp2.StateMachine(_TX_MACHINE, uart_tx, freq=8 * baud, sideset_base=self._tx, out_base=self._tx)
        self._receiver = rp2.StateMachine(_RX_MACHINE, uart_rx, freq=8 * baud, in_base=self._rx, jmp_pin=self._rx)
        if sys.platform == "rp2":
            # The block's own: what StateMachine.irq returns is looked up by the block's number, not the machine's.
            self.idle.listen(rp2.PIO(0), self._fell_idle, rp2.PIO.IRQ_SM1)
        self._sender.active(1)
        self._receiver.active(1)
        self._arm()

    def _arm(self) -> None:
        dma = self._dma
        dma.active(0)
        control = dma.pack_ctrl(
            size=0, inc_read=False, inc_write=True, ring_size=RING_BITS, ring_sel=True, treq_sel=_DREQ_RX + _RX_MACHINE
        )
        # The received byte stands in the top 8 bits of the FIFO word: the byte at offset 3.
        dma.config(read=_RXF + 4 * _RX_MACHINE + 3, write=self._ring_address, count=_COUNT, ctrl=control, trigger=True)
        self._left = _COUNT

    def _fell_idle(self, block) -> None:
        self.idle.note(self._dma.count)  # type: ignore[attr-defined] # the stubs lack it

    def set_baud(self, baud: int) -> None:
        self._sender.active(0)
        self._receiver.active(0)
        self._make(baud)

    def waiting(self) -> int:
        """Return how many received bytes wait; 1 as well if bytes to be sent do."""
        if self._queue_from != self._queue_until:
            return 1
        return self._left - self._dma.count  # type: ignore[attr-defined] # the stubs lack it

    def read_into(self, buffer: bytearray, limit: int) -> int:
        # Called in a look at a deadline, again and again: few names, as MicroPython takes room for more from the heap,
        # which takes the longer the older the board is.
        self._send()
        waiting = self._left - self._dma.count  # type: ignore[attr-defined] # the stubs lack it; documented with rp2.DMA
        if waiting > RING:
            # More than the ring holds came since the last look: what is left of it is not whole.
            self._overruns += 1
            self._left -= waiting
            return 0
        if waiting == 0:
            if self._left < _COUNT_LOW:
                self._arm()
            return 0
        self.idle.take(self._left - waiting, waiting <= limit)
        return self._copy(buffer, waiting if waiting < limit else limit)

    def _copy(self, buffer: bytearray, count: int) -> int:
        at = (_COUNT - self._left) & (RING - 1)
        ring = self._ring
        for index in range(count):
            buffer[index] = ring[at]
            at = (at + 1) & (RING - 1)
        self._left -= count
        return count

    def write(self, buffer) -> int:
        count = len(buffer)
        free = RING - 1 - ((self._queue_until - self._queue_from) & (RING - 1))
        if count > free:
            count = free
        for index in range(count):
            self._queue[self._queue_until] = buffer[index]
            self._queue_until = (self._queue_until + 1) & (RING - 1)
        self._send()
        return count

    def _send(self) -> None:
        sender = self._sender
        while self._queue_from != self._queue_until and sender.tx_fifo() < _TX_FIFO:
            sender.put(self._queue[self._queue_from])
            self._queue_from = (self._queue_from + 1) & (RING - 1)

    def take_errors(self) -> int:
        return 0  # a byte without a stop bit never leaves the state machine

    def take_overruns(self) -> int:
        overruns = self._overruns
        self._overruns = 0
        return overruns

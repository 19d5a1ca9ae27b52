"""The two PIO programs of the third serial line, 8 cycles a bit, 8N1: assembly in the words of rp2.asm_pio.

Used by hw_pio only. The receiver checks the stop bit and drops a byte without one (a break, or noise), and raises its
interrupt when the line has fallen idle.
"""

import rp2


@rp2.asm_pio(
    sideset_init=rp2.PIO.OUT_HIGH,
    out_init=rp2.PIO.OUT_HIGH,
    out_shiftdir=rp2.PIO.SHIFT_RIGHT,
    fifo_join=rp2.PIO.JOIN_TX,
)
def uart_tx():
    pull().side(1)[7]
    set(x, 7).side(0)[7]
    label("bit")
    out(pins, 1)[6]
    jmp(x_dec, "bit")


@rp2.asm_pio(in_shiftdir=rp2.PIO.SHIFT_RIGHT, fifo_join=rp2.PIO.JOIN_RX)
def uart_rx():
    # Once: 127 into OSR, where it stays.
    mov(x, invert(null))
    in_(x, 7)
    mov(osr, reverse(isr))
    mov(isr, null)
    wrap_target()
    label("start")
    mov(y, osr)
    label("quiet")
    jmp(pin, "high")
    # Seen after one or two cycles: 11 or 12 from the start bit's edge to the first sample, whose middle is at 12.
    set(x, 7)[8]
    jmp("bit")
    label("high")
    jmp(y_dec, "quiet")
    # Nothing for 32 bits, as long as the chip's own UARTs wait.
    irq(rel(0))
    wait(0, pin, 0)
    set(x, 7)[10]
    label("bit")
    in_(pins, 1)
    jmp(x_dec, "bit")[6]
    jmp(pin, "stop")
    # No stop bit: a break or noise. Wait for idle and drop the byte.
    wait(1, pin, 0)
    jmp("start")
    label("stop")
    push(noblock)
    wrap()

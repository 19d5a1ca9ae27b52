# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What the emulated chip spends most of its time on, compiled beside the emulator's own modules: its main loop, and the
divider and spinlocks that MicroPython asks at every look at the time.

The emulator's loop asks the interpreter after each instruction whether it was stopped, and which PIO blocks to step. Here
the PIO runs in alarms of its own (heartwire.emulated.pio), and only an alarm or an instruction stops a run, so both
questions are answered without the interpreter. Shifts by a register are here too, as the emulator's own get C wrong. An instruction of 16 bits is fetched from flash and RAM here, and a branch
with a condition is carried out here, as that asked the interpreter too. What the others and an alarm do stays the
emulator's own. Compiled by tools/emulator.py, used by heartwire.emulated.chip where it is there.
"""

from rp2040py.native._cortex_m0_core cimport DISPATCH_TABLE, CortexM0Core, OpHandler
from rp2040py.native._rp2040 cimport RP2040
from rp2040py.native._simulation_clock cimport SimulationClock

cdef double CYCLE_NS = 1e9 / 125_000_000  # as the emulator's own loop has it
cdef int BATCH = 1_000_000  # instructions, after which the caller looks at its limit of real time

# RP2040 datasheet 2.2: where flash and RAM begin.
cdef unsigned int FLASH_START = 0x10000000
cdef unsigned int RAM_START = 0x20000000
# ARMv6-M A5.1: from here on an instruction has 32 bits.
cdef unsigned int WIDE = 0xE800
# ARMv6-M A5.2.2: which of the sixteen data processing instructions shift by a register, a bit each.
cdef unsigned int BY_REGISTER = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7

# RP2040 datasheet 2.3.1.7, offsets of SIO.
cdef enum:
    UDIVIDEND = 0x60
    UDIVISOR = 0x64
    SDIVIDEND = 0x68
    SDIVISOR = 0x6C
    QUOTIENT = 0x70
    REMAINDER = 0x74
    CSR = 0x78
    SPINLOCK_STATE = 0x5C
    SPINLOCK_0 = 0x100
    SPINLOCK_31 = 0x17C


cdef class Simulator:
    """What `execute_batch` takes in place of the emulator's `simulator`; `stopped` ends a batch."""

    cdef public RP2040 rp2040
    cdef public SimulationClock clock
    cdef public bint stopped

    def __init__(self, simulator):
        self.rp2040 = simulator.rp2040
        self.clock = simulator.clock
        self.stopped = False


cdef bint holds(CortexM0Core core, unsigned int condition) noexcept:
    """Tell whether a condition holds (ARMv6-M A6.3): every odd one is the opposite of the one before."""
    cdef unsigned int kind = condition >> 1
    cdef bint found
    if kind == 0:
        found = core.z
    elif kind == 1:
        found = core.c
    elif kind == 2:
        found = core.n
    elif kind == 3:
        found = core.v
    elif kind == 4:
        found = core.c and not core.z
    elif kind == 5:
        found = core.n == core.v
    else:
        found = core.n == core.v and not core.z
    return not found if condition & 1 else found


cdef int shift(CortexM0Core core, unsigned int opcode, unsigned int* registers) noexcept:
    """Execute LSLS, LSRS, ASRS or RORS by a register, with C as ARMv6-M A2.2.1 has it, and return its cycles.

    The emulator's own changes C in a shift by 0, and has another bit in it after LSLS by more than 32.
    """
    cdef unsigned int kind = opcode >> 6 & 0xF
    cdef unsigned int count = registers[opcode >> 3 & 7] & 0xFF
    cdef unsigned int value = registers[opcode & 7]
    cdef unsigned int sign = 0xFFFFFFFFU if value >> 31 else 0
    if count == 0:
        pass
    elif kind == 2:  # LSLS
        core.c = count <= 32 and value >> (32 - count) & 1
        value = value << count if count < 32 else 0
    elif kind == 3:  # LSRS
        core.c = count <= 32 and value >> (count - 1) & 1
        value = value >> count if count < 32 else 0
    elif kind == 4:  # ASRS
        core.c = value >> (count - 1) & 1 if count < 32 else sign & 1
        value = value >> count | sign << (32 - count) if count < 32 else sign
    else:  # RORS
        count &= 31
        if count:
            value = value >> count | value << (32 - count)
        core.c = value >> 31
    registers[opcode & 7] = value
    core.n = value >> 31
    core.z = value == 0
    return 1


cdef int step(CortexM0Core core, RP2040 chip, unsigned int* registers, unsigned char* flash, unsigned char* ram) except -1:
    """Execute one instruction and return its cycles."""
    cdef unsigned int pc = registers[15] & 0xFFFFFFFEU
    cdef unsigned int opcode = WIDE
    cdef OpHandler handler
    cdef int cycles
    if not core.interrupts_updated:
        if pc - FLASH_START < chip.flash_byte_size:
            opcode = flash[pc - FLASH_START] | flash[pc - FLASH_START + 1] << 8
        elif pc - RAM_START < chip.ram_byte_size:
            opcode = ram[pc - RAM_START] | ram[pc - RAM_START + 1] << 8
    handler = DISPATCH_TABLE[opcode]
    if opcode >= WIDE or handler == NULL:
        return core.execute_instruction()
    registers[15] += 2
    if opcode >> 12 == 0xD and opcode < 0xDE00:
        cycles = 1
        if holds(core, opcode >> 8 & 0xF):
            registers[15] += 2 + 2 * <unsigned int> <int> <signed char> (opcode & 0xFF)
            cycles = 2
    elif opcode >> 10 == 0x10 and BY_REGISTER >> (opcode >> 6 & 0xF) & 1:
        cycles = shift(core, opcode, registers)
    else:
        cycles = handler(core, opcode, 0, pc)
    core.cycles += cycles
    return cycles


def execute_batch(Simulator simulator, int tick_batch):
    """Run a batch of instructions, the clock after each; `tick_batch`, as in the emulator's own, must be 1."""
    if tick_batch != 1:
        raise ValueError("tick_batch must be 1")
    cdef RP2040 chip = simulator.rp2040
    cdef CortexM0Core core = chip.core
    cdef SimulationClock clock = simulator.clock
    cdef unsigned int* registers = &core.registers[0]
    cdef unsigned char* flash = &chip._flash[0]
    cdef unsigned char* ram = &chip._sram[0]
    cdef int done = 0
    cdef double delta_ns, target_ns
    while done < BATCH and not simulator.stopped:
        done += 1
        if core.waiting:
            clock.tick(clock.nanos_to_next_alarm)
            continue
        delta_ns = step(core, chip, registers, flash, ram) * CYCLE_NS
        target_ns = clock._nanos_counter + delta_ns  # read only now: an instruction may have let time pass itself
        if clock._next_alarm is None or clock._next_alarm.nanos > target_ns:
            clock._nanos_counter = target_ns
        else:
            clock.tick(delta_ns)


cdef class Sio:
    """The chip's single-cycle I/O block `mcu.sio` with divider and spinlocks here; all else stays in the emulator's own.

    It counts as there: a division takes 8 cycles, and one by 0 gives -1 or 1.
    """

    cdef object real
    cdef CortexM0Core core
    cdef long long dividend, divisor, quotient, remainder
    cdef unsigned int csr, locks

    def __init__(self, mcu):
        self.real = mcu.sio
        self.core = mcu.core
        self._clear()

    cdef _clear(self):
        self.dividend = self.quotient = self.remainder = 0
        self.divisor = 1
        self.csr = self.locks = 0

    def reset(self):
        self.real.reset()
        self._clear()

    @property
    def gpio_value(self):
        return self.real.gpio_value

    @property
    def gpio_output_enable(self):
        return self.real.gpio_output_enable

    cdef _divide(self, bint signed):
        cdef long long a, b
        if self.divisor == 0:
            self.quotient = -1 if self.dividend > 0 else 1
            self.remainder = self.dividend
        else:
            if signed:
                a, b = <int> self.dividend, <int> self.divisor
            else:
                a, b = <unsigned int> self.dividend, <unsigned int> self.divisor
            self.quotient = a // b
            self.remainder = a % b
        self.csr = 3
        self.core.cycles += 8

    def read_uint32(self, unsigned int offset):
        cdef unsigned int bit
        if SPINLOCK_0 <= offset <= SPINLOCK_31:
            bit = <unsigned int> 1 << ((offset - SPINLOCK_0) // 4)
            if self.locks & bit:
                return 0
            self.locks |= bit
            return bit
        if offset == QUOTIENT:
            self.csr &= 1
            return <unsigned int> self.quotient
        if offset == REMAINDER:
            return <unsigned int> self.remainder
        if offset == CSR:
            return self.csr
        if offset == UDIVIDEND or offset == SDIVIDEND:
            return <unsigned int> self.dividend
        if offset == UDIVISOR or offset == SDIVISOR:
            return <unsigned int> self.divisor
        if offset == SPINLOCK_STATE:
            return self.locks
        return self.real.read_uint32(offset)

    def write_uint32(self, unsigned int offset, long long value):
        if SPINLOCK_0 <= offset <= SPINLOCK_31:
            self.locks &= ~(<unsigned int> 1 << ((offset - SPINLOCK_0) // 4))
        elif offset == UDIVIDEND or offset == SDIVIDEND:
            self.dividend = value
            self._divide(offset == SDIVIDEND)
        elif offset == UDIVISOR or offset == SDIVISOR:
            self.divisor = value
            self._divide(offset == SDIVISOR)
        elif offset == QUOTIENT:
            self.quotient = value
            self.csr = 3
        elif offset == REMAINDER:
            self.remainder = value
            self.csr = 3
        else:
            self.real.write_uint32(offset, value)

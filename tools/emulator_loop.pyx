# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The loop that runs the emulated chip, compiled beside the emulator's own modules.

The emulator's loop asks the interpreter after each instruction whether it was stopped, and which PIO blocks to step. Here
the PIO runs in alarms of its own (heartwire.emulated.pio), and only an alarm or an instruction stops a run, so both
questions are answered without the interpreter. What an instruction and an alarm do stays the emulator's own. Compiled by
tools/emulator.py, used by heartwire.emulated.chip where it is there.
"""

from rp2040py.native._cortex_m0_core cimport CortexM0Core
from rp2040py.native._rp2040 cimport RP2040
from rp2040py.native._simulation_clock cimport SimulationClock

cdef double CYCLE_NS = 1e9 / 125_000_000  # as the emulator's own loop has it
cdef int BATCH = 1_000_000  # instructions, after which the caller looks at its limit of real time


cdef class Simulator:
    """What `execute_batch` takes in place of the emulator's `simulator`; `stopped` ends a batch."""

    cdef public RP2040 rp2040
    cdef public SimulationClock clock
    cdef public bint stopped

    def __init__(self, simulator):
        self.rp2040 = simulator.rp2040
        self.clock = simulator.clock
        self.stopped = False


def execute_batch(Simulator simulator, int tick_batch):
    """Run a batch of instructions, the clock after each; `tick_batch`, as in the emulator's own, must be 1."""
    if tick_batch != 1:
        raise ValueError("tick_batch must be 1")
    cdef CortexM0Core core = simulator.rp2040.core
    cdef SimulationClock clock = simulator.clock
    cdef int done = 0
    cdef double delta_ns, target_ns
    while done < BATCH and not simulator.stopped:
        done += 1
        if core.waiting:
            clock.tick(clock.nanos_to_next_alarm)
            continue
        delta_ns = core.execute_instruction() * CYCLE_NS
        target_ns = clock._nanos_counter + delta_ns  # read only now: an instruction may have let time pass itself
        if clock._next_alarm is None or clock._next_alarm.nanos > target_ns:
            clock._nanos_counter = target_ns
        else:
            clock.tick(delta_ns)

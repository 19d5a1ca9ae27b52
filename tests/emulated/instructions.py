"""Instructions at random on the emulated processor and on another one, QEMU's in Unicorn: registers, flags, memory.

`python -m tests.emulated.instructions --count 100000` prints how many of each kind, and each difference. A case is some
ARMv6-M instructions in RAM that end in a branch to itself. No image is needed. Unicorn is asked in a process of its
own, by the Python of HEARTWIRE_LAB_PYTHON. Where the two are known to differ, and which is right (ARMv6-M manual):

- A shift by a register, by 0 or by more than 32: the emulator's own wheel leaves another bit in C. By 0 it stays as it
  was, by more it is 0, or the sign for ASRS (A2.2.1). What `make emulator` compiles is right. A case ends there.
- Bit 27 of APSR, which ARMv6-M does not have (B1.4.2), is kept by QEMU; cases leave it 0.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartwire.emulated.chip import emulator, faster
from tests.emulated import unicorn_reference as reference
from tests.emulated.unicorn_reference import CODE, CODE_BYTES, LOOP_FOREVER, WINDOW, WINDOW_BYTES

LAB_PYTHON = os.environ.get("HEARTWIRE_LAB_PYTHON") or sys.executable
LENGTH = 24  # instructions of a case
# Enough for LENGTH of the slowest, PUSH and POP of nine registers with 10 cycles of 8 ns, twice.
CASE_NS = LENGTH * 10 * 8 * 2
EDGES = (0, 1, 2, 31, 32, 33, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF)
# r5 is an offset, r6 and r7 point into the window: none of the three is ever written.
GENERAL, OFFSET, BASES = range(5), 5, (6, 7)
HIGH = (8, 9, 10, 11, 12, 14)
SP, PC = 13, 15
FLAGS = 16  # behind r0 to r15 in what a processor answers
CARRY = 2  # of NZCV
SHIFTS = (0x4080, 0x40C0, 0x4100, 0x41C0)  # LSLS, LSRS, ASRS, RORS by a register (A5.2.2)
KNOWN = "shifts by a register whose C is known to differ"


@dataclass
class Case:
    """Halfwords from CODE on, the kinds of what they are, and r0 to r14 and the flags NZCV that they begin with."""

    code: list[int]
    kinds: list[str]
    registers: list[int]
    flags: int
    starts: list[int] = field(default_factory=list)  # at which halfword each instruction begins

    def cut(self, count: int) -> Case:
        """Return the case with its first `count` instructions only."""
        end = self.starts[count] if count < len(self.starts) else len(self.code)
        return Case(self.code[:end], self.kinds[:count], self.registers, self.flags, self.starts[:count])

    def asked(self) -> str:
        """Return it as a line for the reference."""
        return json.dumps([self.code, self.registers, self.flags])


class Maker:
    """Makes instructions with dice (ARMv6-M Architecture Reference Manual, A5 and A6)."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.code: list[int] = []

    def low(self) -> int:
        """Choose a register that may be written."""
        return self.dice.choice(GENERAL)

    def any_low(self) -> int:
        """Choose a register to read."""
        return self.dice.randrange(8)

    def shift(self) -> list[int]:
        """LSLS, LSRS, ASRS by a constant."""
        return [self.dice.randrange(3) << 11 | self.dice.randrange(32) << 6 | self.any_low() << 3 | self.low()]

    def add_subtract(self) -> list[int]:
        """ADDS and SUBS of three registers, or with three bits."""
        return [0x1800 | self.dice.randrange(4) << 9 | self.any_low() << 6 | self.any_low() << 3 | self.low()]

    def immediate(self) -> list[int]:
        """MOVS, CMP, ADDS, SUBS with eight bits."""
        return [0x2000 | self.dice.randrange(4) << 11 | self.low() << 8 | self.dice.getrandbits(8)]

    def data(self) -> list[int]:
        """Give the sixteen of A5.2.2, MULS among them."""
        return [0x4000 | self.dice.randrange(16) << 6 | self.any_low() << 3 | self.low()]

    def special(self) -> list[int]:
        """ADD, CMP, MOV with high registers; PC and SP are read, too."""
        kind = self.dice.randrange(3)
        target = self.dice.choice(HIGH)
        if kind == 1:
            source = self.dice.choice((*range(13), 14))
        else:
            source = self.dice.choice((*range(16),))
            if source >= 8 and self.dice.random() < 0.5:
                target = self.low()
        return [0x4400 | kind << 8 | (target & 8) << 4 | source << 3 | target & 7]

    def literal(self) -> list[int]:
        """LDR from behind PC, ADR."""
        return [self.dice.choice((0x4800, 0xA000)) | self.low() << 8 | self.dice.randrange(200)]

    def register_offset(self) -> list[int]:
        """Load and store words, halfwords and bytes at a register and an offset in another."""
        return [
            0x5000 | self.dice.randrange(8) << 9 | OFFSET << 6 | self.dice.choice(BASES) << 3 | self.low(),
        ]

    def constant_offset(self) -> list[int]:
        """Load and store words, bytes and halfwords at a register and a constant."""
        kind = self.dice.choice((0x6000, 0x6800, 0x7000, 0x7800, 0x8000, 0x8800))
        return [kind | self.dice.randrange(32) << 6 | self.dice.choice(BASES) << 3 | self.low()]

    def stack(self) -> list[int]:
        """Load and store at SP, move it, push and pop."""
        kind = self.dice.randrange(6)
        if kind < 2:
            return [0x9000 | kind << 11 | self.low() << 8 | self.dice.getrandbits(8)]
        if kind == 2:
            return [0xA800 | self.low() << 8 | self.dice.getrandbits(8)]
        if kind == 3:
            return [0xB000 | self.dice.getrandbits(1) << 7 | self.dice.randrange(4)]
        listed = self.dice.randrange(1, 32)
        return [0xB400 | self.dice.getrandbits(1) << 8 | listed] if kind == 4 else [0xBC00 | listed]

    def extend(self) -> list[int]:
        """SXTH, SXTB, UXTH, UXTB, REV, REV16, REVSH."""
        kind = self.dice.choice((0xB200, 0xB240, 0xB280, 0xB2C0, 0xBA00, 0xBA40, 0xBAC0))
        return [kind | self.any_low() << 3 | self.low()]

    def multiple(self) -> list[int]:
        """LDM and STM from a base that was just set: MOV r4, then the two."""
        kind = self.dice.getrandbits(1)
        listed = self.dice.randrange(1, 32) if kind else self.dice.randrange(1, 16)
        return [0x4600 | self.dice.choice(BASES) << 3 | 4, 0xC000 | kind << 11 | 4 << 8 | listed]

    def branch(self) -> list[int]:
        """Give a branch, mostly with a condition, over one instruction."""
        if self.dice.random() < 0.2:
            return [0xE000, 0x2000 | self.dice.getrandbits(8)]
        return [0xD000 | self.dice.randrange(14) << 8, 0x2000 | self.dice.getrandbits(8)]

    def call(self) -> list[int]:
        """BL over one instruction, or BX and BLX to an address in r4 (ADR, ADDS 1, then the branch)."""
        if self.dice.getrandbits(1):
            return [0xF000, 0xF801, 0x2000 | self.dice.getrandbits(8)]
        words = [0xA401, 0x3401, self.dice.choice((0x4720, 0x47A0))]
        return words if len(self.code) % 2 else [*words, LOOP_FOREVER]

    def status(self) -> list[int]:
        """MRS and MSR of the flags (of four bits: LSRS and LSLS by 28 first), the barriers, NOP."""
        kind = self.dice.randrange(4)
        if kind == 0:
            return [0xF3EF, 0x8000 | self.low() << 8]
        if kind == 1:
            low = self.low()
            return [0x0800 | 28 << 6 | low << 3 | low, 28 << 6 | low << 3 | low, 0xF380 | low, 0x8800]
        if kind == 2:
            return [0xF3BF, self.dice.choice((0x8F4F, 0x8F5F, 0x8F6F))]
        return [0xBF00]

    def case(self) -> Case:
        """Make a case of LENGTH instructions, or groups of them."""
        kinds, starts = [], []
        registers = [self.dice.choice((self.dice.choice(EDGES), self.dice.getrandbits(32))) for _ in range(15)]
        registers[OFFSET] = 4 * self.dice.randrange(32)
        registers[BASES[0]], registers[BASES[1]] = WINDOW, WINDOW + 128
        registers[SP] = WINDOW + WINDOW_BYTES // 2
        for _ in range(LENGTH):
            make: Callable[[Maker], list[int]] = self.dice.choice(self.KINDS)
            starts.append(len(self.code))
            kinds.append(make.__name__)
            self.code += make(self)
        return Case(self.code, kinds, registers, self.dice.getrandbits(4), starts)

    KINDS = (
        *(shift, add_subtract, immediate, data, special, literal, register_offset, constant_offset),
        *(stack, extend, multiple, branch, call, status),
    )


def cases(count: int, seed: int) -> Iterator[Case]:
    """Make cases with `count` instructions or a few more, the same ones for the same seed."""
    dice = random.Random(seed)
    while count > 0:
        made = Maker(dice).case()
        yield made
        count -= len(made.kinds)


class Processor:
    """The emulated processor alone, with what `make emulator` compiled where that is in use."""

    def __init__(self) -> None:
        emulator()
        self.mcu = importlib.import_module("rp2040py.rp2040").RP2040()
        simulator = importlib.import_module("rp2040py.simulator").Simulator(rp2040=self.mcu)
        self._batch = importlib.import_module("rp2040py.execute_batch").execute_batch
        if (ours := faster()) is not None:
            simulator, self._batch = ours.Simulator(simulator), ours.execute_batch
        self._simulator: Any = simulator
        self._alarm = self.mcu.clock.create_alarm(self._stop)

    def _stop(self) -> None:
        self._simulator.stopped = True

    def run(self, case: Case) -> list[Any]:
        """Return r0 to r15, the flags and a digest of the window after a case."""
        core, ram = self.mcu.core, self.mcu.sram
        start, window = CODE - reference.RAM, WINDOW - reference.RAM
        ram[window : window + WINDOW_BYTES] = reference.filling()
        ram[start : start + CODE_BYTES] = reference.program(case.code)
        core.pm = True  # no interrupt
        core.waiting = False
        for index, value in enumerate(case.registers):
            core.registers[index] = value
        core.registers[PC] = CODE
        core.n, core.z, core.c, core.v = (bool(case.flags & bit) for bit in (8, 4, 2, 1))
        self._alarm.schedule(CASE_NS)
        self._simulator.stopped = False
        while not self._simulator.stopped:
            self._batch(self._simulator, 1)
        flags = core.n << 3 | core.z << 2 | core.c << 1 | core.v
        digest = hashlib.sha256(ram[window : window + WINDOW_BYTES]).hexdigest()
        return [*list(core.registers)[:16], int(flags), digest]


def has_unicorn() -> bool:
    """Return whether the lab's Python has Unicorn."""
    return not subprocess.run([LAB_PYTHON, "-c", "import unicorn"], capture_output=True, check=False).returncode


def by_unicorn(asked: list[Case]) -> list[list[Any]]:
    """Return what Unicorn makes of the cases."""
    lines = "".join(case.asked() + "\n" for case in asked)
    path = Path(reference.__file__)
    done = subprocess.run([LAB_PYTHON, str(path)], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_known(case: Case, ours: list[Any], theirs: list[Any]) -> bool:
    """Return whether a case ends in a shift by a register after which only C differs, on the emulator's own wheel."""
    if faster() is not None or case.code[case.starts[-1]] & 0xFFC0 not in SHIFTS:
        return False
    return theirs == [*ours[:FLAGS], ours[FLAGS] ^ CARRY, *ours[FLAGS + 1 :]]


def compare(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how many of each kind were compared, and the differences, each at its first instruction.

    KNOWN counts those that are known.
    """
    processor = Processor()
    made = list(cases(count, seed))
    seen: Counter[str] = Counter()
    found = []
    for case, theirs in zip(made, by_unicorn(made), strict=True):
        seen.update(case.kinds)
        if processor.run(case) == theirs:
            continue
        cuts = [case.cut(length) for length in range(1, len(case.kinds) + 1)]
        for cut, answer in zip(cuts, by_unicorn(cuts), strict=True):
            ours = processor.run(cut)
            if ours != answer and is_known(cut, ours, answer):
                seen[KNOWN] += 1
                seen.subtract(case.kinds[len(cut.kinds) :])
                break
            if ours != answer:
                words = " ".join(f"{word:04x}" for word in cut.code[cut.starts[-1] :])
                found.append(f"{cut.kinds[-1]} {words}: ours {ours}, theirs {answer}, before {case.registers}")
                break
    return seen, found


def main() -> int:
    """Compare and print; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="instructions (100000)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not has_unicorn():
        print(f"{LAB_PYTHON} has no unicorn; name a Python that has it in HEARTWIRE_LAB_PYTHON", file=sys.stderr)
        return 1
    seen, found = compare(arguments.count, arguments.seed)
    whose = "what make emulator compiled" if faster() is not None else "the wheel"
    known = seen.pop(KNOWN, 0)
    for name, number in sorted(seen.items()):
        print(f"{number:7,}  {name}")
    print(f"{known:7,} of them {KNOWN}")
    print(f"{seen.total():7,} instructions on {whose} and on Unicorn, {len(found)} differ")
    print("\n".join(found[:20]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

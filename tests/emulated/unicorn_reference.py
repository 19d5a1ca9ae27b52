"""What Unicorn, QEMU's processors as a library, makes of the cases of instructions.py: a line of JSON in, one out.

Run by a Python that has the package unicorn and may have nothing else of Heartwire's, so it imports nothing of it.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import sys

RAM = 0x20000000  # RP2040 datasheet 2.2
RAM_BYTES = 0x40000
CODE, CODE_BYTES = RAM + 0x8000, 0x800
# What loads and stores reach; the stack begins in its middle and reaches 1,020 bytes beyond what a case moves it.
WINDOW, WINDOW_BYTES = RAM + 0x10000, 0x2000
LOOP_FOREVER = 0xE7FE


def filling() -> bytes:
    """Return what the window holds before each case."""
    return random.Random(WINDOW).randbytes(WINDOW_BYTES)


def program(code: list[int]) -> bytes:
    """Return the code's memory: these halfwords, then branches to themselves."""
    words = code + [LOOP_FOREVER] * (CODE_BYTES // 2 - len(code))
    return struct.pack(f"<{len(words)}H", *words)


def main() -> None:
    """Answer each line [halfwords, r0 to r14, NZCV] by [r0 to r15 ..., NZCV, SHA-256 of the window]."""
    import unicorn
    from unicorn import arm_const as names

    chip = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    chip.ctl_set_cpu_model(names.UC_CPU_ARM_CORTEX_M0)
    chip.mem_map(RAM, RAM_BYTES)
    registers = [names.UC_ARM_REG_R0 + index for index in range(13)]
    registers += [names.UC_ARM_REG_SP, names.UC_ARM_REG_LR, names.UC_ARM_REG_PC]
    for line in sys.stdin:
        code, values, flags = json.loads(line)
        chip.mem_write(WINDOW, filling())
        chip.mem_write(CODE, program(code))
        chip.ctl_remove_cache(CODE, CODE + CODE_BYTES)
        for register, value in zip(registers, values, strict=False):
            chip.reg_write(register, value)
        chip.reg_write(names.UC_ARM_REG_CPSR, flags << 28 | 1 << 24)
        chip.emu_start(CODE | 1, CODE + 2 * len(code))
        found = [chip.reg_read(register) for register in registers]
        window = hashlib.sha256(bytes(chip.mem_read(WINDOW, WINDOW_BYTES))).hexdigest()
        print(json.dumps([*found, chip.reg_read(names.UC_ARM_REG_CPSR) >> 28, window]))


if __name__ == "__main__":
    main()

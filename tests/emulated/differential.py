"""MicroPython's own behaviour on the emulated chip and on the VM of the virtual tier: operations.py on both, compared.

`python -m tests.emulated.differential --count 100000` prints how many were compared, and every difference; it needs the
image. What a machine's width makes different is DIFFERENT, with the reason, and is asked each time too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from heartwire.emulated import files
from heartwire.emulated.chip import MS, EmulatedChip
from heartwire.flash import images
from tests.emulated import operations

SOURCE = Path(operations.__file__)
# Real seconds; a block takes a hundredth of it after `make emulator`, a tenth without.
LIMIT_S = 3600.0
AT_ONCE = 10  # blocks before their numbers are looked at
# (what, on the chip, on the VM, why)
DIFFERENT = (
    ("int(2.0**24 + 1)", "16777216", "16777217", "a float has 24 bits of fraction there, 53 here"),
    ("1e39", "inf", "1e+39", "and 8 bits of exponent there, 11 here"),
    ("sys.maxsize", str((1 << 31) - 1), str((1 << 63) - 1), "a word has 32 bits there, 64 here"),
    ("time.ticks_add(0, -1)", str((1 << 30) - 1), str((1 << 62) - 1), "ticks have all bits of a small integer"),
)


class ChipPrompt:
    """MicroPython's raw prompt on an emulated chip without firmware, with operations.py among its files."""

    def __init__(self, image: Path) -> None:
        self.chip = EmulatedChip(image, filesystem=files.build({SOURCE.name: SOURCE.read_bytes()}, firmware=False))
        self._said = bytearray()
        self.chip.on_usb_data = self._said.extend
        self.chip.run_while(lambda: not self.chip.usb.connected, 1000 * MS)
        self.chip.run_for(50 * MS)
        self.chip.usb.send(b"\x01")
        self._until(b">")
        self.run("import operations")

    def _until(self, end: bytes) -> bytes:
        while end not in self._said:
            self.chip.run_for(10 * MS, LIMIT_S)
        said, _, rest = bytes(self._said).partition(end)
        self._said[:] = rest
        return said

    def run(self, code: str) -> list[str]:
        """Run a program and return its lines. Raises RuntimeError with its traceback."""
        self.chip.usb.send(code.encode() + b"\x04")
        # OK, what it prints, what it raised, each with an end, and the prompt again.
        said, raised = self._until(b"\x04"), self._until(b"\x04>")
        if raised:
            raise RuntimeError(raised.decode())
        return said.decode().removeprefix("OK").split("\r\n")


def on_vm(code: str) -> list[str]:
    """Run a program on the VM and return its lines. Raises RuntimeError with its traceback."""
    beside = Path(sys.executable).parent / "micropython"
    vm = str(beside) if beside.exists() else shutil.which("micropython") or "micropython"
    start = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); import operations\n"
    done = subprocess.run([vm, "-c", start + code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.split("\n")


def compare(prompt: ChipPrompt, count: int, seed: int) -> tuple[int, list[str]]:
    """Return how many operations were compared, and the differences."""
    total, found = -(-count // operations.SIZE), []
    for first in range(0, total, AT_ONCE):
        asked = f"operations.blocks({seed}, {first}, {min(AT_ONCE, total - first)})"
        ours, theirs = prompt.run(asked), on_vm(asked)
        for one, other in zip(ours, theirs, strict=True):
            if one != other:
                detail = f"operations.words({seed}, {one.split()[0]})"
                pairs = zip(prompt.run(detail), on_vm(detail), strict=True)
                found += [f"chip {mine}\n  VM {theirs}" for mine, theirs in pairs if mine != theirs]
    return total * operations.SIZE, found


def natures(prompt: ChipPrompt) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (what, its value) on the chip and on the VM for each that is known to differ."""

    def pairs(lines: list[str]) -> list[tuple[str, str]]:
        return [(found[1], found[2]) for line in lines if (found := re.match(r"(.*) = (.*)", line))]

    return pairs(prompt.run("operations.natures()")), pairs(on_vm("operations.natures()"))


def main() -> int:
    """Compare and print; return 1 if anything differs that has no reason."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="operations (100000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--image", type=Path, help="another image than the preferred one")
    arguments = parser.parse_args()
    try:
        image = arguments.image or images.find()
    except images.ImageMissing as error:
        print(f"{error}; {error.next_step}", file=sys.stderr)
        return 1
    prompt = ChipPrompt(image)
    for (what, ours), (_, theirs), row in zip(*natures(prompt), DIFFERENT, strict=True):
        print(f"{what}: {ours} on the chip, {theirs} on the VM: {row[3]}")
    count, found = compare(prompt, arguments.count, arguments.seed)
    print(f"{count:,} operations on {image.name} and on the VM, {len(found)} differ")
    print("\n".join(found[:20]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

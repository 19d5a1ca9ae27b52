"""Compile the emulator's own sources for this very Python: the same chip and the same edges in a fraction of the time.

The wheel of the emulator is built for every Python, so each of the chip's memory accesses asks the interpreter first
whether somebody has replaced it. Compiled for one Python it need not. The main loop and the divider, which ask the
interpreter too, are ours (emulator_loop.pyx). Nothing of the emulator's source is changed, and what comes out is put in
place only if a rack boots, settles and fails over on it with the very edges, passes and flash of the wheel, and if
divisions and branches at random come out as the wheel's. Run by `make emulator`, and by `make test` where there is an
image and a compiler; `--remove` goes back to the wheel.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heartwire.emulated.chip import MS, VERSION, EmulatedChip, emulator
from heartwire.emulated.errors import NotReady
from heartwire.extras import install_hint
from heartwire.flash import images
from tests.emulated.rig import Rig

SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))  # found before the wheel's .abi3.so
LOOP = Path(__file__).with_name("emulator_loop.pyx")
# Fused multiply-adds would round the chip's nanoseconds otherwise.
FLAGS = ["-O3", "-ffp-contract=off"]
SETUP = """
import pathlib, setuptools
from Cython.Build import cythonize
found = sorted(pathlib.Path("rp2040py/native").glob("*.pyx"))
extensions = [
    setuptools.Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args={flags})
    for path in found
]
setuptools.setup(name="emulator", packages=[], ext_modules=cythonize(extensions, force=True))
"""
FAILOVER_MS = 1500
# RP2040 datasheet 2.3.1.7: the single-cycle I/O block, its divider's registers, its spinlocks.
SIO, DIVIDER, SPINLOCKS = 0xD0000000, range(0x60, 0x7C, 4), range(0x100, 0x180, 4)
DIVISIONS = 20_000
BRANCHES = 20_000
# Somewhere in RAM; a branch with a condition goes 256 bytes at most, either way (ARMv6-M A6.7.10).
FIELD, REACH = 0x20008000, 256
LOOP_FOREVER = 0xE7FE


def package() -> Path:
    """Return the folder of the installed emulator. Raises NotReady without it, or without its compiled part."""
    emulator()
    found = importlib.util.find_spec("rp2040py.native")
    if found is None or found.origin is None:
        raise NotReady(f"the installed emulator has no compiled part; {install_hint('emulated')}")
    return Path(found.origin).parent.parent


def stamp() -> Path:
    """Return the file that says from what the modules in use were compiled."""
    return package() / "native" / "heartwire.txt"


def inputs() -> str:
    """Return what the compiled modules depend on besides the Python they are for, as a digest."""
    return hashlib.sha256(LOOP.read_bytes() + repr((VERSION, FLAGS, SETUP)).encode()).hexdigest()


def in_use() -> bool:
    """Return whether what would be compiled is in place already."""
    lines = stamp().read_text().split() if stamp().exists() else [""]
    return lines[0] == inputs() and all((package() / name).exists() for name in lines[1:])


def obstacle() -> str:
    """Return why nothing can be compiled here, and what to do about it; empty if it can."""
    if shutil.which("cc") is None:
        return "there is no C compiler; apt-get install gcc libc6-dev"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers are missing; apt-get install python3-dev"
    return ""


def ran(command: list[str], what: str, folder: Path | None = None) -> None:
    """Run a command. Raises NotReady with what failed and the command's last words."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotReady(f"{what}:\n{(done.stderr or done.stdout)[-2000:]}")


def compiled(folder: Path) -> list[Path]:
    """Compile a copy of the emulator in `folder` and return its modules. Raises NotReady with the compiler's words."""
    if importlib.util.find_spec("Cython") is None:
        needs = str(Path(__file__).with_suffix(".txt"))
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", needs]
        ran(pip, "Cython is missing and could not be installed")
    copy = folder / "rp2040py"
    shutil.copytree(package(), copy, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    shutil.copy(LOOP, copy / "native" / "heartwire_loop.pyx")
    (folder / "setup.py").write_text(SETUP.format(flags=FLAGS))
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", f"-j{os.cpu_count() or 1}"]
    ran(command, "the emulator does not compile", folder)
    return sorted(path.relative_to(copy) for path in copy.rglob(f"*{SUFFIX}"))


def divided(chip: EmulatedChip) -> list[int]:
    """Write and read the divider and the spinlocks at random; return what was read, and the cycles it took."""
    dice = random.Random(1)
    edge = (0, 1, 2, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
    found = []
    for _ in range(DIVISIONS):
        register = SIO + dice.choice((*DIVIDER, *SPINLOCKS, *DIVIDER))
        if dice.random() < 0.5:
            chip.mcu.write_uint32(register, dice.choice((dice.choice(edge), dice.getrandbits(32), dice.getrandbits(9))))
        else:
            found.append(chip.mcu.read_uint32(register))
    return [*found, chip.mcu.core.cycles]


def branched(chip: EmulatedChip) -> list[tuple[int, int]]:
    """Let the chip execute branches with random conditions and flags; return where it went, in how many cycles."""
    dice = random.Random(1)
    core = chip.mcu.core
    core.pm = True  # no interrupt
    for address in range(FIELD - REACH, FIELD + REACH + 8, 2):
        chip.mcu.write_uint16(address, LOOP_FOREVER)
    found = []
    for _ in range(BRANCHES):
        chip.mcu.write_uint16(FIELD, 0xD000 | dice.randrange(14) << 8 | dice.getrandbits(8))
        core.n, core.z, core.c, core.v = (bool(dice.getrandbits(1)) for _ in range(4))
        core.registers[15] = FIELD
        before = core.cycles
        chip.run_for(1)
        found.append((core.registers[15] - FIELD, core.cycles - before))
    return found


def failover() -> dict[str, object]:
    """Boot a rack, let its active node die, and return all that could be seen of it as a digest, and the CPU time."""
    started = time.process_time()
    rig = Rig(images.find())
    rig.settle()
    rig.cut.add(0)
    rig.chip.run_for(FAILOVER_MS * MS)
    chip = rig.chip
    s = time.process_time() - started
    rack = (chip.edges, chip.passes, rig.beats, rig.grants, rig.fenced, chip.ns, divided(chip), branched(chip))
    seen = repr(rack).encode() + chip.contents()
    return {"digest": hashlib.sha256(seen).hexdigest(), "edges": len(chip.edges), "s": s}


def started(path: Path) -> subprocess.Popen[str]:
    """Start `failover` in a new process, with the emulator in `path`."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, __file__, "--failover"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def seen_by(process: subprocess.Popen[str], whose: str) -> dict[str, object]:
    """Return what a started `failover` found. Raises NotReady if it failed."""
    output, words = process.communicate()
    if process.returncode:
        raise NotReady(f"no failover on {whose}:\n{words[-2000:]}")
    return dict(json.loads(output))


def build() -> None:
    """Compile, compare and put in place. Raises NotReady if anything is missing, or if the edges differ; then all stays
    as it is.
    """
    images.find()
    if words := obstacle():
        raise NotReady(words)
    with tempfile.TemporaryDirectory() as name:
        print("compiling the emulated chip, and a failover with the wheel beside it (a minute and more)", flush=True)
        old, made = Path(name) / "wheel", Path(name) / "compiled"
        shutil.copytree(package(), old / "rp2040py", ignore=shutil.ignore_patterns(f"*{SUFFIX}"))
        wheels = started(old)
        try:
            modules = compiled(made)
            print("the same failover with what was compiled", flush=True)
            new, wheel = seen_by(started(made), "what was compiled"), seen_by(wheels, "the wheel")
        finally:
            wheels.kill()
            wheels.wait()
        if wheel["digest"] != new["digest"]:
            raise NotReady("what was compiled behaves differently from the wheel, so it is not used")
        remove()
        for module in modules:
            shutil.copy2(made / "rp2040py" / module, package() / module)
    stamp().write_text("\n".join([inputs(), *map(str, modules)]) + "\n")
    ratio = float(str(wheel["s"])) / float(str(new["s"]))
    print(f"the same {new['edges']} edges to the nanosecond, {ratio:.1f} times as fast; in use from now on")


def build_if_possible() -> None:
    """Build unless that is done already; where it cannot be done, say why the tests take longer."""
    try:
        if not in_use():
            build()
    except (NotReady, images.ImageMissing, OSError) as error:
        print(f"the emulated chip stays as it was: {error}")


def remove() -> None:
    """Go back to the wheel's own modules."""
    for path in package().rglob(f"*{SUFFIX}"):
        path.unlink()
    stamp().unlink(missing_ok=True)


def main() -> int:
    """Build, remove, or run one failover; return 1 if that cannot be done here."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--remove", action="store_true", help="go back to the emulator as it was installed")
    parser.add_argument("--if-possible", action="store_true", help="build unless done; never fail")
    parser.add_argument("--failover", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.failover:
            print(json.dumps(failover()))
        elif arguments.remove:
            remove()
        elif arguments.if_possible:
            build_if_possible()
        else:
            build()
    except (NotReady, images.ImageMissing) as error:
        print(f"{error}; {getattr(error, 'next_step', '')}".rstrip("; "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compile the emulator's own sources for this very Python: the same chip and the same edges in half the time and less.

The wheel of the emulator is built for every Python, so each of the chip's memory accesses asks the interpreter first
whether somebody has replaced it. Compiled for one Python it need not. Nothing of the source is changed, and what comes
out is put in place only if a rack boots, settles and fails over on it with the very edges, passes and flash of the
wheel. Run by `make emulator`; `--remove` goes back to the wheel.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heartwire.emulated.chip import MS, emulator
from heartwire.emulated.errors import NotReady
from heartwire.flash import images
from tests.emulated.rig import Rig

SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))  # found before the wheel's .abi3.so
# Fused multiply-adds would round the chip's nanoseconds otherwise.
FLAGS = ["-O3", "-ffp-contract=off"]
SETUP = """
import pathlib, setuptools
from Cython.Build import cythonize
found = sorted(str(path) for path in pathlib.Path("rp2040py/native").glob("*.pyx"))
extensions = [
    setuptools.Extension(path[:-4].replace("/", "."), [path], extra_compile_args={flags}) for path in found
]
setuptools.setup(name="emulator", packages=[], ext_modules=cythonize(extensions, force=True))
"""
FAILOVER_MS = 1500


def native() -> Path:
    """Return the folder of the installed emulator's compiled modules. Raises NotReady without it."""
    emulator()
    found = importlib.util.find_spec("rp2040py.native")
    if found is None or found.origin is None:
        raise NotReady("the installed emulator has no compiled part; pip install 'heartwire[emulated]'")
    return Path(found.origin).parent


def obstacle() -> str:
    """Return why nothing can be compiled here, and what to do about it; empty if it can."""
    if shutil.which("cc") is None:
        return "there is no C compiler; apt-get install gcc libc6-dev"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers are missing; apt-get install python3-dev"
    if importlib.util.find_spec("Cython") is None:
        return "Cython is missing; run `make emulator`"
    return ""


def compiled(folder: Path) -> list[Path]:
    """Compile a copy of the emulator in `folder` and return its modules. Raises NotReady with the compiler's words."""
    package = folder / "rp2040py"
    shutil.copytree(native().parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    (folder / "setup.py").write_text(SETUP.format(flags=FLAGS))
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    made = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if made.returncode:
        raise NotReady(f"the emulator does not compile:\n{made.stderr[-2000:]}")
    return sorted((package / "native").glob(f"*{SUFFIX}"))


def failover() -> dict[str, object]:
    """Boot a rack, let its active node die, and return all that could be seen of it as a digest, and the CPU time."""
    started = time.process_time()
    rig = Rig(images.find())
    rig.settle()
    rig.cut.add(0)
    rig.chip.run_for(FAILOVER_MS * MS)
    chip = rig.chip
    seen = repr((chip.edges, chip.passes, rig.beats, rig.grants, rig.fenced, chip.ns)).encode() + chip.contents()
    return {"digest": hashlib.sha256(seen).hexdigest(), "edges": len(chip.edges), "s": time.process_time() - started}


def seen_with(path: Path | None) -> dict[str, object]:
    """Return `failover` in a new process, with the emulator in `path` or with the installed one. Raises NotReady if it
    fails.
    """
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, __file__, "--failover"]
    seen = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if seen.returncode:
        raise NotReady(f"no failover on the emulator in {path or native()}:\n{seen.stderr[-2000:]}")
    return dict(json.loads(seen.stdout))


def build() -> None:
    """Compile, compare and put in place. Raises NotReady if anything is missing, or if the edges differ."""
    if words := obstacle():
        raise NotReady(words)
    images.find()
    remove()
    with tempfile.TemporaryDirectory() as name:
        print("compiling (half a minute)", flush=True)
        modules = compiled(Path(name))
        print("a failover with the wheel and with what was compiled", flush=True)
        wheel, new = seen_with(None), seen_with(Path(name))
        if wheel["digest"] != new["digest"]:
            raise NotReady("what was compiled behaves differently from the wheel, so the wheel stays in use")
        for module in modules:
            shutil.copy2(module, native() / module.name)
    ratio = float(str(wheel["s"])) / float(str(new["s"]))
    print(f"the same {new['edges']} edges to the nanosecond, {ratio:.1f} times as fast; in use from now on")


def remove() -> None:
    """Go back to the wheel's own modules."""
    for path in native().glob(f"*{SUFFIX}"):
        path.unlink()


def main() -> int:
    """Build, remove, or run one failover; return 1 if that cannot be done here."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--remove", action="store_true", help="go back to the emulator as it was installed")
    parser.add_argument("--failover", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        if arguments.failover:
            print(json.dumps(failover()))
        elif arguments.remove:
            remove()
        else:
            build()
    except (NotReady, images.ImageMissing) as error:
        print(f"{error}; {getattr(error, 'next_step', '')}".rstrip("; "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

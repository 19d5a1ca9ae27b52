"""The firmware's files on a board: two folders, of which one is in use, so that an update is whole or has not happened.

New files go into the folder not in use; only when every hash is right does the file `slot` name it. Settings and
journal lie in /data and are never touched. A cut before the switch leaves the old firmware, one after it the new one.
Called by `heartwire flash`; main.py on the board reads `slot`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from heartwire.errors import HeartwireError, StorageProblem
from heartwire.flash import abi, boards
from heartwire.flash.prompt import Prompt
from heartwire.virtual.image import ROOT_FILES, board_files, find_firmware
from heartwire_protocol import chips

SLOTS = ("fw_a", "fw_b")
# The scratch register that counts bad starts (firmware: starts.py).
BOOT_REGISTER = 1


class CannotLoad(HeartwireError):
    """The firmware arrived whole, and this board cannot load it."""

    exit_code = 20
    meaning = "the board cannot load the new firmware"
    default_next = "the board keeps its firmware from before; install the heartwire that fits its MicroPython"


# What the board says of itself: what it is, MicroPython's version, the folder in use, and the hashes below a folder.
_LOOK = """
import os, sys, json, hashlib, binascii
def h(p):
    d = hashlib.sha256()
    b = bytearray(512)
    with open(p, 'rb') as f:
        while True:
            n = f.readinto(b)
            if not n: break
            d.update(memoryview(b)[:n])
    return binascii.hexlify(d.digest()).decode()
def w(p, o):
    try: names = list(os.ilistdir(p))
    except OSError: return
    for e in names:
        q = p + '/' + e[0]
        if e[1] == 0x4000: w(q, o)
        else: o[q] = h(q)
"""
# A start that broke off before the firmware was loaded leaves its watchdog on (boot.py), which would end the update. On
# another chip something else is at that address, so only a board of the table is written to.
_STATE = (
    _LOOK
    + """
import machine
m = getattr(sys.implementation, '_machine', '')
b = %r
if m in b: machine.mem32[b[m] + %d] = %d
v = tuple(sys.implementation[1]) + ("",)
v = '.'.join([str(n) for n in v[:3]]) + ('-' + v[3] if v[3] else '')
try: s = open('/slot').read()
except OSError: s = ''
r = os.listdir('/')
p = [] if %r in r or %r in r else [n for n in r if n in %r]
print(json.dumps({'version': v, 'slot': s, 'program': p, 'machine': m}))
"""
)
_STORY = """
import sys, json
m = getattr(sys.implementation, '_machine', '')
v = tuple(sys.implementation[1]) + ('',)
v = '.'.join([str(n) for n in v[:3]]) + ('-' + v[3] if v[3] else '')
try: c = open('/crash.txt').read().strip().split('\\n')[-1][:200]
except OSError: c = ''
print(json.dumps({'version': v, 'machine': m, 'crash': c}))
"""
STORY_TIMEOUT_S = 10.0
_MAKE = """
import os, json
for p in %r:
    try: os.mkdir(p)
    except OSError: pass
print(json.dumps(1))
"""
_HASHES = (
    _LOOK + "o = {}\nw(%r, o)\nfor f in %r:\n    try: o[f] = h(f)\n    except OSError: pass\nprint(json.dumps(o))\n"
)
_REMOVE = "import os, json\nfor p in %r:\n    os.remove(p)\nprint(json.dumps(1))\n"
# The new firmware is loaded once, here where somebody sees that it cannot be, before any start depends on it.
_TRY = """
import gc, sys, json
gc.collect()
sys.path.insert(0, '/' + %r)
try:
    import heartwire_board
    heartwire_board.guard
    r = ''
except BaseException as e: r = type(e).__name__ + ': ' + str(e)
print(json.dumps(r))
"""
# A rename in littlefs happens or does not: boot.py and main.py first, then the switch. The bad starts of the firmware
# before are not this one's: it starts with a count of 0 (boot.py).
_SWITCH = """
import os, json, machine
machine.mem32[%d] = 0
for n in %r: os.rename('/new.' + n, '/' + n)
with open('/slot.new', 'w') as f: f.write(%r)
os.rename('/slot.new', '/slot')
try: os.remove('/crash.txt')
except OSError: pass
print(json.dumps(1))
"""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Installed:
    """What stands on the board: MicroPython's version (a preview is not its release: 1.29.0-preview), the folder in use
    ("" before the first install), the files of another program that an install replaces, and what the board is.
    """

    micropython: str
    slot: str
    program: tuple[str, ...] = ()
    machine: str = field(default="", compare=False)


def look(prompt: Prompt) -> Installed:
    """Return what stands on the board."""
    watchdogs = {board.machine: board.chip.watchdog for board in boards.SUPPORTED}
    found = prompt.run(_STATE % (watchdogs, chips.WATCHDOG_CLEAR, chips.WATCHDOG_ENABLE, *SLOTS, ROOT_FILES))
    program = tuple(sorted(map(str, found["program"])))
    return Installed(str(found["version"]), str(found["slot"]), program, str(found["machine"]))


def story(port: str) -> str:
    """Return what a board at its prompt is and how its firmware last failed, as the end of a sentence; "" where it
    cannot be asked.
    """
    try:
        prompt = Prompt(port, STORY_TIMEOUT_S)
        try:
            found = prompt.run(_STORY)
        finally:
            prompt.give_back()
    except HeartwireError:
        return ""
    version = str(found["version"])
    words = f"; it is MicroPython {version} on {found['machine'] or 'an unknown board'}"
    try:
        board = boards.by_machine(str(found["machine"]))
    except boards.WrongBoard as error:
        words += f" ({error.words})"
    else:
        if boards.is_older(version, board.chip.minimum):
            words += f", and the firmware needs {board.chip.minimum} or later"
    return words + (f"; the firmware last failed with: {found['crash']}" if found["crash"] else "")


def contents() -> dict[str, bytes]:
    """Return the firmware of this installation, compiled: path below its folder (or name of a root file) -> bytes."""
    return board_files(find_firmware())


def install(prompt: Prompt, progress: Progress) -> str:
    """Copy the firmware into the folder not in use, check every hash, and switch; return that folder.

    Raises StorageProblem if a hash is wrong, and CannotLoad if the board cannot load what arrived; it then keeps its
    old firmware.
    """
    there = look(prompt)
    chip = boards.by_machine(there.machine).chip
    slot = SLOTS[1] if there.slot == SLOTS[0] else SLOTS[0]
    with tempfile.TemporaryDirectory(prefix="heartwire-") as folder:
        pairs: list[tuple[Path, str]] = []
        hashes: dict[str, str] = {}
        for name, content in sorted(contents().items()):
            if content[:1] == abi.MAGIC and (wrong := abi.problem(content, there.micropython)):
                raise CannotLoad(f"the board cannot load {name}: {wrong}")
            target = f"/new.{name}" if name in ROOT_FILES else f"/{slot}/{name}"
            local = Path(folder) / target.replace("/", "_")
            local.write_bytes(content)
            pairs.append((local, target))
            hashes[target] = hashlib.sha256(content).hexdigest()
        folders = sorted({target.rpartition("/")[0] for _, target in pairs} - {""}, key=len)
        prompt.run(_MAKE % (["/" + slot, *folders],))
        _copy(prompt, pairs, hashes, slot, progress)
    trouble = prompt.run(_TRY % slot)
    if trouble:
        raise CannotLoad(f"the board cannot load the new firmware: {trouble}")
    prompt.run(_SWITCH % (chip.scratch + 4 * BOOT_REGISTER, list(ROOT_FILES), slot))
    return slot


def _copy(prompt: Prompt, pairs: list[tuple[Path, str]], hashes: dict[str, str], slot: str, progress: Progress) -> None:
    roots = [target for _, target in pairs if target.startswith("/new.")]
    there = prompt.run(_HASHES % ("/" + slot, roots))
    missing = [(local, target) for local, target in pairs if there.get(target) != hashes[target]]
    done = len(pairs) - len(missing)
    progress(done, len(pairs), "")

    def copied(target: str) -> None:
        nonlocal done
        done += 1
        progress(done, len(pairs), target)

    if missing:
        prompt.copy(missing, copied)
    there = prompt.run(_HASHES % ("/" + slot, roots))
    extra = sorted(set(there) - set(hashes))
    if extra:
        prompt.run(_REMOVE % (extra,))
    wrong = sorted(target for target in hashes if there.get(target) != hashes[target])
    if wrong:
        raise StorageProblem(
            f"{len(wrong)} of {len(hashes)} files did not arrive whole, the first is {wrong[0]}",
            "repeat the command; the board keeps its firmware from before until all files are right",
        )

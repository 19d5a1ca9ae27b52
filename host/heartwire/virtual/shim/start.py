"""Bring the virtual machine up as the board's ROM and _boot.py do: mount the flash, run boot.py, then main.py.

When the firmware gets control, the file system is the flash alone, sys.path is the board's, and `machine` and `rp2` are
loaded already, so nothing on the host can be seen or imported. It never returns: a program that ends leaves a silent
board, as the REPL would, until the watchdog bites or somebody pulls the plug. Started by the supervisor (vm.py).
"""

import json
import os
import sys

import virtual_link

virtual_link.open_link(json.loads(os.getenv("HEARTWIRE_VIRTUAL_BOARD")))

import machine  # noqa: E402
import rp2  # noqa: E402
import vfs  # noqa: E402

flash = rp2.Flash()
try:
    system = vfs.VfsLfs2(flash, progsize=256)
except OSError:
    vfs.VfsLfs2.mkfs(flash, progsize=256)
    system = vfs.VfsLfs2(flash, progsize=256)
vfs.umount("/")
vfs.mount(system, "/")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]


class _Implementation:
    """As the board's: a tuple whose second value is the version, and the name of the board."""

    _machine = virtual_link.config["machine"]

    def __getitem__(self, index):
        return _host.implementation[index]


class _Sys:
    """The VM's own sys, but it names the board that stands here."""

    implementation = _Implementation()

    def __getattr__(self, name):
        return getattr(_host, name)


_host = sys
sys.modules["sys"] = _Sys()
del json, vfs, rp2, machine, flash, system
__file__ = "main.py"
try:
    execfile("boot.py")  # noqa: F821
    virtual_link.report("H")
    execfile("main.py")  # noqa: F821
    sys.stderr.write("main.py returned\n")
    virtual_link.end("E")
except BaseException as error:
    sys.print_exception(error, sys.stderr)
    virtual_link.end("E")

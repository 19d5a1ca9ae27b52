"""Find out whether this server is a virtual machine: its clock may stand still without anybody inside noticing.

A lease on the clock of a virtual machine proves nothing once the host pauses or migrates it, so `on_board_loss =
"stop"` is refused there unless the machine is fenced from outside. Reads a few files of the kernel; decides nothing
else.
"""

from pathlib import Path

# What hypervisors write as vendor or product into the DMI tables.
DMI_NAMES = (
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "innotek",
    "xen",
    "bochs",
    "parallels",
    "bhyve",
    "virtual machine",
    "amazon ec2",
)
DMI_FILES = ("sys_vendor", "product_name", "bios_vendor")


def hypervisor(root: Path = Path("/")) -> str:
    """Return what shows that this is a virtual machine; empty if nothing does."""
    flags = _read(root / "proc/cpuinfo")
    for line in flags.splitlines():
        if line.startswith("flags") and "hypervisor" in line.split():
            return "the processor says so"
    name = _read(root / "sys/hypervisor/type").strip()
    if name:
        return name
    if (root / "proc/device-tree/hypervisor").exists():
        return "the device tree says so"
    for file in DMI_FILES:
        text = _read(root / "sys/class/dmi/id" / file).strip()
        if any(known in text.lower() for known in DMI_NAMES):
            return text
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

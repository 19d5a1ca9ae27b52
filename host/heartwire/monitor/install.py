"""Install the monitor on this host: its unit and user, the broker's units, the proof test's, settings to begin with.

Says what each file should be; agent.install writes them, and never over what a person changed. Nothing is enabled or
started: the lines printed at the end say how. Called by `heartwire monitor install` and `heartwire monitor example`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from heartwire.agent.install import Wanted
from heartwire.broker import install as broker
from heartwire.broker.install import ANY_PROGRAM

UNITS = ("heartwire-monitor.service", "systemd/heartwire-selftest@.service", "systemd/heartwire-selftest@.timer")


def shared(name: str, program: str = "") -> str:
    """Return a shipped file; `program` is the absolute path of heartwire to stand in a unit."""
    text = resources.files("heartwire").joinpath("share", *name.split("/")).read_text(encoding="utf-8")
    return text.replace(ANY_PROGRAM, program) if program else text


def plan(program: str) -> list[Wanted]:
    """Return all files."""
    files = [Wanted(Path("etc/systemd/system") / Path(name).name, shared(name, program), 0o644) for name in UNITS]
    files += broker.plan(program)
    files.append(Wanted(Path("usr/lib/sysusers.d/heartwire.conf"), shared("heartwire-sysusers.conf"), 0o644))
    settings = shared("monitor.example.toml")
    return [*files, Wanted(Path("etc/heartwire/monitor.toml"), settings, 0o644, settings=True)]


def next_steps(root: Path) -> list[str]:
    """Return what a person does now."""
    config = root / "etc/heartwire/monitor.toml"
    return [
        "systemd-sysusers && systemctl daemon-reload",
        f"edit {config}: the boards, and at least one [[channel]]; secrets in files of user heartwire, mode 0600",
        f"heartwire monitor check --config {config}",
        f"heartwire monitor test --config {config}",
        f"systemctl enable --now {broker.SOCKET} heartwire-monitor",
    ]

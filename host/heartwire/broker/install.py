"""Install the broker on this host: its socket and its service.

Called by `heartwire broker install` and `heartwire monitor install`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from heartwire.agent.install import Wanted

# What the shipped units are written with, for whoever copies them by hand.
ANY_PROGRAM = "/usr/bin/env heartwire"
UNITS = ("heartwire-broker.socket", "heartwire-broker.service")
SOCKET = UNITS[0]


def plan(program: str) -> list[Wanted]:
    """Return both units; `program` is the absolute path of heartwire."""
    share = resources.files("heartwire").joinpath("share", "systemd")
    return [
        Wanted(
            Path("etc/systemd/system") / name,
            share.joinpath(name).read_text(encoding="utf-8").replace(ANY_PROGRAM, program),
            0o644,
        )
        for name in UNITS
    ]


def next_steps() -> list[str]:
    """Return what a person does now."""
    return ["systemctl daemon-reload", f"systemctl enable --now {SOCKET}", "heartwire broker status"]

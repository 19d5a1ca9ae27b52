"""Find out whether the installed unit of the agent is the right one: a package's or `heartwire agent install`'s, for a
program that is there, and one that announces a shutdown and waits for it. Changes nothing.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from heartwire.agent.doctor_findings import BAD, WARNING, Finding
from heartwire.agent.install import OWN_UNITS, PACKAGED_UNITS, UNITS, packaged
from heartwire.agent.settings import AgentSettings

UNIT = str(OWN_UNITS / UNITS[0])
# The first of them that is there is what systemd reads.
PLACES = (UNIT, *(str(folder / UNITS[0]) for folder in PACKAGED_UNITS))
# Farewells after the drain, and a helper that has to be ended.
ENDING_S = 10


def hidden(root: Path) -> Iterator[Finding]:
    """Judge units that lie before those of a package, which then has no say."""
    for name in UNITS:
        theirs = packaged(OWN_UNITS / name, root)
        if theirs is not None and (root / OWN_UNITS / name).exists():
            yield Finding(
                WARNING,
                "unit",
                f"/{OWN_UNITS / name} hides the package's unit, {theirs}: no upgrade reaches it",
                f"`rm /{OWN_UNITS / name}` and `systemctl daemon-reload`; for changes there is `systemctl edit {name}`",
            )


def program(unit: str, own: str, root: Path) -> Iterator[Finding]:
    """Judge which heartwire the unit starts; `own` is the path of this one."""
    found = re.search(r"(?m)^ExecStart=(/\S+)", unit)
    if not found:
        return
    path = root / found[1].lstrip("/")
    if not path.exists():
        step = "`heartwire agent install --force`, then `systemctl daemon-reload`"
        yield Finding(BAD, "unit", f"it starts {found[1]}, which is not there", step)
    elif Path(own).exists() and path.resolve() != Path(own).resolve():
        yield Finding(
            WARNING,
            "unit",
            f"it starts {found[1]}, and this is {own}: another installation",
            "ask that one (`" + found[1] + " agent doctor`), or `heartwire agent install --force` with this one",
        )


def findings(settings: AgentSettings, unit: str) -> Iterator[Finding]:
    """Judge the text of the unit; an empty one (no systemd, or another unit) gives no finding."""
    if not unit:
        return
    if not re.search(r"(?m)^ExecStop=.*USR1", unit):
        yield Finding(
            WARNING,
            "unit",
            f"{UNITS[0]} is of an older version: nobody is told of a shutdown, and the board may cut the power in it",
            "`heartwire agent install --force`, then `systemctl daemon-reload`",
        )
        return
    limit = re.search(r"(?m)^TimeoutStopSec=([0-9]+)\s*$", unit)
    if limit and int(limit[1]) < settings.drain_timeout_s + ENDING_S:
        yield Finding(
            WARNING,
            "unit",
            f"systemd kills the agent {limit[1]} s after a stop, but it may wait {settings.drain_timeout_s:g} s",
            f"set TimeoutStopSec= in a drop-in of heartwire-agent.service to {settings.drain_timeout_s + ENDING_S:g} or"
            " more",
        )

"""Find out whether the installed unit of the agent announces a shutdown and waits for it. Changes nothing."""

import re
from collections.abc import Iterator

from heartwire.agent.doctor_findings import WARNING, Finding
from heartwire.agent.settings import AgentSettings

UNIT = "etc/systemd/system/heartwire-agent.service"
# Farewells after the drain, and a helper that has to be ended.
ENDING_S = 10


def findings(settings: AgentSettings, unit: str) -> Iterator[Finding]:
    """Judge the text of the unit; an empty one (no systemd, or another unit) gives no finding."""
    if not unit:
        return
    if not re.search(r"(?m)^ExecStop=.*USR1", unit):
        yield Finding(
            WARNING,
            "unit",
            f"/{UNIT} is of an older version: a shutdown is announced to nobody, and the board may cut the power in it",
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

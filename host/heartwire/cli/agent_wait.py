"""Wait until an agent that was told of a planned shutdown has stopped its services and the board knows."""

import time
from collections.abc import Callable
from typing import Any

from heartwire.cli.output import note
from heartwire.errors import NotAsAsked

POLL_S = 0.2
# For an answer of the board once all is stopped: some heartbeats. It may be the board that is gone.
TOLD_S = 5.0

Status = Callable[[], dict[str, Any]]


def wait_at_rest(
    status: Status,
    timeout_s: float,
    clock_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Return once nothing is left to be stopped and the board has heard it. NotAsAsked if it takes `timeout_s`."""
    began_s = clock_s()
    rest_s: float | None = None
    while True:
        known = status()
        now_s = clock_s()
        if not known["planned_off"]:
            raise NotAsAsked("somebody took it back meanwhile", "`heartwire agent status` shows what holds now")
        if known["at_rest"]:
            if known["wish"] == "advisory":
                note("the board only watches: the services are left as they are")
                return
            if known["off_told"]:
                return
            rest_s = now_s if rest_s is None else rest_s
            if now_s - rest_s >= TOLD_S:
                note("all is stopped, but the board did not answer: it may take this server for dead")
                return
        else:
            rest_s = None
            if now_s - began_s >= timeout_s:
                raise NotAsAsked(
                    f"the services are not known to be stopped after {timeout_s:g} s; they go on being stopped",
                    "`journalctl -u heartwire-agent` shows the stop hook; `heartwire agent ready` takes it back",
                )
        pause(POLL_S)

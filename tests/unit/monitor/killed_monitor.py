"""One channel of a monitor that kills itself with SIGKILL at a point of its outbox. Started by test_killed.

Arguments: store, spool, file that the command appends to, and the point: WHEN:WHAT:N, for instance after:begin:1, or
`none`. It works until everything is told.
"""

import io
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartwire.monitor.compose import Composer
from heartwire.monitor.courier import ProcessCourier
from heartwire.monitor.dispatch import Postman
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.settings import ChannelSettings
from heartwire.monitor.store import Store


def deadly(owner: Any, name: str, when: str, number: int) -> None:
    """Replace a method by one that kills this process before or after its `number`-th call."""
    genuine: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = genuine(*args, **options)
        if when == "after" and calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def main() -> int:
    """Work until nothing is left to tell."""
    store_path, spool, out, point = sys.argv[1:]
    script = f'cat > /dev/null; sleep 0.3; echo "$HEARTWIRE_ID $HEARTWIRE_TITLE" >> {out}'
    channel = ChannelSettings(name="mail", kind="command", command=("/bin/sh", "-c", script))
    with Store.open(Path(store_path)) as store:
        outbox = Outbox(store)
        courier = ProcessCourier(Path(spool))
        courier.prepare()
        if point != "none":
            when, what, number = point.split(":")
            if what == "started":
                deadly(ProcessCourier, "_sender", when, int(number))
            elif what == "ordered":
                genuine = ProcessCourier._hand_over

                def ordered(*args: Any) -> Any:
                    sender = genuine(*args)
                    if when == "late":
                        time.sleep(0.15 * int(number))
                    os.kill(os.getpid(), signal.SIGKILL)
                    return sender

                ProcessCourier._hand_over = ordered  # type: ignore[method-assign, assignment]
            else:
                deadly(outbox if hasattr(outbox, what) else courier, what, when, int(number))
        postman = Postman(channel, outbox, Composer(store, "here"), courier, Log(io.StringIO()), gather_ms=0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            wait_s = postman.step()
            if not outbox.unsent("mail") and not outbox.waiting("mail"):
                return 0
            time.sleep(min(wait_s, 0.05))
    return 1


if __name__ == "__main__":
    sys.exit(main())

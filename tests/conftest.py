"""What all tests share: Ctrl-C interrupts, also where a script has started the tests in its background."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take Ctrl-C back: a background job starts with it ignored, and so would each program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

"""What all tests share: Ctrl-C interrupts, a test that wants a broker says so, and a skip for what should be there is a
failure where everything is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest

from heartwire.broker.places import ENVIRONMENT, OFF
from heartwire_firmware import policy_state
from heartwire_firmware.policy_core import Core
from tests import components
from tests.fuzz import profile


def pytest_configure() -> None:
    """Take Ctrl-C back: a background job starts with it ignored, and so would each program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # HEARTWIRE_BROKER= runs them through brokers.
    os.environ.setdefault(ENVIRONMENT, OFF)
    hold_to_phases()
    profile.share()


def hold_to_phases() -> None:
    """Let no policy of any test enter a phase that the table does not allow after the one before."""
    enter = Core.enter

    def checked(self: Core, phase: int, target: int, successor: int, cause: int) -> None:
        before = self.state.phase
        names = policy_state.PHASES
        assert phase in policy_state.NEXT[before], f"{names[phase]} after {names[before]}"
        enter(self, phase, target, successor, cause)

    Core.enter = checked  # type: ignore[method-assign]


def judged(report: Any) -> None:
    """Make a failure of a skip that the table of components does not allow here."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    wrong = components.problem(str(report.longrepr[2]), os.environ)
    if wrong:
        report.outcome, report.longrepr = "failed", wrong


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """Judge the skips of tests."""
    judged((yield).get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, None]:
    """Judge the skips of whole files."""
    judged((yield).get_result())

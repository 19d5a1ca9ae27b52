"""`fence_heartwire`: read the arguments, do the one action, turn every error into the exit codes of the agent API.

Exit codes: 0 done (status: on), 2 status off, 1 anything else, a wrong argument and an expired deadline included. It
decides nothing about servers. Started by Pacemaker, labgrid, pdudaemon or a person.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TextIO

from heartwire import __version__, keys
from heartwire.errors import HeartwireError, UsageProblem
from heartwire.fence import metadata, options
from heartwire.fence.actions import Actions
from heartwire.fence.options import Options
from heartwire.fence.reach import Clock, open_board

EXIT_FAILED = 1
NAME = metadata.NAME


class TimeIsUp(Exception):
    """The call has taken longer than its timeouts allow together."""


def main(arguments: Sequence[str] | None = None, *, stdin: TextIO | None = None, clock: Clock | None = None) -> int:
    """Run one call (default: of this process) and return its exit code; never raises."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        wanted = options.from_arguments(words) if words else options.from_stdin(stdin or sys.stdin)
        with _limit(wanted.longest_s):
            return _act(wanted, clock or Clock())
    except HeartwireError as error:
        _error(error.words)
        if error.next_step:
            _error(f"next: {error.next_step}")
    except TimeIsUp:
        _error("timed out")
    except KeyboardInterrupt:
        _error("cancelled")
    except Exception as error:  # a cluster takes exit code 2 as "off": nothing may end this program but this function
        _error(f"a fault inside heartwire: {type(error).__name__}: {error}")
    return EXIT_FAILED


def _act(wanted: Options, clock: Clock) -> int:
    if wanted.help or wanted.version:
        sys.stdout.write(metadata.help_text() if wanted.help else f"{NAME} {__version__}\n")
        return 0
    if wanted.action == "metadata":
        sys.stdout.write(metadata.xml())
        return 0
    if wanted.ignored and wanted.verbose:
        _error(f"ignored: {', '.join(wanted.ignored)}")
    say: Callable[[str], None] = (lambda words: None) if wanted.quiet or not wanted.verbose else _error
    held = keys.find(wanted.key_file)
    if wanted.action in options.FOR_ONE_NODE and not wanted.plug:
        raise UsageProblem("which node? Give plug (-n)")
    if wanted.action == "validate-all":
        return 0
    if wanted.delay_s and wanted.action in ("off", "reboot"):
        clock.sleep(wanted.delay_s)
    with open_board(wanted.board, held, wanted.login_timeout_s, clock, wanted.board_id) as board:
        code = Actions(board, wanted, clock, say).run(sys.stdout.write)
    sys.stdout.flush()
    return code


class _limit:
    """End the block with TimeIsUp after `seconds`, whatever it waits for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        with contextlib.suppress(ValueError):  # not in the main thread: a test's clock limits it
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ValueError):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        raise TimeIsUp


def _error(words: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{NAME}: {words}\n")
        sys.stderr.flush()

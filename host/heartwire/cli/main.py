"""`heartwire`: the root of the command line, and the one place where errors become words and an exit code.

Commands live one file per group and are imported only when they run, so that `heartwire --version` and completion stay
fast. No command decides anything about servers: it reads its arguments, calls the public API, and prints.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from heartwire import __version__
from heartwire.cli.context import Session, connection_options
from heartwire.cli.lazy import Entry, LazyGroup
from heartwire.errors import BadConfig, Cancelled, HeartwireError, StorageProblem

# What a shell reports for a program that SIGPIPE ended: the reader of our output has gone, which is no fault.
EXIT_BROKEN_PIPE = 141

LOOK, ACT, SET_UP, RUN = "Look", "Act", "Set up", "Run"
COMMANDS = (
    Entry("boards", "heartwire.cli.boards", LOOK, "List the boards that are plugged in."),
    Entry("status", "heartwire.cli.status", LOOK, "Show the board and its nodes."),
    Entry("check", "heartwire.cli.check", LOOK, "Be a plugin of Nagios or Icinga: one line, exit code 0 to 3."),
    Entry("log", "heartwire.cli.log", LOOK, "Show what happened, and why."),
    Entry(
        "why", "heartwire.cli.why", LOOK, "Explain a decision: which rule, which evidence, what else was considered."
    ),
    Entry("history", "heartwire.cli.history", LOOK, "Show who was active when, and why it changed."),
    Entry("advise", "heartwire.cli.advise", LOOK, "Propose timings from what was seen, with their odds."),
    Entry("plans", "heartwire.cli.plans", LOOK, "Show what would happen now if each node failed."),
    Entry("mode", "heartwire.cli.operate", ACT, "Show or change the mode."),
    Entry("switchover", "heartwire.cli.operate", ACT, "Make another node active, in order."),
    Entry("cancel", "heartwire.cli.operate", ACT, "Cancel a switchover that waits for its drain, or a scheduled one."),
    Entry("fence", "heartwire.cli.operate", ACT, "Cut a node's power now, and prove that it is off."),
    Entry("release", "heartwire.cli.recover", ACT, "Give a fenced node its power back."),
    Entry("clear", "heartwire.cli.recover", ACT, "End a node's quarantine or lock-out."),
    Entry("readopt", "heartwire.cli.recover", ACT, "Take a running node as active again."),
    Entry("declare", "heartwire.cli.recover", ACT, "Say which node may be active."),
    Entry("maintenance", "heartwire.cli.operate", ACT, "Leave a node or the board alone for a while."),
    Entry("approve", "heartwire.cli.approval", ACT, "Let the action happen that the board asks for."),
    Entry("deny", "heartwire.cli.approval", ACT, "Do not let it happen."),
    Entry("config", "heartwire.cli.config", SET_UP, "Write, check, compare and apply settings."),
    Entry("key", "heartwire.cli.key", SET_UP, "Replace keys on a running rack, and show which are in use."),
    Entry("selftest", "heartwire.cli.selftest", SET_UP, "Commission a board, or prove its relays."),
    Entry("time", "heartwire.cli.system", SET_UP, "Show or set the board's wall time."),
    Entry("update", "heartwire.cli.update", SET_UP, "Prepare an update of the board, or end it."),
    Entry("restart", "heartwire.cli.system", SET_UP, "Restart the board's firmware."),
    Entry("completion", "heartwire.cli.completion", SET_UP, "Print shell completion for bash, zsh or fish."),
    Entry(
        "help",
        "heartwire.cli.help",
        SET_UP,
        "Print a page of the manual, what to do about an alarm, or help of a command.",
    ),
    Entry("image", "heartwire.cli.image", SET_UP, "Get the official MicroPython image for the board."),
    Entry("flash", "heartwire.cli.flash", SET_UP, "Put Heartwire onto a board."),
    Entry("shell", "heartwire.cli.shell", SET_UP, "Stop the guard and open the MicroPython prompt."),
    Entry("agent", "heartwire.cli.agent", RUN, "The program on a server that sends its heartbeats."),
    Entry("monitor", "heartwire.cli.monitor", RUN, "Collect the board's events and notify people."),
    Entry("broker", "heartwire.cli.broker", RUN, "Let many programs share one board."),
    Entry("virtual", "heartwire.cli.virtual", RUN, "Run a board and servers without hardware."),
    Entry("simulate", "heartwire.cli.simulate", RUN, "Run scenario files and check what they expect."),
    Entry("demo", "heartwire.cli.demo", RUN, "Watch a failover on a virtual rack."),
)


def _version() -> str:
    from heartwire_protocol import messages

    return f"heartwire {__version__} (protocol {messages.PROTOCOL_VERSION})"


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(_version())
        context.exit(0)


class OutputGone(Exception):
    """Whoever read our output has ended. No OSError, because click would turn that one into exit code 1."""


class Root(LazyGroup):
    """The root group; keeps click from having its own way with Ctrl-C and closed pipes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise OutputGone from None
        except KeyboardInterrupt:
            raise Cancelled("cancelled") from None


@click.group(
    cls=Root,
    commands_table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`heartwire COMMAND --help` shows an example; `heartwire help exit-codes` what a script may rely on.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show versions."
)
@connection_options
@click.pass_context
def cli(context: click.Context) -> None:
    """Heartwire: a Pico that hears two servers' heartbeats, fences the failed one and lets the other take over.

    \b
    heartwire status                 what is going on now
    heartwire log --follow           what happens, as it happens
    heartwire -p socket://rack:4000 status
    """
    context.ensure_object(Session)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv) and return its exit code; never raises.

    As a program (without `arguments`), SIGTERM ends a command the way Ctrl-C does: with the terminal restored and a
    trial of settings reverted.
    """
    if arguments is None:
        signal.signal(signal.SIGTERM, _end)
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (OutputGone, BrokenPipeError):
        _discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _discard_output()
        return _fail(StorageProblem(f"the output could not be written: {error.strerror or error}"))
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _fail(Cancelled("cancelled"))  # an interrupt in the middle of an import comes out as a RuntimeError
        traceback.print_exc()
        return _fail(HeartwireError(f"a fault inside heartwire: {type(error).__name__}: {error}"))
    finally:
        if arguments is not None:
            # A program that goes on wants its Ctrl-C back; see context.ignore_interrupts.
            for number, handler in handlers:
                if signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(arguments, prog_name="heartwire", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except HeartwireError as error:
        return _fail(error)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _fail(Cancelled("cancelled"))
    except click.FileError as error:
        return _fail(StorageProblem(error.format_message()))
    except click.ClickException as error:
        error.show()
        return error.exit_code


def _fail(error: HeartwireError) -> int:
    """Print an error to stderr, with all its problems and what to do next; return its exit code."""
    if isinstance(error, Cancelled):
        # The terminal has just echoed ^C: begin a new line.
        lines = ["", error.words] if sys.stderr is not None and sys.stderr.isatty() else [error.words]
    elif error.words:
        lines = [click.style("error: ", fg="red", bold=True) + error.words]
    else:
        lines = []
    if isinstance(error, BadConfig):
        lines += [f"  {problem}" for problem in error.problems]
    if error.next_step:
        lines.append(click.style("next:  ", fg="cyan") + error.next_step)
    if sys.stderr is not None:
        plain = bool(os.environ.get("NO_COLOR"))
        try:
            for line in lines:
                click.echo(line, err=True, color=False if plain else None)
        except OSError:
            pass  # nobody is left to tell
    return error.exit_code


def _discard_output() -> None:
    """Point stdout nowhere, so that the interpreter's own flush at exit does not fail again."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

"""Everything that can go wrong on the host side: one tree, each kind with its exit code and what to do next.

    HeartwireError                      1  a fault inside heartwire itself
      UsageProblem                      2  the command line makes no sense
      BoardNotFound                     3  no board there, or more than one to choose from
      PortBusy                          4  another program holds the port
      NotPermitted                      5  the operating system does not let us open the port or file
      NoAnswer                          6  the port is open, but no Heartwire board answers
      Unplugged                         7  the board went away in the middle
      ProtocolMismatch                  8  board and host speak different versions
      Refused                           9  the board's rules forbid it
      NotAllowed                       10  the board wants a key with that right
      BadConfig                        11  a config or key file breaks a rule
      StorageProblem                   12  a disk or the board's flash could not be written
      OutcomeUnknown                   13  it was sent, but nobody knows whether it happened
      JournalDamaged                   14  records of the journal are missing, damaged or altered
      NotAsAsked                       15  the answer to --check or --exit-code is "no"
      NotAuthentic                     21  the answer is not signed with your key, so it may not be your board's
      OtherBoard                       22  another board answers than the one that is named
      NotPrivate                       23  a key would cross a network in clear
      TooLittle                        24  there is too little history to advise from
      VirtualError                     16  the virtual rack cannot do what was asked (heartwire.virtual.errors)
      Cancelled                       130  Ctrl-C, or "no" to a question

Raised by every module of the host side; only `heartwire.cli.main` turns them into words and an exit code. Nothing here
does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator


class HeartwireError(Exception):
    """Base of all; `exit_code` and `meaning` belong to the class, `next_step` to the class or the one case."""

    exit_code = 1
    meaning = "a fault inside heartwire itself"
    default_next = "please report it, with the command and the output"

    def __init__(self, words: str, next_step: str | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.next_step = self.default_next if next_step is None else next_step


class UsageProblem(HeartwireError):
    """The command line makes no sense."""

    exit_code = 2
    meaning = "the command line makes no sense"
    default_next = "see `heartwire COMMAND --help`"


class BoardNotFound(HeartwireError):
    """No board at that address, or none or several where exactly one was looked for."""

    exit_code = 3
    meaning = "no board there, or more than one to choose from"
    default_next = "`heartwire boards` lists what is plugged in; choose with --port or HEARTWIRE_PORT"


class PortBusy(HeartwireError):
    """Another program holds the port."""

    exit_code = 4
    meaning = "another program holds the port"
    default_next = "end the other program; those of heartwire share a port: `heartwire broker status`"


class PortLent(PortBusy):
    """The broker of the port has lent it to one program, which needs the board for itself."""

    default_next = "wait until that program has ended: `heartwire broker status`"


class NotPermitted(HeartwireError):
    """The operating system does not let us open the port or file."""

    exit_code = 5
    meaning = "the operating system does not let us open the port or file"
    default_next = "add yourself to the group that owns it (often `dialout`) and log in again"


class NoAnswer(HeartwireError):
    """The port is open, but no Heartwire board answers in time."""

    exit_code = 6
    meaning = "the port is open, but no Heartwire board answers"
    default_next = (
        "check that it is the right port (`heartwire boards`); a board whose green light is on guards all the same"
    )


class AtPrompt(NoAnswer):
    """MicroPython answers at `port`, but no firmware runs on it."""

    def __init__(self, words: str, next_step: str | None = None, *, port: str = "") -> None:
        super().__init__(words, next_step)
        self.port = port


class TurnLost(NoAnswer):
    """Another program was let before at a shared board, and the request never got there."""

    default_next = "try again"


class Unplugged(HeartwireError):
    """The board or the connection to it went away in the middle."""

    exit_code = 7
    meaning = "the board went away in the middle"
    default_next = "check the cable; the board goes on guarding by itself. Then look at `heartwire status`"


class ProtocolMismatch(HeartwireError):
    """Board and host speak different versions of the protocol, or one of them broke it."""

    exit_code = 8
    meaning = "board and host speak different versions"
    default_next = "bring both to one version: `heartwire flash`, or install the heartwire that fits the board"


class Refused(HeartwireError):
    """The board's rules forbid it; `reason` is the name from the table of reasons, `code` the error code."""

    exit_code = 9
    meaning = "the board's rules forbid it"
    default_next = "`heartwire status` and `heartwire log` show why"

    def __init__(self, words: str, next_step: str | None = None, *, reason: str = "", code: str = "refused") -> None:
        super().__init__(words, next_step)
        self.reason = reason
        self.code = code


class NotAllowed(HeartwireError):
    """The board wants a key with that right, or the key given is the wrong one."""

    exit_code = 10
    meaning = "the board wants a key with that right"
    default_next = "give the key file with --key-file or HEARTWIRE_KEY_FILE; see `heartwire help keys`"


class BadConfig(HeartwireError):
    """A config or key file breaks a rule; `problems` lists them all (see heartwire.config.Problem)."""

    exit_code = 11
    meaning = "a config or key file breaks a rule"
    default_next = "mend the file, then try it again"

    def __init__(self, words: str, next_step: str | None = None, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(words, next_step)
        self.problems = problems


class StorageProblem(HeartwireError):
    """A disk, a pipe or the board's flash could not be written."""

    exit_code = 12
    meaning = "a disk or the board's flash could not be written"
    default_next = "make room or choose another place, then try again"


class OutcomeUnknown(HeartwireError):
    """A command that must not be repeated was sent, and no answer came: it may have happened or not."""

    exit_code = 13
    meaning = "it was sent, but nobody knows whether it happened"
    default_next = "look before you repeat it: `heartwire status`, then `heartwire log --limit 10`"


class JournalDamaged(HeartwireError):
    """Records of the journal are missing without cause, damaged or altered."""

    exit_code = 14
    meaning = "records of the journal are missing, damaged or altered"
    default_next = "keep a copy (`heartwire log --since 0 --json > journal.jsonl`) before anything else"


class NotAsAsked(HeartwireError):
    """The answer to --check or --exit-code is "no"."""

    exit_code = 15
    meaning = 'the answer to --check or --exit-code is "no"'
    default_next = ""


class NotAuthentic(HeartwireError):
    """Where a key is held, an answer that it does not sign is no answer."""

    exit_code = 21
    meaning = "the answer is not signed with your key, so it may not be your board's"
    default_next = "nothing of it was believed: look at what is connected there, and at the address"


class OtherBoard(HeartwireError):
    """Another board answers than the one that is named."""

    exit_code = 22
    meaning = "another board answers than the one that is named"
    default_next = (
        "look at the cables; if the board was replaced on purpose, name the new one: --board-id, or board_id in your "
        "settings"
    )


class NotPrivate(HeartwireError):
    """A key would cross a network in clear."""

    exit_code = 23
    meaning = "a key would cross a network in clear"
    default_next = (
        "run it on the machine that the board is plugged into, or through a tunnel: `ssh -N -L 4000:HOST:PORT "
        "USER@MACHINE`, then `--port socket://localhost:4000`"
    )


class TooLittle(HeartwireError):
    """What was seen so far is too little to say anything."""

    exit_code = 24
    meaning = "there is too little history to advise from"
    default_next = "wait until more was seen"


class NotRunning(HeartwireError):
    """A node was made active, but its services do not run."""

    exit_code = 18
    meaning = "the node is active, but its services do not run"
    default_next = "`heartwire agent doctor` on that server says what fails"


class Cancelled(HeartwireError):
    """Ctrl-C, or "no" to a question."""

    exit_code = 130
    meaning = 'Ctrl-C, or "no" to a question'
    default_next = ""


def kinds() -> Iterator[type[HeartwireError]]:
    """Yield every class of the tree that has an exit code of its own, by rising code."""
    yield HeartwireError
    yield from sorted(HeartwireError.__subclasses__(), key=lambda kind: kind.exit_code)

"""Arguments of fence_heartwire: one table; both ways in (standard input, command line) and the metadata come from it.

Unknown arguments are ignored and told, as the agent API asks; a wrong value is an error, never a guess. It opens
nothing and contacts nobody. Called by fence.main; fence.metadata prints the table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from heartwire.board_id import board_id_of
from heartwire.errors import UsageProblem

ACTIONS = ("on", "off", "reboot", "status", "monitor", "list", "list-status", "metadata", "validate-all")
# Actions that need to know which node is meant.
FOR_ONE_NODE = ("on", "off", "reboot", "status")
STRING, SECONDS, BOOLEAN = "string", "second", "boolean"
# Nothing of this program waits longer; a cluster's own timeouts are far below.
LONGEST_S = 3600.0
TRUE_WORDS = ("1", "on", "yes", "true")
FALSE_WORDS = ("0", "off", "no", "false", "")
NAME_FORM = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True)
class Parameter:
    """One argument: its name on standard input, its options on the command line, its kind, default and sentence."""

    name: str
    short: str
    long: str
    kind: str
    default: str
    sentence: str
    # An older name of the same argument; kept because clusters still send it.
    replaced_by: str = ""


PARAMETERS = (
    Parameter("action", "o", "action", STRING, "reboot", f"What to do: {', '.join(ACTIONS)}"),
    Parameter("plug", "n", "plug", STRING, "", "The node: a, b, spare, or the name that the board's settings give it"),
    Parameter("port", "n", "plug", STRING, "", "The node", replaced_by="plug"),
    Parameter(
        "board",
        "p",
        "port",
        STRING,
        "",
        "The board: device file, id:SERIAL (USB serial number), socket://HOST:PORT, or agent:PATH (over this node's "
        "own heartbeat line; PATH: its agent's control socket or state directory); default: the one plugged in",
    ),
    Parameter(
        "key_file",
        "k",
        "key-file",
        STRING,
        "",
        "File (mode 0600) with the keys of the host link; with it only answers that a key signs are believed",
    ),
    Parameter("board_id", "I", "board-id", STRING, "", "Talk only to the board of this id (16 hexadecimal digits)"),
    Parameter("last", "L", "last", BOOLEAN, "0", "Fence even if no fit node would remain by the board's view"),
    Parameter(
        "only_confirm",
        "c",
        "only-confirm",
        BOOLEAN,
        "0",
        "Never ask for a fence: wait until the board has proven the node off by its own decision",
    ),
    Parameter("delay", "f", "delay", SECONDS, "0", "Wait this long before off or reboot"),
    Parameter("login_timeout", "", "login-timeout", SECONDS, "10", "How long to try to reach a busy or absent board"),
    Parameter("power_timeout", "", "power-timeout", SECONDS, "30", "How long off may take to be proven, on to be seen"),
    Parameter("power_wait", "", "power-wait", SECONDS, "0", "How long reboot leaves the power off after off is proven"),
    Parameter("separator", "C", "separator", STRING, ",", "Separator of the columns of list and list-status"),
    Parameter("quiet", "q", "quiet", BOOLEAN, "0", "Print errors only"),
    Parameter("verbose", "v", "verbose", BOOLEAN, "0", "Print each step"),
    Parameter("version", "V", "version", BOOLEAN, "0", "Print the version and exit"),
    Parameter("help", "h", "help", BOOLEAN, "0", "Print help and exit"),
)
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


@dataclass
class Options:
    """What one call was asked to do. Times are in seconds."""

    action: str = "reboot"
    plug: str = ""
    board: str | None = None
    key_file: str | None = None
    board_id: str = ""
    last: bool = False
    only_confirm: bool = False
    delay_s: float = 0.0
    login_timeout_s: float = 10.0
    power_timeout_s: float = 30.0
    power_wait_s: float = 0.0
    separator: str = ","
    quiet: bool = False
    verbose: bool = False
    version: bool = False
    help: bool = False
    ignored: list[str] = field(default_factory=list)

    @property
    def longest_s(self) -> float:
        """The longest that this call may take: all its waits, and a little for the board's answers."""
        return self.delay_s + self.login_timeout_s + self.power_timeout_s + self.power_wait_s + 5.0


def from_stdin(lines: Iterable[str]) -> Options:
    """Read `name=value` lines; `#` lines are comments, the last value of a name wins. Raises UsageProblem."""
    values: dict[str, str] = {}
    ignored: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, separator, value = text.partition("=")
        name = "action" if name == "option" else name
        if not separator:
            ignored.append(_safe(text))
        elif name in BY_NAME or name == "nodename":
            values[name] = value.strip()
        else:
            ignored.append(_safe(name))
    # Pacemaker always tells the cluster's name of the node; it counts only where no plug is given.
    nodename = values.pop("nodename", "")
    return _options({**values, "plug": values.get("plug") or values.get("port") or nodename}, ignored)


def from_arguments(arguments: Sequence[str]) -> Options:
    """Read a command line: -n a, -na, --plug a, --plug=a. Raises UsageProblem."""
    values: dict[str, str] = {}
    ignored: list[str] = []
    waiting = list(arguments)
    long_names = {parameter.long: parameter for parameter in PARAMETERS if not parameter.replaced_by}
    short_names = {item.short: item for item in PARAMETERS if item.short and not item.replaced_by}
    while waiting:
        word = waiting.pop(0)
        value: str | None = None
        if word.startswith("--"):
            name, separator, rest = word[2:].partition("=")
            parameter = long_names.get(name)
            value = rest if separator else None
        elif word.startswith("-") and len(word) > 1:
            parameter = short_names.get(word[1])
            value = word[2:] or None
        else:
            parameter = None
        if parameter is None:
            ignored.append(_safe(word))
        elif parameter.kind == BOOLEAN and value is None:
            values[parameter.name] = "1"
        elif parameter.kind == BOOLEAN and not word.startswith("--"):
            # -qv: flags written together.
            values[parameter.name] = "1"
            waiting.insert(0, f"-{value}")
        elif value is None:
            if not waiting:
                raise UsageProblem(f"{word} needs a value")
            values[parameter.name] = waiting.pop(0)
        else:
            values[parameter.name] = value
    return _options(values, ignored)


def _options(values: dict[str, str], ignored: list[str]) -> Options:
    """Check texts and return the options they mean."""
    options = Options(ignored=ignored)
    options.action = values.get("action", options.action).strip().lower()
    if options.action not in ACTIONS:
        raise UsageProblem(f"action {_safe(options.action)}: must be one of {', '.join(ACTIONS)}")
    options.plug = values.get("plug", "")
    options.board = values.get("board") or None
    options.key_file = values.get("key_file") or None
    options.board_id = board_id_of(values.get("board_id"))
    options.separator = values.get("separator") or options.separator
    for name in ("last", "only_confirm", "quiet", "verbose", "version", "help"):
        setattr(options, name, _truth(name, values.get(name, "0")))
    for name in ("delay", "login_timeout", "power_timeout", "power_wait"):
        setattr(options, f"{name}_s", _seconds(name, values.get(name) or BY_NAME[name].default))
    return options


def _truth(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE_WORDS and word not in FALSE_WORDS:
        raise UsageProblem(f"{name}: must be 1 or 0, not {_safe(text)}")
    return word in TRUE_WORDS


def _seconds(name: str, text: str) -> float:
    """Return a number of seconds; "5" and "5s" are the same. Raises UsageProblem."""
    word = text.strip().lower()
    try:
        seconds = float(word.removesuffix("s"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_S:
        raise UsageProblem(f"{name}: must be 0 to {LONGEST_S:g} seconds, not {_safe(text)}")
    return seconds


def _safe(text: str) -> str:
    """Return a name as it may stand in a log; what does not look like one is not repeated, for it may be a secret."""
    word = text.lstrip("-").partition("=")[0]
    return word if NAME_FORM.fullmatch(word) and len(word) <= 32 else "(not a name)"

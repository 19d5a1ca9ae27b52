"""Settings: one table of names, units, limits, defaults and sentences, and the rules between them, for both ends.

Paths are "board.NAME" and "node.a.NAME". The host writes them as TOML; on the wire and in the board's flash they are
text, one "path=value" a line, sorted, only the values that differ from the default. `parse` refuses unknown paths and
values out of range, `check` (settings_rules) refuses combinations that contradict each other; both name the path, the
rule and the limit. Nothing here reads or writes a file. A key is shown only as its fingerprint.
"""

from heartwire_protocol import codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INT = "int"
BOOL = "bool"
CHOICE = "choice"
KEY = "key"
TEXT = "text"

TEXT_MAX = 24  # characters of a name
LENGTH_MAX = 4096  # bytes of the whole text: one flash block
NEXT = "_next"  # ends the name of a key that is to follow another one

# (name, kind, minimum, maximum, default, sentence); for a choice, minimum holds the choices. board.bench lowers a
# minimum to the fifth part of it, for benches, tests and the demo; the rules between settings hold all the same.
BOARD: "Any" = (
    ("name", TEXT, 0, TEXT_MAX, "heartwire", "name of this board in logs and notifications"),
    ("bench", BOOL, 0, 1, 0, "allow timings too short for real servers; shown in every status"),
    ("interval_ms", INT, 200, 10000, 1000, "time between two heartbeats of a node"),
    ("early_ms", INT, 0, 5000, 250, "a heartbeat sooner than this after the last one is altered (too early)"),
    ("late_ms", INT, 1000, 60000, 3000, "a node is late after this long without a good heartbeat"),
    ("dead_ms", INT, 2500, 300000, 10000, "a node is dead after this long without a good heartbeat"),
    ("common_cause_ms", INT, 250, 60000, 2000, "lines that go silent within late_ms plus this are one common fault"),
    ("good_count", INT, 1, 20, 3, "good heartbeats in a row before a node counts as good"),
    ("lease_ms", INT, 1000, 120000, 8000, "how long a node may be active on one grant"),
    ("cold_start_ms", INT, 5000, 3600000, 300000, "how long the last holder is waited for when the board starts"),
    ("drain_ms", INT, 1000, 600000, 30000, "how long an active node may take to stop its services in a switchover"),
    ("off_stable_ms", INT, 250, 60000, 1000, "how long a power sense must stay off to prove it"),
    ("off_timeout_ms", INT, 1000, 120000, 15000, "off must be proven within this after the fence fired"),
    ("off_ms", INT, 2000, 600000, 10000, "how long power stays off at least before it is given back"),
    ("hold_max_s", INT, 15, 86400, 600, "after a fence that proved nothing, the relay is released after this long"),
    ("max_actions", INT, 1, 20, 3, "automatic actions on one node within window_s before it is locked out"),
    ("window_s", INT, 60, 86400, 3600, "the window for max_actions"),
    ("failback", CHOICE, ("manual", "auto"), 0, "manual", "whether the preferred node takes over again by itself"),
    ("preferred", CHOICE, ("a", "b", "spare"), 0, "a", "node to be active where nothing else decides"),
    ("stable_s", INT, 10, 86400, 300, "how long the preferred node must be good before an automatic failback"),
    ("approval_s", INT, 10, 86400, 600, "how long an approval request stands"),
    ("approval_default", CHOICE, ("hold", "proceed"), 0, "hold", "what happens when it is not answered"),
    ("maintenance_max_s", INT, 60, 604800, 86400, "longest maintenance"),
    ("clock_drift_ppm", INT, 10, 10000, 200, "how far a node's and the board's clock may drift apart"),
    ("watchdog_ms", INT, 2000, 8300, 8000, "hardware watchdog of the board (RP2040: at most 8388 ms)"),
    ("lone", CHOICE, ("hold", "act"), 0, "hold", "what silence means where no second line can be heard to compare"),
    ("press_ms", INT, 100, 2000, 500, "how long a pulse on a front-panel header lasts"),
    ("button_hold_ms", INT, 5000, 15000, 6000, "how long a power button is held to switch a node off"),
    (
        "rung_ms",
        INT,
        5000,
        3600000,
        120000,
        "how long one step of a recovery is given before the next; doubles each time",
    ),
    ("excuse_s", INT, 5, 86400, 60, "a half line, line errors or a peer's sight put off a fence for this long at most"),
    ("power_loss", CHOICE, ("ask", "proof"), 0, "ask", "what follows when the active node loses its own power"),
    (
        "service_s",
        INT,
        5,
        3600,
        60,
        "an active node whose services do not run, or are degraded beside a healthy node, has failed after this long",
    ),
    (
        "service_switch",
        CHOICE,
        ("never", "failed", "degraded"),
        0,
        "failed",
        "when failed services move: never, if they do not run, or if they are degraded too",
    ),
    ("transfer", BOOL, 0, 1, 0, "a latching transfer relay with position contacts is wired"),
    ("update_max_s", INT, 60, 3600, 900, "longest lease that stop nodes get for an update of the board"),
    ("view_key", KEY, 0, 0, "", "needed to read over the host link"),
    ("operate_key", KEY, 0, 0, "", "needed to switch, fence and approve"),
    ("configure_key", KEY, 0, 0, "", "needed to configure, arm, update and get the prompt"),
    ("view_key_next", KEY, 0, 0, "", "taken as well as view_key, while one is replaced by the other"),
    ("operate_key_next", KEY, 0, 0, "", "taken as well as operate_key, while one is replaced by the other"),
    ("configure_key_next", KEY, 0, 0, "", "taken as well as configure_key, while one is replaced by the other"),
)
NODE: "Any" = (
    ("enabled", BOOL, 0, 1, 0, "this node exists"),
    ("name", TEXT, 0, TEXT_MAX, "", "the server's name in logs and notifications"),
    ("profile", CHOICE, ("frames", "text"), 0, "frames", "what its line speaks; text: any line is a sign of life"),
    ("baud", INT, 9600, 460800, 115200, "baud rate of its line, 8N1"),
    ("key", KEY, 0, 0, "", "signs its heartbeats and the board's grants"),
    ("key_next", KEY, 0, 0, "", "taken as well as key; grants are signed with the one the node used last"),
    ("fence", CHOICE, ("power", "reset", "button", "lease", "none"), 0, "power", "how it is fenced"),
    ("front", CHOICE, ("none", "reset", "power"), 0, "none", "the front-panel header its opto-coupler is wired to"),
    ("standby", CHOICE, ("hot", "cold"), 0, "hot", "cold: it is off until it is needed, and started by its button"),
    (
        "recovery",
        CHOICE,
        ("notify", "ask", "reset", "cycle"),
        0,
        "notify",
        "how far the board goes to bring it back while it is no holder, or alone",
    ),
    ("off_proof", CHOICE, ("sense", "assumed"), 0, "sense", "how off is proven; assumed must be wanted"),
    (
        "power_loss",
        CHOICE,
        ("board", "ask", "proof"),
        0,
        "board",
        "what follows when it loses its own power; board: as board.power_loss says",
    ),
    ("senses", INT, 0, 2, 1, "power sense inputs wired, one for each feed"),
    (
        "assumed_off_ms",
        INT,
        5000,
        300000,
        20000,
        "with off_proof assumed: power stays off this long before it counts as off",
    ),
    ("on_board_loss", CHOICE, ("hold", "stop"), 0, "hold", "what a running service does when its lease runs out"),
    ("self_fence_ms", INT, 2000, 300000, 60000, "with stop: its kernel watchdog resets it within this"),
    (
        "boot_grace_ms",
        INT,
        30000,
        3600000,
        300000,
        "no action on it for this long after it got power or was first heard",
    ),
    ("quarantine", CHOICE, ("person", "clean_start"), 0, "person", "what ends its quarantine after a fence"),
    ("serve_alone", BOOL, 0, 1, 0, "it may be active although quarantined, if no other node is left"),
    (
        "second_sign",
        CHOICE,
        ("none", "peer", "power", "line", "any"),
        0,
        "none",
        "what must agree that it is gone before it is fenced",
    ),
    ("may_fence", BOOL, 0, 1, 0, "its line may ask to fence another node"),
    ("busy_max_s", INT, 0, 86400, 1800, "how long busy or crash_dump puts off an action at most"),
)


_BOARD_ROWS = {row[0]: row for row in BOARD}
_NODE_ROWS = {row[0]: row for row in NODE}


def row_of(path: str) -> "tuple[Any, int]":
    """Return (table row, index of the node or -1) of a path; KeyError for an unknown one."""
    parts = path.split(".")
    if len(parts) == 2 and parts[0] == "board":
        return _BOARD_ROWS[parts[1]], -1
    if len(parts) == 3 and parts[0] == "node" and parts[1] in codes.NODES:
        return _NODE_ROWS[parts[2]], codes.NODES.index(parts[1])
    raise KeyError(path)


def paths() -> "list[str]":
    """Return all paths, in the order of the tables."""
    result = ["board." + row[0] for row in BOARD]
    for node in codes.NODES:
        for row in NODE:
            result.append("node.%s.%s" % (node, row[0]))
    return result


def default_of(path: str) -> "Any":
    """Return the default value; nodes a and b are enabled, the spare is not."""
    row, _ = row_of(path)
    if path == "node.a.enabled" or path == "node.b.enabled":
        return 1
    return row[4]


def minimum_of(row: "Any", bench: int) -> int:
    """Return the lower limit of an integer setting; a fifth of it on a bench."""
    return int(row[2] // 5 if bench else row[2])


def problem_with(path: str, value: "Any", bench: int) -> "str | None":
    """Return "rule, limit" in words if `value` may not stand at `path`, else None. KeyError for an unknown path."""
    row, _ = row_of(path)
    kind = row[1]
    if kind == INT:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        low = minimum_of(row, bench)
        if value < low or value > row[3]:
            return "must be %d to %d, not %d" % (low, row[3], value)
    elif kind == BOOL:
        if value not in (0, 1):
            return "must be true or false"
    elif kind == CHOICE:
        if value not in row[2]:
            return "must be one of %s" % ", ".join(row[2])
    elif not isinstance(value, str):
        return "must be text"
    elif kind == KEY:
        if value and (len(value) != 64 or value.strip("0123456789abcdef")):
            return "must be 64 hexadecimal digits (32 bytes), lower case"
    elif len(value) > row[3] or [letter for letter in value if not " " <= letter <= "~"]:
        return "must be at most %d printable ASCII characters" % row[3]
    return None


class Settings:
    """All settings as attributes: `board` and `nodes[0..2]`, each a Section."""

    def __init__(self) -> None:
        self.board = Section(BOARD)
        self.nodes = (Section(NODE), Section(NODE), Section(NODE))
        self.nodes[codes.NODE_A].enabled = 1
        self.nodes[codes.NODE_B].enabled = 1

    def get(self, path: str) -> "Any":
        """Return the value at `path`; KeyError for an unknown one."""
        row, node = row_of(path)
        return getattr(self.board if node < 0 else self.nodes[node], row[0])

    def put(self, path: str, value: "Any") -> None:
        """Set the value at `path` unchecked; KeyError for an unknown one."""
        row, node = row_of(path)
        setattr(self.board if node < 0 else self.nodes[node], row[0], value)

    def text(self, show_keys: bool = True) -> str:
        """Return the canonical text: sorted lines of what differs from the default; fingerprints for keys if not
        shown.
        """
        lines: "list[str]" = []
        self._add(lines, "board.", self.board, BOARD, show_keys, 0)
        for node in range(codes.NODE_COUNT):
            enabled = 1 if node != codes.NODE_SPARE else 0
            self._add(lines, "node.%s." % codes.NODES[node], self.nodes[node], NODE, show_keys, enabled)
        lines.sort()
        return "".join(lines)

    def _add(
        self, lines: "list[str]", prefix: str, section: "Section", table: "Any", show_keys: bool, enabled: int
    ) -> None:
        for row in table:
            value = getattr(section, row[0])
            if value != (enabled if row[0] == "enabled" else row[4]):
                if not show_keys and row[1] == KEY:
                    value = fingerprint(value)
                lines.append("%s%s=%s\n" % (prefix, row[0], int(value) if isinstance(value, bool) else value))


class Section:
    """The settings of one table as attributes, at their defaults."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, table: "Any") -> None:
        for row in table:
            setattr(self, row[0], row[4])


def twin_of(path: str) -> str:
    """Return the path of the key that follows the key at `path`, or that it follows."""
    return path[: -len(NEXT)] if path.endswith(NEXT) else path + NEXT


def fingerprint(key: str) -> str:
    """Return a short name of a key that tells nothing about it: "key:" and 8 hexadecimal digits of its SHA-256."""
    import binascii
    import hashlib

    return "key:" + binascii.hexlify(hashlib.sha256(b"heartwire" + key.encode()).digest()[:4]).decode()


UNKNOWN = "unknown setting"


def parse(text: str) -> "tuple[Settings, list[tuple[str, str]]]":
    """Return (Settings, problems) of a canonical text; a problem is (path, words). Stops at nothing, reports all."""
    settings = Settings()
    problems: "list[tuple[str, str]]" = []
    pairs: "list[tuple[str, Any]]" = []
    for line in text.split("\n"):
        if not line:
            continue
        at = line.find("=")
        path = line[:at] if at > 0 else line
        try:
            row, _ = row_of(path)
        except KeyError:
            problems.append((path, UNKNOWN))
            continue
        value: "Any" = line[at + 1 :]
        if row[1] in (INT, BOOL):
            try:
                value = int(value)
            except ValueError:
                problems.append((path, "must be a whole number"))
                continue
        pairs.append((path, value))
    bench = 0
    for path, value in pairs:
        if path == "board.bench":
            bench = 1 if value else 0
    for path, value in pairs:
        words = problem_with(path, value, bench)
        if words:
            problems.append((path, words))
        else:
            settings.put(path, value)
    return settings, problems

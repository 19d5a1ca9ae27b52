"""Rules between settings: combinations that look harmless one by one and would switch off the wrong server together.

RULES rows are (name, scope, test, path, sentence). A test gets (board, node or None) and returns None when the rule
holds, else the limit in words. `check` runs them all; both ends call it before settings are stored, and the board again
when it loads them. KEY_RULES are for new settings only: a board that has run without them goes on.
"""

from heartwire_protocol import codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Worst time the board's loop stands still to write to flash: a datasheet-maximum sector erase of the W25Q16JV (400 ms,
# table 9.6) and its page programs. Typical: 45 ms. Hardly any pass of the loop holds two
# erases (tests/unit/firmware/test_erases.py).
FLASH_STALL_MS = 450
# From late to a durable intent, at worst: a write that is under way, then the intent's own; each erases the block of
# its file and, now and then, one of the file system's. On a bench, whose flash is young, four typical ones take less
# than one such stall.
INTENT_ERASES = 4


def _late_after_interval(board: "Any", _: "Any") -> "str | None":
    limit = 2 * board.interval_ms
    return None if board.late_ms >= limit else "late_ms must be at least %d" % limit


def _dead_after_late(board: "Any", _: "Any") -> "str | None":
    limit = board.late_ms + board.common_cause_ms + 1
    return None if board.dead_ms >= limit else "dead_ms must be at least %d" % limit


def _intent_fits(board: "Any", _: "Any") -> "str | None":
    limit = board.late_ms + FLASH_STALL_MS * (1 if board.bench else INTENT_ERASES) + 1
    return None if board.dead_ms >= limit else "dead_ms must be at least %d" % limit


def _stall_fits(board: "Any", _: "Any") -> "str | None":
    limit = FLASH_STALL_MS + 2 * board.interval_ms + 1
    return None if board.dead_ms >= limit else "dead_ms must be at least %d" % limit


def _window(board: "Any", _: "Any") -> "str | None":
    limit = board.interval_ms // 2
    return None if board.early_ms <= limit else "early_ms must be at most %d" % limit


def _lease_renews(board: "Any", _: "Any") -> "str | None":
    limit = max(2 * board.interval_ms + FLASH_STALL_MS, board.late_ms)
    return None if board.lease_ms >= limit else "lease_ms must be at least %d" % limit


def _watchdog_slack(board: "Any", _: "Any") -> "str | None":
    limit = 3 * FLASH_STALL_MS + 1
    return None if board.watchdog_ms >= limit else "watchdog_ms must be at least %d" % limit


def _off_fits(board: "Any", _: "Any") -> "str | None":
    limit = board.off_stable_ms + 250
    return None if board.off_timeout_ms >= limit else "off_timeout_ms must be at least %d" % limit


def _sense_wired(_: "Any", node: "Any") -> "str | None":
    if node.fence in ("power", "button") and node.off_proof == "sense" and node.senses < 1:
        return "senses must be at least 1, or off_proof must be assumed"
    return None


def _hold_needs_measure(_: "Any", node: "Any") -> "str | None":
    if node.on_board_loss == "hold" and (node.fence not in ("power", "button", "none") or node.off_proof != "sense"):
        return "on_board_loss must be stop where off is not measured"
    return None


def _assumed_covers(board: "Any", node: "Any") -> "str | None":
    if node.off_proof != "assumed":
        return None
    drift = (board.lease_ms + node.self_fence_ms) * board.clock_drift_ppm // 1000000 + 1
    limit = board.lease_ms + node.self_fence_ms + drift
    return None if node.assumed_off_ms >= limit else "assumed_off_ms must be at least %d" % limit


def _text_is_measured(_: "Any", node: "Any") -> "str | None":
    if node.profile == "text" and (node.fence != "power" or node.off_proof != "sense"):
        return "a text node must have fence power and off_proof sense: it has no lease to wait out"
    return None


def _text_asks_nothing(_: "Any", node: "Any") -> "str | None":
    return "may_fence must be false: a text line is not signed" if node.profile == "text" and node.may_fence else None


def _fencer_is_keyed(_: "Any", node: "Any") -> "str | None":
    return "may_fence needs a key" if node.may_fence and not node.key else None


def _front_fits(_: "Any", node: "Any") -> "str | None":
    if node.fence == "reset" and node.front != "reset":
        return "front must be reset"
    if node.fence == "button" and (node.front != "power" or node.off_proof != "sense"):
        return "front must be power and off_proof sense: a press of unknown effect proves nothing"
    return None


def _reset_stops(_: "Any", node: "Any") -> "str | None":
    # A server that never comes back after its reset pulse has proven nothing, so nobody waits it out.
    return "off_proof must be sense" if node.fence == "reset" and node.off_proof != "sense" else None


def _lease_waits(_: "Any", node: "Any") -> "str | None":
    if node.fence == "lease" and (node.off_proof != "assumed" or node.on_board_loss != "stop"):
        return "off_proof must be assumed and on_board_loss stop: its lease is waited out"
    return None


def _cold_starts(_: "Any", node: "Any") -> "str | None":
    if node.standby == "cold" and (node.front != "power" or node.senses < 1):
        return "front must be power and senses at least 1: a press may only start a node that is measured off"
    return None


def _ladder_wired(_: "Any", node: "Any") -> "str | None":
    if node.recovery == "reset" and node.front != "reset":
        return "front must be reset"
    if node.recovery == "cycle" and node.fence != "power":
        return "fence must be power"
    return None


def _assumed_fits(board: "Any", node: "Any") -> "str | None":
    if node.off_proof != "assumed" or node.fence != "power":
        return None
    limit = node.assumed_off_ms // 1000 + 1
    return None if board.hold_max_s >= limit else "board.hold_max_s must be at least %d" % limit


def _button_is_held(board: "Any", node: "Any") -> "str | None":
    if node.fence != "button":
        return None
    limit = board.button_hold_ms + board.off_stable_ms + 250
    return None if board.off_timeout_ms >= limit else "board.off_timeout_ms must be at least %d" % limit


# The keys of the host link, from the least right to the most.
HOST_KEYS = ("view_key", "operate_key", "configure_key")


def _configure_first(board: "Any", _: "Any") -> "str | None":
    for name in HOST_KEYS:
        if getattr(board, name) and not board.configure_key:
            return "configure_key must be set too"
    return None


def _next_follows(board: "Any", _: "Any") -> "str | None":
    for name in HOST_KEYS:
        if getattr(board, name + "_next") and not getattr(board, name):
            return "%s_next needs %s" % (name, name)
    return None


def _rights_differ(board: "Any", _: "Any") -> "str | None":
    # Fingerprints that stand for a key which is not at hand tell nothing.
    found: "list[str]" = []
    for name in HOST_KEYS:
        for path in (name, name + "_next"):
            key = getattr(board, path)
            if key and key[:4] != "key:":
                if key in found:
                    return path + " must be a key of its own"
                found.append(key)
    return None


RULES = (
    ("late_after_interval", "board", _late_after_interval, "late_ms", "one lost heartbeat alone makes nobody late"),
    ("dead_after_late", "board", _dead_after_late, "dead_ms", "late_ms + common_cause_ms must fit before dead_ms"),
    ("intent_fits", "board", _intent_fits, "dead_ms", "the intent must be durable before the deadline"),
    ("stall_fits", "board", _stall_fits, "dead_ms", "a flash stall and two lost heartbeats must not look like death"),
    ("window", "board", _window, "early_ms", "ordinary jitter must not look too early"),
    (
        "lease_renews",
        "board",
        _lease_renews,
        "lease_ms",
        "one lost grant must not end a lease, and a lease that ended must be seen as late",
    ),
    ("watchdog_slack", "board", _watchdog_slack, "watchdog_ms", "three worst erases must fit into the watchdog"),
    ("off_fits", "board", _off_fits, "off_timeout_ms", "off must have time to become stable"),
    ("sense_wired", "node", _sense_wired, "senses", "measured off needs a sense input"),
    ("hold_needs_measure", "node", _hold_needs_measure, "on_board_loss", "hold is safe only where off is measured"),
    ("assumed_covers", "node", _assumed_covers, "assumed_off_ms", "lease, self-fence time and drift must be over"),
    ("text_is_measured", "node", _text_is_measured, "profile", "a text node can only be fenced by measured power"),
    ("text_asks_nothing", "node", _text_asks_nothing, "may_fence", "a text line may not ask for anything"),
    ("front_fits", "node", _front_fits, "fence", "the header that it presses must be wired"),
    ("reset_stops", "node", _reset_stops, "off_proof", "a reset counts only when the node says that it has stopped"),
    ("lease_waits", "node", _lease_waits, "off_proof", "lease-only must be wanted, and its services must end with it"),
    ("cold_starts", "node", _cold_starts, "standby", "a short press on a running server would shut it down"),
    ("ladder_wired", "node", _ladder_wired, "recovery", "each step needs its wire"),
    ("assumed_fits", "node", _assumed_fits, "assumed_off_ms", "the relay must not be released before off is assumed"),
    ("button_fits", "node", _button_is_held, "fence", "a held button takes its time to switch off"),
    ("fencer_is_keyed", "node", _fencer_is_keyed, "may_fence", "who may ask for a fence must sign"),
)
KEY_RULES = (
    (
        "configure_first",
        "board",
        _configure_first,
        "configure_key",
        "without it anybody at the cable could apply settings that hold no key",
    ),
    ("next_follows", "board", _next_follows, "configure_key_next", "a next key follows one that is in force"),
    ("rights_differ", "board", _rights_differ, "configure_key", "who has a key for two rights has the greater one"),
)


def check(settings: "Any", stored: bool = False) -> "list[tuple[str, str]]":
    """Return the problems of `settings` as a list of (path, words); empty if every rule holds. `stored`: they are
    confirmed settings that a board has kept, so the rules for new ones are not asked.
    """
    problems: "list[tuple[str, str]]" = []
    enabled = 0
    for index in range(codes.NODE_COUNT):
        enabled += 1 if settings.nodes[index].enabled else 0
    if not enabled:
        problems.append(("node.a.enabled", "some_node: at least one node must be enabled"))
    for name, scope, test, key, sentence in RULES if stored else RULES + KEY_RULES:
        for index in range(-1, codes.NODE_COUNT):
            if (scope == "board") != (index < 0):
                continue
            node = settings.nodes[index] if index >= 0 else None
            if node is not None and not node.enabled:
                continue
            limit = test(settings.board, node)
            if limit:
                path = "board." + key if index < 0 else "node.%s.%s" % (codes.NODES[index], key)
                problems.append((path, "%s: %s (%s)" % (name, limit, sentence)))
    return problems

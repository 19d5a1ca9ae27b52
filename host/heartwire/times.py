"""Points and spans of time as people type and read them.

Pure functions; no clock of their own (callers hand in "now"). Called by the CLI's log, status and maintenance commands.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from heartwire.errors import UsageProblem

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)", re.IGNORECASE)
EXAMPLES = "90s, 30m, 2h, 1d or 1h30m"


def parse_span(text: str) -> timedelta:
    """Return the span that `text` says: a number with s, m, h, d or w, or several. Raises UsageProblem."""
    packed = text.strip().replace(" ", "")
    parts = _SPAN.findall(packed)
    if not parts or "".join(number + unit for number, unit in parts) != packed:
        raise UsageProblem(f"{text!r} is no span of time", f"write it as {EXAMPLES}")
    try:
        return timedelta(seconds=sum(float(number) * UNITS_S[unit.lower()] for number, unit in parts))
    except OverflowError:
        raise UsageProblem(f"{text!r} is too long") from None


def parse_since(text: str, now: datetime) -> int | datetime:
    """Return what `--since` means: a sequence number, or a point in time in UTC. Raises UsageProblem.

    Whole numbers are sequences; `10m` and its like count back from `now`; ISO 8601 times without an offset are local.
    """
    packed = text.strip()
    if packed.isdigit():
        return int(packed)
    if _SPAN.match(packed):
        try:
            return now - parse_span(packed)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(packed)
    except ValueError:
        raise UsageProblem(
            f"--since {text!r} is neither a sequence number, nor a span, nor a time",
            f"write 1234, {EXAMPLES}, or 2030-01-31T12:00",
        ) from None
    return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC)


def span_words(seconds: float) -> str:
    """Return a span for people, with its two largest units: "3d 4h", "12m 5s", "7.6s"."""
    if seconds < 0:
        return "-" + span_words(-seconds)
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, UNITS_S[unit])
        if count or parts:
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0")) or "0s"


def uptime_words(uptime_ms: int) -> str:
    """Return a time since boot as "+2d 03:04:05.678"."""
    days, left = divmod(uptime_ms, 86_400_000)
    hours, left = divmod(left, 3_600_000)
    minutes, left = divmod(left, 60_000)
    seconds, ms = divmod(left, 1000)
    clock = f"{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"
    return f"+{days}d {clock}" if days else f"+{clock}"

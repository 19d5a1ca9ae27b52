"""How a value stands in a log line of key=value words. Pure; used by the logs of the agent and of the monitor."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:+@,%#")


def quote(value: object) -> str:
    """Return `value` as it stands in a log line: booleans as yes/no, quoted only where needed, never a line break."""
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    if text and _PLAIN.issuperset(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in escaped) + '"'

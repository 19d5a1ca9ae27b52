"""Checks of single settings: each returns the value, or raises SettingsError with the path, the rule and the limit."""

import ipaddress
from typing import Any

from heartwire.agent.errors import SettingsError


def refuse_unknown(values: dict[str, Any], known: set[str], prefix: str) -> None:
    """Refuse names that are not in `known`."""
    for name in values:
        if name not in known:
            raise SettingsError(f"{prefix}{name}: unknown setting", f"known are: {', '.join(sorted(known))}")


def number(value: Any, path: str, limits: tuple[float, float], whole: bool = False) -> Any:
    """Return `value` if it is a number within `limits`."""
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not right or not limits[0] <= value <= limits[1]:
        kind = "a whole number" if whole else "a number"
        raise SettingsError(
            f"{path}: must be {kind} from {limits[0]:g} to {limits[1]:g}, not {value!r}", f"correct {path}"
        )
    return value


def choice(value: Any, path: str, choices: tuple[Any, ...]) -> Any:
    """Return `value` if it is one of `choices`."""
    if isinstance(value, bool) or value not in choices:
        raise SettingsError(f"{path}: must be one of {', '.join(map(str, choices))}", f"correct {path}")
    return value


def truth(value: Any, path: str) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise SettingsError(f"{path}: must be true or false", f"correct {path}")
    return value


def text(value: Any, path: str) -> str:
    """Return `value` if it is text."""
    if not isinstance(value, str):
        raise SettingsError(f"{path}: must be text", f"correct {path}")
    return value


def address(text: Any, path: str) -> tuple[str, int]:
    """Return (numeric address, port) of a text such as 192.0.2.1:7411 or [2001:db8::1]:7411."""
    host, _, port = str(text).rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not isinstance(text, str) or not 0 <= number <= 65_535:
        raise SettingsError(
            f"{path}: must be a numeric address and a port", 'write "192.0.2.1:7411"; names are not looked up'
        )
    return host, number

"""Checks of single settings: each returns the value, or raises SettingsError with the path, the rule and the limit."""

import ipaddress
import re
from typing import Any

from heartwire.agent.errors import SettingsError
from heartwire.names import split_address

# What may be the name of a variable: what every shell can read.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Set by the agent for each run; a fixed value would lie.
OWN_VARIABLES = (
    "HEARTWIRE_EPOCH", "HEARTWIRE_EPOCH_BEFORE", "HEARTWIRE_NODE", "HEARTWIRE_REASON", "HEARTWIRE_ROLE",
)  # fmt: skip
# All names and values together, in characters: a command goes to its runner in one message of 65,536 bytes.
ENVIRONMENT_MAX = 8192


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
    try:
        host, port = split_address(text if isinstance(text, str) else "")
        ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(
            f"{path}: must be a numeric address and a port", 'write "192.0.2.1:7411"; names are not looked up'
        ) from None
    return host, port


def environment(values: Any, path: str) -> tuple[tuple[str, str], ...]:
    """Return the variables of a table NAME = "value"."""
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: must be a table", 'write {NAME = "value"}')
    for name, value in values.items():
        if not VARIABLE.fullmatch(name):
            raise SettingsError(f"{path}.{name}: is no name of a variable", "use letters, digits and _")
        if name in OWN_VARIABLES:
            raise SettingsError(f"{path}.{name}: is set by the agent itself", "take it out")
        if not isinstance(value, str) or "\0" in value:
            raise SettingsError(f"{path}.{name}: must be text", f'write {name} = "value"')
    if sum(len(name) + len(value) for name, value in values.items()) > ENVIRONMENT_MAX:
        raise SettingsError(f"{path}: must have at most {ENVIRONMENT_MAX} characters", "name a file instead")
    return tuple(values.items())

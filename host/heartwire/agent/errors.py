"""Errors of the agent that a person can do something about, as kinds of the host's tree (heartwire.errors).

Raised by settings, keys, state and watchdog; `heartwire.cli.main` prints them. They never carry a key, nor anything
read from a key file.
"""

from heartwire.errors import BadConfig, NoAnswer, NotPermitted, StorageProblem


class SettingsError(BadConfig):
    """A setting is unknown, missing or outside its limits, or a key file is unusable."""


class StateError(StorageProblem):
    """The state directory cannot be used: in use by another agent, read-only, or damaged."""


class ControlError(NoAnswer):
    """No agent answers on its control socket, or it refused."""

    default_next = "`systemctl status heartwire-agent` shows whether it runs; --state-directory must be the agent's"


class UnsafeProgram(NotPermitted):
    """A service of root's would run what somebody else can change."""


class WatchdogError(NotPermitted):
    """The kernel watchdog cannot be armed."""

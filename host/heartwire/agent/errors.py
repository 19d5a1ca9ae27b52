"""Errors of the agent that a person can do something about: what is wrong, an exit code, and the next step.

Raised by settings, keys, state and line; printed by the CLI. They never carry a key, nor anything read from a key file.
"""


class AgentError(Exception):
    """The agent cannot go on; `next_step` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


class SettingsError(AgentError):
    """A setting is unknown, missing or outside its limits, or a key file is unusable."""

    exit_code = 11


class StateError(AgentError):
    """The state directory cannot be used: in use by another agent, read-only, or damaged."""

    exit_code = 12

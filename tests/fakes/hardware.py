"""The simulator's hardware under the tests' name: one copy for tests and `heartwire simulate`."""

from heartwire.simulate.hardware import *  # noqa: F403

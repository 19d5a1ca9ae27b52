"""The simulator's node under the tests' name: one copy for tests and `heartwire simulate`."""

from heartwire.simulate.node import *  # noqa: F403

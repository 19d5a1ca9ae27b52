"""The simulator's node under the tests' name: one copy for tests and `heartwire simulate`."""

from heartwire.simulate.fake_node import *  # noqa: F403

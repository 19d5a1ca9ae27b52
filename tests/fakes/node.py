"""The simulator's node under the tests' name: one copy, so that tests and `heartwire simulate` cannot drift apart."""

from heartwire.simulate.node import *  # noqa: F403

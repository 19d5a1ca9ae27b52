"""The simulator's bench under the tests' name: one copy, so that tests and `heartwire simulate` cannot drift apart."""

from heartwire.simulate.bench import *  # noqa: F403

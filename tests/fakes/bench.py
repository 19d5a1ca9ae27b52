"""The simulator's bench under the tests' name: one copy for tests and `heartwire simulate`."""

from heartwire.simulate.bench import *  # noqa: F403

"""The simulator's hardware under the tests' name: one copy, so that tests and `heartwire simulate` cannot drift apart."""

from heartwire.simulate.hardware import *  # noqa: F403

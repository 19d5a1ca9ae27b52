"""The simulator's bench under the tests' name: one copy for tests and `heartwire simulate`."""

from __future__ import annotations

from heartwire.simulate.bench import *  # noqa: F403

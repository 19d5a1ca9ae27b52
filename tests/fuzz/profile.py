"""How Hypothesis drives the tests: no limit of time for an example, which would be one on the machine's load.

`shared` is loaded for every test (tests/conftest.py); PROFILE is for what is fuzzed: bounded, and without files.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

EXAMPLES = 40
SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PROFILE = settings(SHARED, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)


def share() -> None:
    """Make SHARED what every test begins with."""
    settings.register_profile("shared", SHARED)
    settings.load_profile("shared")

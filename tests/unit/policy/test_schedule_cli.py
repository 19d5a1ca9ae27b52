"""`heartwire switchover --at`: what a person may write there."""

from datetime import datetime, timedelta

import pytest

from heartwire.cli.operate import seconds_until
from heartwire.errors import UsageProblem


def test_a_span_or_a_local_time_is_taken() -> None:
    assert seconds_until("2h") == 7200
    later = (datetime.now() + timedelta(minutes=10)).isoformat(timespec="seconds")
    assert 590 <= seconds_until(later) <= 600


@pytest.mark.parametrize("when", ["soon", "2020-01-01T00:00", "30d", "0s"])
def test_anything_else_is_refused(when: str) -> None:
    with pytest.raises(UsageProblem, match="--at"):
        seconds_until(when)

"""What `make quick` runs for a change."""

from __future__ import annotations

from tools import quick

TEXTS = {
    "tests/unit/agent/test_agent_lease.py": "from heartwire.agent.lease import Lease\n",
    "tests/unit/agent/test_agent_beat.py": "from heartwire.agent import beat, lease\n",
    "tests/unit/agent/test_many.py": "from heartwire.agent import (\n    beat,\n    lease,\n)\n",
    "tests/unit/agent/test_other.py": "from heartwire.agent import leases\n# import heartwire.agent.lease\n",
    "tests/unit/policy/test_fence.py": "from heartwire.agent import lease\n",
    "tests/unit/broker/test_server.py": "import heartwire.agent.lease\n",
}


def test_a_module_runs_the_tests_that_import_it_the_nearest_first() -> None:
    found = quick.chosen(["host/heartwire/agent/lease.py"], TEXTS)
    assert found == [
        "tests/unit/agent/test_agent_lease.py",
        "tests/unit/agent/test_agent_beat.py",
        "tests/unit/agent/test_many.py",
    ]


def test_a_changed_test_runs_itself_once() -> None:
    paths = ["host/heartwire/agent/beat.py", "tests/unit/agent/test_agent_beat.py", "hw/gen/make.py"]
    assert quick.chosen(paths, TEXTS) == ["tests/unit/agent/test_agent_beat.py", "tests/unit/agent/test_many.py"]


def test_it_is_bounded() -> None:
    many = {f"tests/unit/agent/test_{number}.py": "import heartwire.agent.lease\n" for number in range(40)}
    assert len(quick.chosen(["host/heartwire/agent/lease.py"], many)) == quick.FILES_MAX

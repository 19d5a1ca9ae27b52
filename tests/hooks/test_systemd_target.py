"""The hook for systemd targets, with a stand-in for systemctl that keeps states in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hooks.bench import call, only, program


class Systemctl:
    """What systemctl says and does; `members` belong to x.target."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        program(
            directory,
            "systemctl",
            f"""cd {directory}
echo "$@" >> calls
[ -e down ] && {{ echo "Failed to connect to bus: No such file or directory" >&2; exit 1; }}
for last; do :; done
case "$*" in
*--property=Wants*) cat members ;;
*--property=LoadState*) cat "$last.load" 2>/dev/null || echo loaded ;;
*--property=ActiveState*) cat "$last.state" 2>/dev/null || echo inactive ;;
*--property=SubState*) cat "$last.sub" 2>/dev/null || echo running ;;
*--property=Type*) cat "$last.about" 2>/dev/null ;;
start*)
    for u in x.target web.service db.service; do [ -e "$u.state" ] || echo active > "$u.state"; done ;;
stop*) [ -e "$last.stuck" ] && exit 1; echo inactive > "$last.state" ;;
esac""",
        )
        self.put("members", "web.service db.service\nnetwork-online.target system.slice")

    def put(self, name: str, text: str = "") -> None:
        """Write one of its files."""
        (self.directory / name).write_text(f"{text}\n")

    def hook(self, verb: str, unit: str = "x.target") -> int:
        """Call the hook; return its exit status."""
        return call("systemd-target", verb, unit, path=self.directory).code


@pytest.fixture
def systemctl(tmp_path: Path) -> Systemctl:
    return Systemctl(tmp_path / "systemctl")


def test_a_target_starts_and_stops(systemctl: Systemctl) -> None:
    assert systemctl.hook("check") == 1
    assert systemctl.hook("start") == 0
    assert systemctl.hook("check") == 0
    assert systemctl.hook("stop") == 0
    assert systemctl.hook("check") == 1


@pytest.mark.parametrize(("state", "code"), [("deactivating", 0), ("activating", 0), ("failed", 1), ("who knows", 126)])
def test_a_service_of_the_target_is_seen(systemctl: Systemctl, state: str, code: int) -> None:
    systemctl.put("db.service.state", state)
    assert systemctl.hook("check") == code


def test_what_the_target_only_wants_from_the_system_is_left_alone(systemctl: Systemctl) -> None:
    systemctl.put("network-online.target.state", "active")
    assert systemctl.hook("check") == 1
    assert systemctl.hook("stop") == 0
    assert "stop network-online.target" not in (systemctl.directory / "calls").read_text()


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"state": "failed"}, 1),
        ({"state": "activating", "sub": "auto-restart"}, 1),
        ({"state": "activating", "sub": "start"}, 0),
        ({"state": "inactive", "about": "Type=notify\nConditionResult=no\nConditionTimestampMonotonic=0"}, 1),
        ({"state": "inactive", "about": "Type=simple\nConditionResult=yes\nConditionTimestampMonotonic=5"}, 1),
        ({"state": "inactive", "about": "Type=simple\nConditionResult=no\nConditionTimestampMonotonic=5"}, 0),
        ({"state": "inactive", "about": "Type=oneshot\nConditionResult=yes\nConditionTimestampMonotonic=5"}, 0),
    ],
)
def test_a_start_is_done_only_when_all_services_run(systemctl: Systemctl, files: dict[str, str], code: int) -> None:
    for name, text in files.items():
        systemctl.put(f"db.service.{name}", text)
    assert systemctl.hook("start") == code


def test_a_service_that_cannot_be_stopped_holds_up_no_other_and_is_no_success(systemctl: Systemctl) -> None:
    for name in ("db.service", "web.service"):
        systemctl.put(f"{name}.state", "active")
    systemctl.put("db.service.stuck")
    assert systemctl.hook("stop") == 1
    assert (systemctl.directory / "web.service.state").read_text() == "inactive\n"


@pytest.mark.parametrize("verb", ["start", "stop", "check"])
def test_without_systemd_nothing_is_known(systemctl: Systemctl, verb: str, tmp_path: Path) -> None:
    systemctl.put("down")
    assert systemctl.hook(verb) == 126
    path = only(tmp_path / "bin", "sh", "tr", "sort", "sed")
    assert call("systemd-target", verb, "x.target", PATH=str(path)).code == 126


@pytest.mark.parametrize("verb", ["start", "stop", "check"])
@pytest.mark.parametrize("load", ["not-found", "masked", "bad-setting", "error"])
def test_a_target_that_is_not_there_is_not_stopped(systemctl: Systemctl, verb: str, load: str) -> None:
    """systemctl says "inactive" of a name that nobody knows."""
    systemctl.put("y.target.load", load)
    assert systemctl.hook(verb, "y.target") == 126


def test_a_wrong_call() -> None:
    assert call("systemd-target").code == 64
    assert call("systemd-target", "dance", "x.target").code == 64

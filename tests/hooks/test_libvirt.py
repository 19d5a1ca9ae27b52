"""The hook for libvirt guests: virsh's own test driver for what it says, a stand-in with its lies for what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hooks.bench import call, only, program
from tests.hooks.conftest import need

PEER = "qemu+ssh://b/system"


class Virsh:
    """A stand-in for virsh: the guest's state lies in files, each call is written down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        program(
            directory,
            "virsh",
            f"""cd {directory}
echo "$@" >> calls
[ -e down ] && {{ echo "error: failed to connect to the hypervisor" >&2; exit 1; }}
[ -e silent ] && exit 0
[ "$LC_ALL" = C ] || {{ echo "laufend"; exit 0; }}
[ "$1" = -c ] && {{ cat peer 2>/dev/null; exit; }}
case "$1" in
domstate)
    echo "warning: something else" >&2
    [ -e gone ] && {{ echo "error: failed to get domain 'g'" >&2; exit 1; }}
    cat state; echo; [ ! -e next ] || mv next state ;;
domid) cat id ;;
domjobinfo) [ -e job ] && cat job || exit 1 ;;
list) echo other ;;
start | resume) [ -e broken ] || echo "running (booted)" > state ;;
migrate) [ ! -e broken ] && echo "shut off (migrated)" > state ;;
shutdown) [ -e deaf ] || echo "shut off (shutdown)" > state ;;
destroy) echo "shut off (destroyed)" > state ;;
esac""",
        )
        self.put("id", "4")

    def put(self, name: str, text: str = "") -> None:
        """Write one of its files."""
        (self.directory / name).write_text(f"{text}\n")

    @property
    def calls(self) -> str:
        """What was done to the guest, without the questions."""
        path = self.directory / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        done = [line for line in lines if line.split()[0] not in ("domstate", "domid", "domjobinfo", "list", "-c")]
        return "\n".join(done)

    def hook(self, verb: str, *, state: str = "", wait_s: int = 0, **environment: str) -> int:
        """Call the hook with the guest in `state`; return its exit status."""
        if state:
            self.put("state", state)
        waits = {"HEARTWIRE_SHUTDOWN_S": str(wait_s), "HEARTWIRE_ARRIVED_S": str(wait_s)}
        waits["HEARTWIRE_RUN_DIRECTORY"] = str(self.directory)
        peer = [PEER] if verb in ("drain", "start") else []
        return call("libvirt-migrate", verb, "g", *peer, path=self.directory, **{**waits, **environment}).code


@pytest.fixture
def virsh(tmp_path: Path) -> Virsh:
    return Virsh(tmp_path / "virsh")


def test_a_guest_is_migrated_away(virsh: Virsh) -> None:
    assert virsh.hook("check", state="running (booted)") == 0
    assert virsh.hook("drain") == 0
    assert virsh.calls == f"migrate --live --persistent --verbose g {PEER}"
    assert virsh.hook("check") == 1


def test_a_failed_migration_is_a_failed_drain(virsh: Virsh) -> None:
    virsh.put("broken")
    assert virsh.hook("drain", state="running (booted)") == 1
    assert virsh.hook("check") == 0


def test_a_deaf_guest_is_cut_off(virsh: Virsh) -> None:
    virsh.put("deaf")
    assert virsh.hook("stop", state="running (booted)") == 0
    assert virsh.calls == "shutdown g\ndestroy g"
    assert virsh.hook("start") == 0
    assert virsh.hook("check") == 0


@pytest.mark.parametrize("state", ["paused (migrating)", "paused (starting up)"])
@pytest.mark.parametrize("verb", ["check", "stop", "start"])
def test_a_guest_that_arrives_is_neither_running_nor_touched(virsh: Virsh, verb: str, state: str) -> None:
    virsh.put("next", "shut off (failed)" if verb == "stop" else "running (migrated)")
    assert virsh.hook(verb, state=state) == (1 if verb == "check" else 0)
    assert virsh.calls == ""


@pytest.mark.parametrize("state", ["paused", "paused (unknown)", "paused (migrating)", "paused (saving)"])
def test_a_guest_that_stays_on_its_way_is_unknown_and_not_touched(virsh: Virsh, state: str) -> None:
    for verb in ("stop", "drain", "start"):
        assert virsh.hook(verb, state=state, wait_s=1) == 126
    assert virsh.calls == ""


def test_without_a_reason_the_job_tells_that_a_guest_arrives(virsh: Virsh) -> None:
    virsh.put("job", "Job type:         Unbounded\nOperation:        Incoming migration")
    assert virsh.hook("check", state="paused (user)") == 1
    virsh.put("next", "shut off")
    assert virsh.hook("stop") == 0
    assert virsh.calls == ""


def test_a_guest_that_has_just_come_is_waited_for_and_not_stopped_at_once(virsh: Virsh) -> None:
    virsh.put("next", "shut off (destroyed)")
    assert virsh.hook("stop", state="running (migrated)", wait_s=20) == 0, "somebody else ended it meanwhile"
    assert virsh.calls == ""
    assert virsh.hook("stop", state="running (migrated)") == 0, "nobody granted this server: it may not run here"
    assert virsh.calls == "shutdown g"


def test_a_paused_guest_may_have_just_come_too(virsh: Virsh) -> None:
    virsh.put("next", "running (migrated)")
    assert virsh.hook("stop", state="paused (user)", wait_s=1) == 0
    assert virsh.calls == "shutdown g", "it was asked, not cut off"


def test_a_guest_that_was_granted_here_is_stopped_at_once(virsh: Virsh) -> None:
    assert virsh.hook("check", state="running (migrated)", HEARTWIRE_EPOCH="7") == 0
    # Nothing but a stop without any waiting ends before the limit of the call.
    assert virsh.hook("stop", wait_s=100_000) == 0
    assert virsh.calls == "shutdown g"
    virsh.put("id", "5")
    virsh.put("next", "shut off (destroyed)")
    assert virsh.hook("stop", state="running (migrated)", wait_s=20) == 0, "another one that has just come"
    assert virsh.calls == "shutdown g"


def test_a_guest_that_still_is_where_it_was_migrated_to_is_not_started_twice(virsh: Virsh) -> None:
    virsh.put("peer", "running")
    assert virsh.hook("start", state="shut off (migrated)") == 1
    assert virsh.calls == ""
    virsh.put("peer", "shut off")
    assert virsh.hook("start") == 0


@pytest.mark.parametrize(
    ("state", "done"),
    [
        ("shut off (shutdown)", "start g"),
        ("crashed (panicked)", "destroy g\nstart g"),
        ("paused (user)", "resume g"),
        ("paused (I/O error)", "resume g"),
        ("running (booted)", ""),
    ],
)
def test_a_start_begins_with_what_it_finds(virsh: Virsh, state: str, done: str) -> None:
    assert virsh.hook("start", state=state) == 0
    assert virsh.calls == done


def test_a_start_that_does_not_help_is_no_success(virsh: Virsh) -> None:
    virsh.put("broken")
    assert virsh.hook("start", state="paused (I/O error)") == 1


def test_a_guest_in_its_own_shutdown_runs_until_it_is_off(virsh: Virsh) -> None:
    assert virsh.hook("check", state="in shutdown (unknown)") == 0
    virsh.put("next", "shut off (shutdown)")
    assert virsh.hook("start") == 0
    assert virsh.calls == "start g"


@pytest.mark.parametrize("verb", ["start", "stop", "drain", "check"])
@pytest.mark.parametrize("how", ["down", "silent", "new word"])
def test_a_daemon_that_is_down_or_silent_proves_nothing(virsh: Virsh, verb: str, how: str) -> None:
    if how != "new word":
        virsh.put(how)
    assert virsh.hook(verb, state="levitating (unknown)") == 126
    assert virsh.calls == ""


@pytest.mark.parametrize("verb", ["start", "stop", "drain", "check"])
def test_without_virsh_nothing_is_known(verb: str, tmp_path: Path) -> None:
    path = only(tmp_path / "bin", "sh", "timeout", "sed", "grep", "tail", "sleep", "cat")
    assert call("libvirt-migrate", verb, "g", PEER, PATH=str(path)).code == 126


@pytest.mark.parametrize("verb", ["start", "stop", "drain", "check"])
def test_a_guest_that_nobody_defined_is_unknown_not_stopped(virsh: Virsh, verb: str) -> None:
    virsh.put("gone")
    assert virsh.hook(verb, state="x") == 126
    assert virsh.calls == ""


def test_a_wrong_call(tmp_path: Path) -> None:
    assert call("libvirt-migrate").code == 64
    assert call("libvirt-migrate", "dance", "g").code == 64
    assert call("libvirt-migrate", "drain", "g").code == 64, "no peer"


DOMAIN = """<domain type='test'><name>{name}</name><memory>8388608</memory><os><type>hvm</type></os>
<test:runstate xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>{state}</test:runstate></domain>"""
# The numbers of virDomainState.
STATES = {"up": 1, "held": 3, "off": 5, "broken": 6, "asleep": 7}


@pytest.fixture
def real(tmp_path: Path) -> str:
    need(virsh="libvirt-clients")
    domains = "".join(DOMAIN.format(name=name, state=number) for name, number in STATES.items())
    (tmp_path / "node.xml").write_text(f"<node>{domains}</node>")
    return f"test://{tmp_path}/node.xml"


@pytest.mark.parametrize("guest", [*STATES, "nobody"])
def test_what_the_real_virsh_says_is_understood(real: str, guest: str) -> None:
    code = {"up": 0, "nobody": 126}.get(guest, 1)
    assert call("libvirt-migrate", "check", guest, LIBVIRT_DEFAULT_URI=real).code == code


@pytest.mark.parametrize("guest", ["up", "held", "broken", "off", "nobody"])
def test_the_real_virsh_stops_nothing_for_long(real: str, guest: str) -> None:
    """Each call of virsh gets the test driver's guests anew, so that what was stopped is seen running again."""
    waits = {"HEARTWIRE_SHUTDOWN_S": "0", "HEARTWIRE_ARRIVED_S": "0"}
    stopped = call("libvirt-migrate", "stop", guest, LIBVIRT_DEFAULT_URI=real, **waits)
    # The test driver gives no reason for a pause, so that it could be a guest on its way.
    assert stopped.code == {"off": 0, "nobody": 126, "held": 126}.get(guest, 1), stopped.words


def test_the_real_virsh_without_a_daemon_says_nothing(tmp_path: Path) -> None:
    need(virsh="libvirt-clients")
    socket = f"qemu+unix:///system?socket={tmp_path}/none"
    for verb in ("start", "stop", "drain", "check"):
        outcome = call("libvirt-migrate", verb, "g", PEER, LIBVIRT_DEFAULT_URI=socket)
        assert outcome.code == 126
        assert "failed to connect" in outcome.words

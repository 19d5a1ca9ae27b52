"""No shipped hook says "done" or "stopped" of what it does not know: its tools missing, failing, silent or strange."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.hooks.bench import SHARE, call, only, program
from tests.postgres import PATH

# Each hook with what it is about, its verbs, and its tools.
VERBS = ("start", "stop", "check")
HOOKS = {
    "hooks/systemd-target": (["x.target"], VERBS, ["systemctl"]),
    "hooks/postgresql": (["@data"], VERBS, ["pg_ctl", "pg_controldata"]),
    "hooks/floating-ip": (["192.0.2.10/24", "eth0"], VERBS, ["ip"]),
    "hooks/libvirt-migrate": (["g", "qemu+ssh://b/system"], (*VERBS, "drain"), ["virsh"]),
    "cluster/pacemaker-hook": (["service"], (*VERBS, "drain"), ["crm_node", "crm_resource", "attrd_updater"]),
}
CASES = [(name, verb) for name, (_, verbs, _) in HOOKS.items() for verb in verbs]
# What a hook needs of the system beside its tools.
SYSTEM = [
    *("sh", "env", "python3", "timeout", "sed", "grep", "tail", "head", "tr", "sort", "sleep", "cat", "dirname"),
    *("readlink", "stat", "id", "runuser", "rm", "touch", "mv", "sync"),
]
# What every tool does, by its script.
STRANGE = {
    "missing": "",
    "fails": "exit 1",
    "wrong usage": "echo 'usage: nothing of the kind' >&2; exit 64",
    "not executable": "exit 126",
    "killed": "kill -9 $$",
    "no daemon": "echo 'Failed to connect: No such file or directory' >&2; exit 102",
    "silent": "exit 0",
    "foreign": "echo 'Zustand: wird ausgeführt'; exit 0",
    "warns only": "echo 'warning: something else' >&2; exit 0",
}


def answered() -> list[tuple[str, str, str]]:
    """Return every hook, verb and strange tool, but where the cluster's hook waits until the agent ends it."""
    # test_pacemaker_hook.py has that.
    waits = [("cluster/pacemaker-hook", verb, "foreign") for name, verb in CASES if verb != "check"]
    return [(name, verb, how) for name, verb in CASES for how in STRANGE if (name, verb, how) not in waits]


@pytest.mark.parametrize(("name", "verb", "how"), answered())
def test_a_strange_tool_proves_nothing(tmp_path: Path, name: str, verb: str, how: str) -> None:
    about, _, tools = HOOKS[name]
    folder = only(tmp_path / "bin", *SYSTEM)
    (tmp_path / "PG_VERSION").write_text("8\n")
    tmp_path.chmod(0o755)
    for tool in tools if STRANGE[how] else []:
        program(folder, tool, STRANGE[how])
    words = [str(tmp_path) if word == "@data" else word for word in about]
    limits = {"HEARTWIRE_ARRIVED_S": "0", "HEARTWIRE_SHUTDOWN_S": "0", "HEARTWIRE_RUN_DIRECTORY": str(tmp_path)}
    outcome = call(str(SHARE / name), verb, *words, PATH=str(folder), PGBIN=str(folder), **limits)
    if verb == "check":
        assert outcome.code == 126, outcome.words
    else:
        assert outcome.code != 0, outcome.words
    assert outcome.words.strip(), "it says why"


@pytest.mark.parametrize("name", HOOKS)
def test_what_a_hook_asked_ends_with_it(tmp_path: Path, name: str) -> None:
    """The agent ends a hook by its process group: nothing may go on stopping what is to run now."""
    about, _, tools = HOOKS[name]
    (tmp_path / "PG_VERSION").write_text("8\n")
    tmp_path.chmod(0o755)
    asked = tmp_path / "asked"
    for tool in tools:
        program(tmp_path, tool, f"echo $$ >{asked}.new; mv {asked}.new {asked}; exec sleep 100")
    words = [str(SHARE / name), "check", *(str(tmp_path) if word == "@data" else word for word in about)]
    variables = {"PATH": f"{tmp_path}:{PATH}", "PGBIN": str(tmp_path)}
    with subprocess.Popen(words, env=variables, start_new_session=True, stderr=subprocess.DEVNULL) as hook:
        while not asked.exists():
            os.sched_yield()
        asks = Path("/proc") / asked.read_text().strip()
        assert os.getpgid(int(asks.name)) == hook.pid
        os.killpg(hook.pid, signal.SIGKILL)

"""The hook for a floating address, between two real network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hooks.bench import HOOKS, call, only, program

ADDRESS = "192.0.2.10"


def ip(*words: str) -> int:
    return subprocess.run(["ip", *words], check=False, capture_output=True).returncode


@pytest.fixture
def servers() -> Iterator[tuple[str, str]]:
    one, two = f"hw-{os.getpid()}-a", f"hw-{os.getpid()}-b"
    if not shutil.which("ip") or os.geteuid() or ip("netns", "add", one):
        pytest.skip("needs root, iproute2 and network namespaces")
    try:
        ip("netns", "add", two)
        if ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", two):
            pytest.skip("needs virtual network devices")
        for at, name in enumerate((one, two), 1):
            ip("-n", name, "address", "add", f"192.0.2.{at}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        yield one, two
    finally:
        ip("netns", "del", one)
        ip("netns", "del", two)


def floating(server: str, verb: str) -> int:
    words = ["ip", "netns", "exec", server, str(HOOKS / "floating-ip"), verb, "192.0.2.10/24", "eth0"]
    return subprocess.run(words, check=False, capture_output=True).returncode


def addresses(server: str, device: str = "eth0") -> list[str]:
    words = ["ip", "-n", server, "-json", "-4", "address", "show", "dev", device]
    links = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return [f"{one['local']}/{one['prefixlen']}" for link in links for one in link.get("addr_info", [])]


def neighbour(server: str, address: str) -> str:
    words = ["ip", "-n", server, "neighbour", "show", address]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def mac(server: str) -> str:
    words = ["ip", "netns", "exec", server, "cat", "/sys/class/net/eth0/address"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_a_floating_address_is_never_on_two_servers(servers: tuple[str, str]) -> None:
    one, two = servers
    assert floating(one, "check") == 1
    assert floating(one, "start") == 0
    assert floating(one, "start") == 0, "idempotent"
    assert floating(one, "check") == 0
    assert floating(two, "start") == 1, "the other server still answers"
    assert floating(two, "check") == 1
    assert floating(one, "stop") == 0
    assert floating(one, "stop") == 0, "idempotent"
    # A client that still has the old server in its table is told about the new one.
    ip("-n", one, "neighbour", "replace", "192.0.2.10", "lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", "eth0")
    assert floating(two, "start") == 0
    assert mac(two) in neighbour(one, "192.0.2.10")


def test_an_address_is_given_up_whatever_its_prefix_is_and_the_others_stay(servers: tuple[str, str]) -> None:
    one, _ = servers
    ip("-n", one, "address", "flush", "dev", "eth0")
    for address in (f"{ADDRESS}/25", "192.0.2.1/25", "192.0.2.7/25"):
        ip("-n", one, "address", "add", address, "dev", "eth0")
    assert floating(one, "check") == 0
    assert floating(one, "stop") == 0
    assert floating(one, "check") == 1
    assert sorted(addresses(one)) == ["192.0.2.1/25", "192.0.2.7/25"]


def test_an_address_on_another_device_is_here_and_not_given_up(servers: tuple[str, str]) -> None:
    one, _ = servers
    ip("-n", one, "address", "add", f"{ADDRESS}/32", "dev", "lo")
    assert floating(one, "check") == 0
    assert floating(one, "start") == 1
    assert floating(one, "stop") == 1
    assert f"{ADDRESS}/32" in addresses(one, "lo")


def test_without_a_link_nobody_could_say_that_he_has_it(servers: tuple[str, str]) -> None:
    one, two = servers
    ip("-n", two, "link", "set", "eth0", "down")
    assert floating(one, "start") == 1
    assert floating(one, "check") == 1
    ip("-n", one, "link", "set", "eth0", "down")
    assert floating(one, "start") != 0
    assert floating(one, "stop") == 0


def test_what_ip_cannot_say_is_unknown(tmp_path: Path) -> None:
    words = (f"{ADDRESS}/24", "eth0")
    directory = only(tmp_path / "bin", "python3", "env")
    for verb in ("check", "stop", "start"):
        assert call("floating-ip", verb, *words, PATH=str(directory)).code == 126, "no ip"
    for answer in ("exit 1", "echo nonsense", "echo '[[1]]'", "echo '[{\"addr_info\": [{}]}]'"):
        program(directory, "ip", answer)
        for verb in ("check", "stop", "start"):
            assert call("floating-ip", verb, *words, PATH=str(directory)).code == 126, answer


def test_a_wrong_call() -> None:
    assert call("floating-ip").code == 64
    assert call("floating-ip", "dance", f"{ADDRESS}/24", "lo").code == 64
    assert call("floating-ip", "check", "2001:db8::1/64", "lo").code == 64

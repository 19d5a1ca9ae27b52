"""Benches for the tests of the agent program, and the reasons why a test cannot run here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.broker import places
from tests.cluster.bench import Bench

# What the tests need beyond Python, and the package that has it on Debian and Ubuntu.
PACKAGES = {
    "pacemakerd": "pacemaker",
    "stonith_admin": "pacemaker-cli-utils",
    "corosync": "corosync",
    "fence_dummy": "fence-agents",
    "xmllint": "libxml2-utils",
    "xsltproc": "xsltproc",
    "ip": "iproute2",
    "unshare": "util-linux",
}
Need = Callable[..., None]


def missing(*programs: str) -> list[str]:
    """Return the packages of programs that are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [PACKAGES[name] for name in programs if shutil.which(name, path=path) is None]


def namespaces_refused() -> str:
    """Return why this user may not make namespaces, or "" if it may."""
    if os.geteuid() != 0:
        return "needs root for mount, process and network namespaces"
    tried = subprocess.run(["unshare", "-m", "-n", "-p", "-f", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


@pytest.fixture(scope="session")
def need() -> Need:
    """Return a function that skips the test unless programs are installed and, if asked, namespaces can be made."""

    def check(*programs: str, namespaces: bool = False) -> None:
        absent = missing(*programs)
        if absent:
            pytest.skip(f"not installed: {', '.join(absent)}")
        refused = namespaces_refused() if namespaces else ""
        if refused:
            pytest.skip(refused)

    return check


@pytest.fixture(scope="module")
def brokers_used() -> Iterator[None]:
    """Share the board's port with a fence agent that a cluster starts, and which so has nobody who tells it not to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(places.ENVIRONMENT, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def virtual_board_possible() -> None:
    """Skip where the MicroPython VM is not installed."""
    if importlib.util.find_spec("micropython_unix") is None and importlib.util.find_spec("littlefs") is None:
        pytest.skip("not installed: heartwire[virtual]")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a bench that a module's tests use one after the other."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    try:
        bench.wait_good()
        yield bench
    finally:
        bench.close()


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    """Return the shared bench with both servers on and heard, and leave it so."""
    yield shared
    shared.restore()


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make benches of one test's own."""
    made: list[Bench] = []

    def make(**options: object) -> Bench:
        bench = Bench(tmp_path / f"bench{len(made)}", **options)  # type: ignore[arg-type]
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.close()

"""What the tests of the shipped hooks need, and the package that has it where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.hooks.bench import Cluster
from tests.postgres import PATH, data_directory, directory, start_plainly

Pair = tuple[Cluster, Cluster]


def need(**packages: str) -> None:
    """Skip the test where a program is missing: program="Debian's package"."""
    absent = sorted({package for name, package in packages.items() if not shutil.which(name, path=PATH)})
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """Return a data directory as initdb makes it: to copy, because making one takes seconds."""
    yield from data_directory()


@pytest.fixture
def plain(template: Path) -> Iterator[Pair]:
    """Return a primary and the standby that follows it, each with all its files in one directory."""
    folder = directory()
    primary, standby = (Cluster(folder, folder / f"data-{at}", 5500 + at, start_plainly) for at in (1, 2))
    try:
        primary.run("cp", "-a", str(template), str(primary.data))
        (primary.data / "postgresql.auto.conf").open("a").write(primary.settings())
        primary.start()
        standby.follow(primary)
        yield primary, standby
    finally:
        for cluster in (primary, standby):
            cluster.end()
        shutil.rmtree(folder)


@pytest.fixture
def debian(template: Path) -> Iterator[Pair]:
    """Return a primary and its standby as Debian's postgresql-common lays them out: configuration below /etc."""
    if os.geteuid():
        pytest.skip("needs root")
    need(pg_ctlcluster="postgresql-common", pg_createcluster="postgresql-common")
    folder = directory()
    version = (template / "PG_VERSION").read_text().strip()
    names = [f"hw{os.getpid()}{letter}" for letter in "ab"]
    clusters = [Cluster(folder, folder / name, 5500 + at, _start_debian) for at, name in enumerate(names, 3)]
    primary, standby = clusters
    try:
        for name, cluster in zip(names, clusters, strict=True):
            cluster.run("cp", "-a", str(template), str(cluster.data))
            _run("pg_createcluster", version, name, "-d", str(cluster.data), "-p", str(cluster.port))
            conf = Path(f"/etc/postgresql/{version}/{name}")
            (conf / "conf.d").mkdir(exist_ok=True)
            (conf / "conf.d" / "test.conf").write_text(cluster.settings())
            (conf / "pg_hba.conf").write_text("local all all trust\nlocal replication all trust\n")
        primary.start()
        standby.follow(primary)
        yield primary, standby
    finally:
        for name, cluster in zip(names, clusters, strict=True):
            cluster.end()
            subprocess.run(["pg_dropcluster", "--stop", version, name], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["plain", "debian"])
def clusters(request: pytest.FixtureRequest) -> Pair:
    """Return both layouts, one after the other."""
    found: Pair = request.getfixturevalue(request.param)
    return found


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def _start_debian(cluster: postgres.Cluster) -> None:
    assert cluster.bin
    _run("pg_ctlcluster", cluster.bin.parent.name, cluster.data.name, "start")

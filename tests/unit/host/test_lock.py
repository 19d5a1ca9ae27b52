"""The locks: each requirement of the project is in its range, everything has a hash, and no place is named."""

from __future__ import annotations

import platform
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from heartwire.extras import DEBIAN_PACKAGES
from tools import lock

LOCKS = sorted(lock.FOLDER.glob("*.txt"))
ROW = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.+!-]*) --hash=sha256:[0-9a-f]{64}")
PROJECT = tomllib.loads((lock.ROOT / "pyproject.toml").read_text())


def rows(path: Path) -> dict[str, str]:
    """Return name to version of a lock; AssertionError for any line that is neither row nor comment."""
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        row = ROW.fullmatch(line)
        assert row is not None, f"{path.name}: {line}"
        found[row[1]] = row[2]
    return found


def wanted(extra: str, seen: frozenset[str] = frozenset()) -> list[Requirement]:
    """Return what an extra of the project asks for, those that it names within it too."""
    found = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    for line in PROJECT["project"]["optional-dependencies"][extra]:
        row = Requirement(line)
        if row.name == "heartwire":
            found += [more for inner in sorted(row.extras - seen) for more in wanted(inner, seen | {extra})]
        else:
            found.append(row)
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_versions_and_hashes_and_nothing_else(path: Path) -> None:
    assert len(rows(path)) >= 2
    assert "://" not in path.read_text()


@pytest.mark.parametrize(
    "path", [path for path in LOCKS if path.name.startswith(("dev-", "flash-", "deb-"))], ids=lambda path: path.name
)
def test_a_lock_holds_what_the_project_asks_for(path: Path) -> None:
    extra, _, where = path.stem.partition("-")
    python, _, machine = re.fullmatch(r"cp(3\d+)-(\w+)-(\w+)", where).groups()  # type: ignore[union-attr]
    environment = {"python_version": f"3.{python[1:]}", "platform_machine": machine, "extra": ""}
    locked = rows(path)
    build = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    asked = [*wanted(extra), *build] if extra != "deb" else [row for one in DEBIAN_PACKAGES for row in wanted(one)]
    for row in asked:
        if row.marker is None or row.marker.evaluate(environment):
            version = locked.get(canonicalize_name(row.name))
            assert version is not None, f"{row.name} is missing: make lock"
            assert row.specifier.contains(version), f"{row} is asked for, {version} is locked: make lock"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_package_has_one_version_in_the_locks_of_a_machine_and_all_of_them_are_there(machine: str) -> None:
    found = {path.name.partition("-")[0]: rows(path) for path in LOCKS if path.stem.endswith(f"linux-{machine}")}
    assert set(found) == set(lock.WANTED)
    for part in lock.PARTS:
        other = {name: version for name, version in found[part].items() if found["dev"].get(name, version) != version}
        assert other == {}, f"{part} differs from dev: make lock"


def test_what_a_server_runs_is_the_same_in_the_lock_of_the_debian_packages() -> None:
    """debian/stage.sh takes what both locks have for the server's package, and what only the other has for building."""
    for machine in ("x86_64", "aarch64"):
        flash, deb = (rows(lock.FOLDER / f"{name}-cp311-linux-{machine}.txt") for name in ("flash", "deb"))
        both = {name for name in flash if flash[name] == deb.get(name)}
        assert {row.name for row in wanted("flash")} <= both
        assert "hatchling" in flash and "hatchling" not in deb


def test_a_file_without_a_hash_is_refused_and_the_project_itself_is_left_out() -> None:
    def item(name: str, **hashes: str) -> dict[str, object]:
        return {"metadata": {"name": name, "version": "1.0"}, "download_info": {"archive_info": {"hashes": hashes}}}

    digest = "0" * 64
    report = {"install": [item("B_b.C", sha256=digest), item("heartwire"), item("a", sha256=digest)]}
    assert lock.rows(report) == [f"a==1.0 --hash=sha256:{digest}", f"b-b-c==1.0 --hash=sha256:{digest}"]
    with pytest.raises(ValueError, match="bad comes without a hash"):
        lock.rows({"install": [item("bad")]})


def test_another_python_or_platform_has_no_lock_and_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert lock.here().endswith("riscv64")
    assert not lock.path_of("dev").exists()


def test_an_audit_that_asked_nobody_is_no_clean_one() -> None:
    """Without --strict pip-audit ends with 0 where its service knows no package at all."""
    (line,) = [row for row in (lock.ROOT / "Makefile").read_text().splitlines() if "/pip-audit" in row]
    assert " --strict " in line and " --require-hashes " in line

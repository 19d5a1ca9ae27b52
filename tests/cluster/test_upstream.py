"""What ClusterLabs checks in an agent, with ClusterLabs' own schemas and style sheets where they are installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.bench import Bench, call, program
from tests.cluster.conftest import Need

SCHEMAS = Path("/usr/share/cluster/relaxng")


@pytest.fixture
def schemas(need: Need) -> Path:
    """Return the folder of ClusterLabs' schemas and style sheets."""
    need("xmllint", "xsltproc")
    if not (SCHEMAS / "metadata.rng").exists():
        pytest.skip("not installed: fence-agents (fence-agents-common where it is split), which has metadata.rng")
    return SCHEMAS


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """Return a file with the agent's metadata."""
    path = tmp_path / "metadata.xml"
    path.write_text(call(["-o", "metadata"], "").output)
    return path


def run(*command: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a checking program."""
    words = [str(word) for word in command]
    return subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, check=False)


def test_metadata_fits_the_schema(schemas: Path, metadata: Path) -> None:
    done = run("xmllint", "--noout", "--relaxng", schemas / "metadata.rng", metadata)
    assert done.returncode == 0, done.stderr


def test_the_schema_would_notice(schemas: Path, metadata: Path) -> None:
    metadata.write_text(metadata.read_text().replace(' required="1"', ""))
    assert run("xmllint", "--noout", "--relaxng", schemas / "metadata.rng", metadata).returncode != 0


@pytest.mark.parametrize("sheet", ["fence2rng.xsl", "fence2man.xsl"])
def test_style_sheets_take_it(schemas: Path, metadata: Path, sheet: str) -> None:
    done = run("xsltproc", schemas / sheet, metadata)
    assert done.returncode == 0, done.stderr
    assert "plug" in done.stdout
    if sheet == "fence2rng.xsl":
        # As upstream's own rng-check does: the prefix of the annotations is bound by the frame around the fragment.
        fragment = done.stdout.replace(" rha:description=", " description=").replace(" rha:name=", " name=")
        assert run("xmllint", "--nsclean", "--noout", "-", text=fragment).returncode == 0


def test_delay_is_kept(bench: Bench) -> None:
    outcome = bench.by_stdin(action="off", plug="a", delay=3)
    assert (outcome.code, outcome.seconds >= 3) == (0, True)
    assert bench.by_stdin(action="on", plug="a", delay=30).seconds < 20


SEQUENCE = [("on", 0), ("status", 0), ("off", 0), ("status", 2), ("on", 0), ("status", 0), ("reboot", 0), ("status", 0)]


@pytest.mark.parametrize("way", ["stdin", "short", "long"])
def test_sequence_of_actions(bench: Bench, way: str) -> None:
    """The order in which upstream's test of an agent goes through the actions, on all three ways to say them."""
    names: dict[str, Callable[[str], list[str]]] = {
        "stdin": lambda action: [],
        "short": lambda action: ["-o", action, "-n", "b", "-p", bench.port],
        "long": lambda action: [f"--action={action}", "--plug=b", f"--port={bench.port}"],
    }
    for action, code in [*SEQUENCE, ("monitor", 0), ("list", 0)]:
        text = f"action={action}\nplug=b\nboard={bench.port}\n" if way == "stdin" else ""
        outcome = call(names[way](action), text)
        assert outcome.code == code, f"{action}: {outcome.errors}"


def test_the_program_is_where_the_wheel_puts_it() -> None:
    assert Path(program("fence_heartwire")).exists()

"""The man pages: every command and option of the parsers is in them, and what reads man pages finds nothing wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from heartwire.cli.main import cli
from heartwire.fence import options
from tools import man

# mandoc asks for a date of the document; a page that is built anew with each wheel has none of its own.
UNDATED = re.compile(r': WARNING: missing date, using "": TH$')


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return man.write(tmp_path_factory.mktemp("man"))


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            with click.Context(found, info_name=name, parent=context) as inner:
                yield from commands(found, inner)


def test_every_command_and_option_is_in_a_page(pages: list[Path]) -> None:
    text = "".join(page.read_text() for page in pages).replace("\\-", "-")
    found = list(commands(cli, man.root()))
    assert len(found) > 60
    for path, command in found[1:]:
        assert f'.SS "{path}"' in text or f".BR heartwire-{path.split()[-1]} (8)" in text, path
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(re.search(rf"^\.B .*{re.escape(name)}\b", text, re.MULTILINE) for name in parameter.opts), (
                    path,
                    parameter.opts,
                )


def test_the_fence_agent_has_all_its_parameters(pages: list[Path]) -> None:
    text = next(page for page in pages if page.name == "fence_heartwire.8").read_text().replace("\\-", "-")
    assert all(f"--{one.long}" in text and one.name in text for one in options.PARAMETERS if not one.replaced_by)


def test_each_page_is_where_man_looks(pages: list[Path]) -> None:
    assert [str(page.relative_to(page.parent.parent)) for page in pages] == [
        "man1/heartwire.1", "man8/heartwire-agent.8", "man8/heartwire-monitor.8", "man8/fence_heartwire.8",
    ]  # fmt: skip


def test_man_warns_of_nothing(pages: list[Path]) -> None:
    if not shutil.which("man"):
        pytest.skip("not installed: man-db")
    for page in pages:
        done = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert "\nEXIT STATUS\n" in done.stdout


def test_mandoc_warns_of_nothing(pages: list[Path]) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("not installed: mandoc")
    for page in pages:
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, check=False
        )
        assert [line for line in done.stdout.splitlines() if not UNDATED.search(line)] == []


def test_what_stands_in_a_help_does_not_become_a_request() -> None:
    assert man.plain(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert man.plain("a\\b -x `--y`") == "a\\eb \\-x \\fB\\-\\-y\\fR"

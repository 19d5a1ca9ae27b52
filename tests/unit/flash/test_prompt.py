"""The prompt: what mpremote is asked, what its output means, and that it never outlives its step.

A small Python program stands for mpremote, so pipes, lines and the end of the process are real.
"""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from heartwire.errors import HeartwireError, NoAnswer, Unplugged, UsageProblem
from heartwire.flash import prompt
from heartwire.flash.prompt import Prompt

PORT = "/dev/ttyACM7"
# It never ends by itself.
WAITS = "import time\nwhile True: time.sleep(60)\n"


class Mpremote:
    """What was started in its place."""

    def __init__(self) -> None:
        self.program = ""
        self.commands: list[list[str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []


@pytest.fixture
def mpremote(monkeypatch: pytest.MonkeyPatch) -> Mpremote:
    """A program instead of mpremote; tests set it."""
    started = Mpremote()
    popen = subprocess.Popen
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.commands.append(command)
        process = popen([sys.executable, "-c", started.program], **options)  # type: ignore[call-overload]
        started.processes.append(process)
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr(prompt.subprocess, "Popen", start)  # type: ignore[attr-defined]
    return started


def test_without_mpremote_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt.extras.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(UsageProblem, match="needs mpremote, which is not installed") as found:
        Prompt(PORT)
    assert "[flash]" in found.value.next_step


def test_a_script_is_run_without_a_soft_reset_and_its_last_line_is_the_answer(mpremote: Mpremote) -> None:
    mpremote.program = "print('a word before')\nprint('{\"slot\": \"fw_a\"}')"
    assert Prompt(PORT).run("print(1)") == {"slot": "fw_a"}
    assert mpremote.commands == [[sys.executable, "-m", "mpremote", "connect", PORT, "resume", "exec", "print(1)"]]


@pytest.mark.parametrize("program", ["", "print('Traceback')"])
def test_an_answer_that_is_none_is_said(mpremote: Mpremote, program: str) -> None:
    mpremote.program = program
    with pytest.raises(NoAnswer, match="makes no sense"):
        Prompt(PORT).run("x")


@pytest.mark.parametrize(
    ("act", "word"), [(Prompt.reset, "reset"), (Prompt.enter_boot_loader, "bootloader")], ids=["reset", "boot-loader"]
)
def test_restarts_are_mpremotes_own(mpremote: Mpremote, act: Callable[[Prompt], None], word: str) -> None:
    act(Prompt(PORT))
    assert mpremote.commands[0][-2:] == ["resume", word]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("mpremote: failed to access /dev/ttyACM7 (it may be in use by another program)", Unplugged),
        ("mpremote: no device found", Unplugged),
        ("could not enter raw repl", NoAnswer),
    ],
)
def test_a_failure_has_mpremotes_words_and_a_next_step(
    mpremote: Mpremote, words: str, kind: type[HeartwireError]
) -> None:
    mpremote.program = f"import sys\nprint('first')\nprint({words!r}, file=sys.stderr)\nsys.exit(1)"
    with pytest.raises(kind, match=r"ttyACM7: .*" + words[:20]) as found:
        Prompt(PORT).reset()
    assert "repeat the command" in found.value.next_step
    assert "guarding" not in found.value.next_step


def test_files_are_copied_in_one_go_and_each_is_told_while_the_next_one_is_under_way(
    mpremote: Mpremote, tmp_path: Path
) -> None:
    # The program goes on only when the line before was told; it does not flush, as mpremote does not.
    told = tmp_path / "told"
    mpremote.program = (
        "import os, time\n"
        "print('cp one :/a')\n"
        f"while not os.path.exists({str(told)!r}): time.sleep(0.01)\n"
        "print('Up to date: /b')\n"
    )
    seen: list[str] = []

    def done(target: str) -> None:
        seen.append(target)
        told.touch()

    Prompt(PORT, timeout_s=10).copy([(Path("one"), "/a"), (Path("two"), "/b"), (Path("three"), "/c")], done)
    assert seen == ["/a", "/b", "/c"]
    assert " ".join(mpremote.commands[0][6:]) == "fs cp one :/a + fs cp two :/b + fs cp three :/c"


def test_a_step_that_says_nothing_is_given_up_and_ended(mpremote: Mpremote, monkeypatch: pytest.MonkeyPatch) -> None:
    mpremote.program = WAITS
    waited: list[float] = []

    def nothing(*arguments: object) -> tuple[list[object], list[object], list[object]]:
        waited.append(arguments[3])  # type: ignore[arg-type]
        return [], [], []

    monkeypatch.setattr(select, "select", nothing)
    with pytest.raises(NoAnswer, match="within 120 s") as found:
        Prompt(PORT).run("x")
    assert "unplug the board" in found.value.next_step
    assert waited == [120]
    assert mpremote.processes[0].poll() is not None


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_mpremote_does_not_outlive_a_failure(mpremote: Mpremote, failure: type[BaseException]) -> None:
    # It would hold the port against the restart that follows.
    mpremote.program = "print('cp one :/a', flush=True)\n" + WAITS

    def fails(_target: str) -> None:
        raise failure

    with pytest.raises(failure):
        Prompt(PORT).copy([(Path("one"), "/a")], fails)
    assert mpremote.processes[0].poll() is not None

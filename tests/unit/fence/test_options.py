"""Both ways in give the same options; what is unknown is ignored, what is wrong is an error."""

import pytest

from heartwire.errors import UsageProblem
from heartwire.fence.options import PARAMETERS, Options, from_arguments, from_stdin

FULL = {
    "action": "off",
    "plug": "alpha",
    "board": "id:E66",
    "key_file": "/etc/keys=1",
    "last": "1",
    "only_confirm": "yes",
    "delay": "2",
    "login_timeout": "3s",
    "power_timeout": "4.5",
    "power_wait": "5",
    "separator": ";",
    "quiet": "on",
    "verbose": "true",
}
WANTED = Options(
    action="off",
    plug="alpha",
    board="id:E66",
    key_file="/etc/keys=1",
    last=True,
    only_confirm=True,
    delay_s=2,
    login_timeout_s=3,
    power_timeout_s=4.5,
    power_wait_s=5,
    separator=";",
    quiet=True,
    verbose=True,
)


def long_option(name: str) -> str:
    """Return the long option of a name on standard input."""
    return next(f"--{parameter.long}" for parameter in PARAMETERS if parameter.name == name)


def test_all_by_stdin() -> None:
    assert from_stdin(f"{name}={value}\n" for name, value in FULL.items()) == WANTED


def test_all_by_long_options() -> None:
    assert from_arguments([f"{long_option(name)}={value}" for name, value in FULL.items()]) == WANTED


def test_all_by_short_options() -> None:
    words = "-o off -n alpha -pid:E66 -k /etc/keys=1 -Lc -f2 --login-timeout 3s --power-timeout 4.5 --power-wait 5 -C ;"
    assert from_arguments([*words.split(), "-qv"]) == WANTED


def test_nothing_is_reboot_of_nobody() -> None:
    assert from_stdin([]) == Options()
    assert (Options().action, Options().plug) == ("reboot", "")


def test_stdin_lines() -> None:
    found = from_stdin(["# plug=b\n", "\n", "  plug=a\n", "plug=b\n", "action=ON\n"])
    assert (found.plug, found.action, found.ignored) == ("b", "on", [])


@pytest.mark.parametrize(
    ("lines", "plug"),
    [
        (["port=a", "nodename=beta"], "a"),
        (["plug=b", "port=a"], "b"),
        (["nodename=alpha"], "alpha"),
        (["plug=a", "nodename=beta"], "a"),
    ],
)
def test_which_name_is_the_node(lines: list[str], plug: str) -> None:
    found = from_stdin(lines)
    assert (found.plug, found.board) == (plug, None)


def test_old_word_for_the_action() -> None:
    assert from_stdin(["option=off"]).action == "off"


def test_the_unknown_is_ignored_and_its_value_never_repeated() -> None:
    by_stdin = from_stdin(["passwd=verysecret", "plug=a", "nonsense secret"])
    by_words = from_arguments(["--passwd=verysecret", "-n", "a", "-Zsecret", "loose secret"])
    assert by_stdin.plug == by_words.plug == "a"
    assert by_stdin.ignored == ["passwd", "(not a name)"]
    assert "secret" not in "".join(by_stdin.ignored + by_words.ignored).replace("Zsecret", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("action=explode", "action explode: must be one of"),
        ("delay=soon", "delay: must be 0 to 3600 seconds"),
        ("power_timeout=-1", "power_timeout"),
        ("power_timeout=nan", "power_timeout"),
        ("login_timeout=1e9", "login_timeout"),
        ("last=perhaps", "last: must be 1 or 0"),
    ],
)
def test_wrong_values_are_errors_on_both_ways(line: str, words: str) -> None:
    name, _, value = line.partition("=")
    with pytest.raises(UsageProblem, match=words):
        from_stdin([line])
    with pytest.raises(UsageProblem, match=words):
        from_arguments([f"{long_option(name)}={value}"])


def test_an_option_without_its_value() -> None:
    with pytest.raises(UsageProblem, match="needs a value"):
        from_arguments(["--plug"])


def test_the_limit_covers_all_waits() -> None:
    assert WANTED.longest_s >= 2 + 3 + 4.5 + 5

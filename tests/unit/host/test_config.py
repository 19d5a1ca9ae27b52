"""Config files: every kind of problem is found, with its line, path, rule and limit; templates and keys."""

from pathlib import Path

import pytest

from heartwire import config, config_template, keys
from heartwire.errors import BadConfig, NotPermitted, StorageProblem
from heartwire.settings_transfer import public_text, values_of
from heartwire_protocol import settings
from tests import golden

KEY = "ab" * 32


def problems(text: str, folder: Path | None = None) -> list[str]:
    return [str(problem) for problem in config.parse(text, folder=folder).problems]


def test_an_empty_file_is_all_defaults() -> None:
    found = config.parse("")
    assert not found.problems
    assert found.settings.text() == ""


def test_values_reach_the_settings() -> None:
    found = config.parse('[board]\nname = "rack-1"\nbench = true\n[node.a]\nfence = "power"\nsenses = 2\n')
    assert not found.problems
    assert values_of(found.settings.text()) == {"board.name": "rack-1", "board.bench": "1", "node.a.senses": "2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[board]\n\ndead = 5", "line 3: board.dead: unknown setting; did you mean dead_ms?"),
        ("[board]\ndead_ms = 5", "line 2: board.dead_ms: must be 2500 to 300000, not 5"),
        ("[board]\nbench = true\ndead_ms = 5", "line 3: board.dead_ms: must be 500 to 300000, not 5"),
        ("[board]\ndead_ms = true", "line 2: board.dead_ms: must be a whole number"),
        ("[board]\ndead_ms = 5000.5", "line 2: board.dead_ms: must be a whole number"),
        ("[board]\nbench = 1", "line 2: board.bench: must be true or false"),
        ("[board]\nname = 7", "line 2: board.name: must be text"),
        ('[board]\nname = "a\\nb"', "line 2: board.name: must be at most 24 printable ASCII characters"),
        ('[board]\nfailback = "maybe"', "line 2: board.failback: must be one of manual, auto"),
        ("[node.c]\nbaud = 9600", "line 1: node.c: unknown section"),
        ("[nodes.a]", "line 1: nodes: unknown section; did you mean node?"),
        ("board = 3", "line 1: board: must be a section: [board]"),
        ("[node]\na = 3", "line 2: node.a: must be a section: [node.a]"),
        ("[board]\ndead_ms = ", "line 2: not valid TOML: Invalid value"),
        ("[board]\na = 1\na = 2", "line 3: not valid TOML: Cannot overwrite a value"),
        ('[board]\nname = "x', "line 2: not valid TOML: "),
        ('[node.a]\nkey = "0123"', "line 2: node.a.key: a key has a file of its own: key_file"),
        ("[node.a]\nkey_file = 3", "line 2: node.a.key: must be the path of a key file"),
    ],
)
def test_each_problem_has_its_line_path_and_limit(text: str, expected: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_contradicting_timings_name_the_rule_and_the_limit() -> None:
    found = problems("[board]\ndead_ms = 4000\n")
    assert found == [
        "line 2: board.dead_ms: dead_after_late: dead_ms must be at least 5001 "
        "(late_ms + common_cause_ms must fit before dead_ms)",
        "line 2: board.dead_ms: intent_fits: dead_ms must be at least 4801 "
        "(the intent must be durable before the deadline)",
    ]


def test_a_contradiction_at_a_default_has_no_line_but_a_path() -> None:
    assert any(one.startswith("board.dead_ms: ") for one in problems("[board]\nlate_ms = 30000\n"))


def test_all_problems_are_told_at_once_in_order_of_lines() -> None:
    found = config.parse("[board]\nx = 1\n[node.a]\ny = 2\n[z]\n")
    with pytest.raises(BadConfig) as caught:
        found.require_good()
    assert [one.split(":")[0] for one in caught.value.problems] == ["line 2", "line 4", "line 5"]


def test_a_key_in_the_config_itself_is_refused_and_not_repeated() -> None:
    found = problems(f'[board]\noperate_key = "{KEY}"')
    assert len(found) == 1
    assert KEY not in found[0]


def test_key_files_are_read_relative_to_the_config(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    made = keys.write_new(tmp_path / "keys" / "host.keys", keys.HOST_RIGHTS)
    bare = keys.write_new(tmp_path / "keys" / "a.key", ("",))
    file = tmp_path / "rack.toml"
    host = "".join(f'{right}_key_file = "keys/host.keys"\n' for right in ("operate", "configure"))
    file.write_text(f'[board]\n{host}[node.a]\nkey_file = "keys/a.key"\n')
    found = config.load(file)
    assert not found.problems
    assert found.settings.get("board.operate_key") == made["operate"]
    assert found.settings.get("node.a.key") == bare[""]
    assert made["operate"] not in public_text(found.settings)
    assert settings.fingerprint(bare[""]) in public_text(found.settings)


def test_an_operate_key_alone_is_a_problem_as_it_protects_nothing(tmp_path: Path) -> None:
    keys.write_new(tmp_path / "host.keys", keys.HOST_RIGHTS)
    found = problems('[board]\noperate_key_file = "host.keys"\n', tmp_path)
    assert len(found) == 1 and "configure_key must be set too" in found[0]
    assert problems('[board]\noperate_key_file = "gone"\nconfigure_key_file = "gone"\n', tmp_path) == []


def test_the_next_key_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    now = keys.write_new(tmp_path / "host.keys", keys.HOST_RIGHTS)
    later = keys.write_new(tmp_path / "host-next.keys", keys.HOST_RIGHTS)
    bare = keys.write_new(tmp_path / "a-next.key", ("",))
    file = tmp_path / "rack.toml"
    file.write_text(
        '[board]\nconfigure_key_file = "host.keys"\nconfigure_key_next_file = "host-next.keys"\n'
        '[node.a]\nkey_next_file = "a-next.key"\n'
    )
    found = config.load(file)
    assert not found.problems
    assert found.settings.get("board.configure_key") == now["configure"]
    assert found.settings.get("board.configure_key_next") == later["configure"]
    assert found.settings.get("node.a.key_next") == bare[""]


def test_a_missing_key_file_means_keep_the_boards_key(tmp_path: Path) -> None:
    found = config.parse('[node.a]\nkey_file = "gone.key"\nmay_fence = true\n', folder=tmp_path)
    assert not found.problems
    assert found.missing_keys == {"node.a.key": "gone.key"}
    found.keep_missing_keys({"node.a.key": "key:12345678"})
    assert values_of(found.settings.text())["node.a.key"] == "key:12345678"
    assert config.differences({"node.a.key": "key:12345678", "node.a.may_fence": "1"}, found.settings) == []


def test_a_missing_key_file_and_a_board_without_key_is_a_problem(tmp_path: Path) -> None:
    found = config.parse('[node.a]\nkey_file = "gone.key"\n', folder=tmp_path)
    found.keep_missing_keys({})
    with pytest.raises(BadConfig, match="1 problem"):
        found.require_good()


def test_a_fingerprint_in_the_config_keeps_the_key() -> None:
    found = config.parse('[node.a]\nkey = "key:12345678"\n')
    assert not found.problems
    assert public_text(found.settings) == "node.a.key=key:12345678\n"


def test_a_key_file_without_that_key(tmp_path: Path) -> None:
    keys.write_new(tmp_path / "k", ("view",))
    found = problems('[board]\noperate_key_file = "k"\n', tmp_path)
    assert found == ["line 2: board.operate_key: k has no key operate (it has view)"]


def test_differences_come_in_table_order_with_defaults() -> None:
    wanted = config.parse('[board]\ndead_ms = 20000\nname = "x"\n').settings
    assert config.differences({"board.late_ms": "5000", "board.name": "x", "future.thing": "1"}, wanted) == [
        ("board.late_ms", "5000", "3000"),
        ("board.dead_ms", "10000", "20000"),
        ("future.thing", "1", ""),
    ]


def test_the_template_is_a_good_config_that_changes_nothing() -> None:
    text = config_template.template()
    assert not problems(text)
    assert config.parse(text).settings.text() == ""
    golden.check("../../host/heartwire/share/heartwire.example.toml", text)


def test_the_template_with_every_line_live_stands_at_the_defaults() -> None:
    lines = []
    for line in config_template.template().splitlines():
        if "_file" not in line and "key =" not in line:
            lines.append(line.removeprefix("#") if not line.startswith("# ") else line)
    found = config.parse("\n".join(lines))
    assert not found.problems
    assert found.settings.text() == ""


def test_every_setting_is_in_the_template() -> None:
    text = config_template.template()
    for row in (*settings.BOARD, *settings.NODE):
        assert row[5] in text


def test_running_settings_as_toml_read_back_the_same() -> None:
    values = {"board.name": 'a "quoted" name', "board.bench": "1", "node.b.key": "key:12345678", "node.b.senses": "2"}
    found = config.parse(config_template.running_toml(values))
    assert not found.problems
    assert values_of(public_text(found.settings)) == values


def test_running_settings_of_a_newer_board_are_kept_as_comments() -> None:
    text = config_template.running_toml({"board.shiny": "3"})
    assert "# board.shiny = 3" in text
    assert not problems(text)


def test_all_running_settings() -> None:
    text = config_template.running_toml({"board.name": "x"}, every=True)
    assert "dead_ms = 10000  # default" in text
    assert not problems(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe", "not UTF-8"), (b"#" * ((1 << 20) + 1), "no config file"), (None, "no such file")],
)
def test_files_that_are_no_config(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "x.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadConfig, match=words):
        config.load(file)


def test_key_files_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "k"
    keys.write_new(file, ("view",))
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(BadConfig) as caught:
        keys.read_file(file)
    assert caught.value.next_step == f"run `chmod 600 {file}`"


@pytest.mark.parametrize("line", ["operate=12", f"={KEY}", KEY + "00", "hello", f"operate={KEY}\noperate={KEY}", ""])
def test_bad_key_files_name_the_line_and_never_the_content(tmp_path: Path, line: str) -> None:
    file = tmp_path / "k"
    file.write_text(f"# comment\n{line}\n")
    file.chmod(0o600)
    with pytest.raises(BadConfig) as caught:
        keys.read_file(file)
    assert KEY not in caught.value.words


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    keys.write_new(tmp_path / "k", ("view",))
    with pytest.raises(StorageProblem):
        keys.write_new(tmp_path / "k", ("view",))


def test_find_takes_the_argument_then_the_environment_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "config/heartwire/keys"):
        keys.write_new(tmp_path / name, ("view",))
    monkeypatch.delenv(keys.ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    assert not keys.find(None)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    default = repr(keys.find(None))
    monkeypatch.setenv(keys.ENVIRONMENT, str(tmp_path / "two"))
    environment = repr(keys.find(None))
    argument = repr(keys.find(tmp_path / "one"))
    assert len({default, environment, argument}) == 3
    assert all(text.startswith("Keys(view=key:") for text in (default, environment, argument))


def test_a_node_key_file_is_no_host_key_file(tmp_path: Path) -> None:
    keys.write_new(tmp_path / "a.key", ("",))
    with pytest.raises(BadConfig, match="a bare key"):
        keys.find(tmp_path / "a.key")


def test_a_key_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    keys.write_new(tmp_path / "k", ("",))
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(NotPermitted):
        keys.read_file(tmp_path / "k")
    found = config.parse('[node.a]\nkey_file = "k"\n', folder=tmp_path)
    assert found.missing_keys == {"node.a.key": "k"}

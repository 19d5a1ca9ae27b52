"""The config file: TOML in, checked settings out, every problem named with its line, path, rule and limit.

Sections are [board], [node.a], [node.b], [node.spare]; names, limits and rules come from the contract's tables. Before
them `board_id` may name the only board that they are for. A key never stands in the file: `key_file = "PATH"` names a
file of its own, relative to the config, and "key:xxxxxxxx" (its fingerprint) means that the board keeps the one it has.
It never writes and never talks to a board. Called by the CLI and by tests.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartwire import board_id, keys
from heartwire.errors import BadConfig, HeartwireError, NotPermitted
from heartwire.settings_transfer import FINGERPRINT, public_text, values_of
from heartwire_protocol import codes, settings, settings_rules

DEFAULT_FILE = "heartwire.toml"
FILE_SUFFIX = "_file"
BOARD_ID = "board_id"
# A config is a few kilobytes; anything larger is the wrong file.
SIZE_MAX = 1 << 20
_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.\"' -]+?)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_\"'.-]+)\s*=")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_FINGERPRINT = re.compile(r"key:[0-9a-f]{8}")


@dataclass(frozen=True)
class Problem:
    """One broken rule: where it is, and in words what is wanted there."""

    path: str
    words: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.path}: {self.words}" if self.path else f"{place}{self.words}"


@dataclass
class Config:
    """A config file as settings, with all its problems. `missing_keys` are key files that are not at hand."""

    name: str
    settings: settings.Settings = field(default_factory=settings.Settings)
    problems: list[Problem] = field(default_factory=list)
    missing_keys: dict[str, str] = field(default_factory=dict)
    board_id: str = ""  # the only board that these settings are for

    def require_good(self) -> None:
        """Raise BadConfig with all problems if there is one."""
        if self.problems:
            count = len(self.problems)
            words = f"{self.name}: {count} problem{'s' if count > 1 else ''}"
            raise BadConfig(
                words,
                "mend the file and try `heartwire config check`; the board keeps its old settings",
                problems=tuple(str(problem) for problem in sorted(self.problems, key=lambda one: one.line or 0)),
            )

    def keep_missing_keys(self, running: dict[str, str]) -> None:
        """Put the board's own keys where key files are not at hand; `running` are its settings, path to value.

        A key that neither has becomes a problem.
        """
        for path, file in self.missing_keys.items():
            if path in running:
                self.settings.put(path, running[path])
            else:
                self.problems.append(Problem(path, f"the key file {file} is not at hand, and the board has no key yet"))


def load(path: Path) -> Config:
    """Read and check a config file; content problems are collected, not raised.

    Raises BadConfig if there is no such file or it is no text, NotPermitted if it may not be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
        if len(data) > SIZE_MAX:
            raise BadConfig(f"{path}: more than {SIZE_MAX} bytes: this is no config file")
        text = data.decode()
    except FileNotFoundError:
        raise BadConfig(
            f"{path}: no such file", "`heartwire config new` makes one with every setting explained"
        ) from None
    except PermissionError:
        raise NotPermitted(f"{path}: you may not read this file", "") from None
    except UnicodeDecodeError:
        raise BadConfig(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from None
    return parse(text, str(path), path.parent)


def parse(text: str, name: str = DEFAULT_FILE, folder: Path | None = None) -> Config:
    """Return the config that TOML `text` says; key files are looked for in `folder`."""
    config = Config(name)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        config.problems.append(_syntax_problem(text, str(error)))
        return config
    _Reader(config, document, _line_numbers(text), folder or Path()).read()
    return config


def differences(running: dict[str, str], wanted: settings.Settings) -> list[tuple[str, str, str]]:
    """Return (path, running value, wanted value) wherever they differ, in the order of the tables."""
    new = values_of(public_text(wanted))
    known = settings.paths()
    order = {path: place for place, path in enumerate(known)}
    result = []
    for path in sorted({*running, *new}, key=lambda entry: (order.get(entry, len(order)), entry)):
        default = _default(path)
        before, after = running.get(path, default), new.get(path, default)
        if before != after:
            result.append((path, before, after))
    return result


def _default(path: str) -> str:
    try:
        return str(settings.default_of(path))
    except KeyError:
        return ""


def _syntax_problem(text: str, words: str) -> Problem:
    place = _TOML_PLACE.search(words)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    return Problem("", f"not valid TOML: {_TOML_PLACE.sub('', words)}", line)


def _line_numbers(text: str) -> dict[str, int]:
    """Return the line of each section and setting, as far as plain TOML layout tells."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = _plain(header[1])
            for end in range(len(section.split("."))):
                found.setdefault(".".join(section.split(".")[: end + 1]), number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault(f"{section}.{_plain(assignment[1])}".lstrip("."), number)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s\"']", "", name)


class _Reader:
    """Walk one TOML document into a config."""

    def __init__(self, config: Config, document: dict[str, Any], lines: dict[str, int], folder: Path) -> None:
        self._config = config
        self._document = document
        self._lines = lines
        self._folder = folder
        self._bench = 0

    def read(self) -> None:
        self._names("", self._document, (BOARD_ID, "board", "node"))
        self._board_id(self._document.get(BOARD_ID, ""))
        board = self._section("board", self._document.get("board", {}))
        nodes = self._section("node", self._document.get("node", {}))
        self._bench = 1 if board.get("bench") in (True, 1) else 0
        self._settings("board", board, settings.BOARD)
        self._names("node", nodes, codes.NODES)
        for node in codes.NODES:
            name = f"node.{node}"
            self._settings(name, self._section(name, nodes.get(node, {})), settings.NODE)
        if not self._config.problems:
            for path, words in settings_rules.check(self._config.settings):
                self._problem(path, words)

    def _board_id(self, value: Any) -> None:
        if isinstance(value, str) and (not value or board_id.FORM.fullmatch(value)):
            self._config.board_id = value.upper()
        else:
            self._problem(BOARD_ID, "must be 16 hexadecimal digits; `heartwire boards` shows it")

    def _problem(self, path: str, words: str) -> None:
        self._config.problems.append(Problem(path, words, self._lines.get(path) or self._lines.get(path + FILE_SUFFIX)))

    def _section(self, path: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._problem(
            path, f"must be a section: [{path}]" if path != "node" else "must be sections: [node.a], [node.b]"
        )
        return {}

    def _names(self, section: str, values: dict[str, Any], known: tuple[str, ...]) -> None:
        for name in values:
            if name not in known:
                self._problem(f"{section}.{name}".lstrip("."), f"unknown section{_did_you_mean(name, known)}")

    def _settings(self, section: str, values: dict[str, Any], table: tuple[Any, ...]) -> None:
        kinds = {row[0]: row[1] for row in table}
        names = [name + FILE_SUFFIX if kind == settings.KEY else name for name, kind in kinds.items()]
        for name, value in values.items():
            path = f"{section}.{name}"
            if kinds.get(name.removesuffix(FILE_SUFFIX)) == settings.KEY:
                self._key(section, name, value)
            elif name not in kinds:
                self._problem(path, f"unknown setting{_did_you_mean(name, names)}")
            else:
                words = self._wrong_type(kinds[name], value) or settings.problem_with(path, value, self._bench)
                if words:
                    self._problem(path, words)
                else:
                    self._config.settings.put(path, int(value) if isinstance(value, bool) else value)

    def _wrong_type(self, kind: str, value: Any) -> str:
        # The table takes 0 and 1 for both; in TOML a number and a truth value are different things.
        if kind == settings.BOOL and not isinstance(value, bool):
            return "must be true or false"
        return ""

    def _key(self, section: str, name: str, value: Any) -> None:
        path = f"{section}.{name.removesuffix(FILE_SUFFIX)}"
        if name.endswith(FILE_SUFFIX):
            if not isinstance(value, str) or not value:
                self._problem(path, "must be the path of a key file")
            else:
                self._key_file(path, value)
        elif isinstance(value, str) and _FINGERPRINT.fullmatch(value):
            self._config.settings.put(path, value)
        else:
            # The value may be a key: it is not repeated here.
            self._problem(
                path,
                f'a key has a file of its own: {name}{FILE_SUFFIX} = "PATH"; or "key:xxxxxxxx" keeps the board\'s',
            )

    def _key_file(self, path: str, value: str) -> None:
        file = self._folder / Path(value).expanduser()
        name = path.split(".")[1].removesuffix(settings.NEXT).removesuffix("_key")
        try:
            if not file.exists():
                raise NotPermitted("")
            found = keys.read_file(file)
        except (NotPermitted, PermissionError):
            # Not at hand: the board's own key may stay. The placeholder lets the rules between settings see a key.
            self._config.missing_keys[path] = value
            self._config.settings.put(path, FINGERPRINT + "00000000")
            return
        except HeartwireError as error:
            self._problem(path, error.words)
            return
        if name in found or "" in found:
            self._config.settings.put(path, found.get(name) or found[""])
        else:
            self._problem(path, f"{value} has no key {name} (it has {', '.join(sorted(found))})")


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""

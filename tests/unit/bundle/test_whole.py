"""The build that makes one module of the firmware: what it renames, folds, blanks, leaves out and refuses."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from heartwire.bundle import whole
from heartwire.virtual.image import find_firmware
from heartwire_protocol import events, messages, reasons, settings

ROOT = (("start", "guard"),)


def made(**modules: str) -> dict[str, Any]:
    """Return the globals of the whole of some firmware modules, run."""
    text = whole.make({f"heartwire_firmware/{name}.py": source for name, source in modules.items()}, ROOT)
    found: dict[str, Any] = {"__text__": text}
    exec(compile(text, "whole", "exec"), found)
    return found


def test_modules_become_one_and_names_that_meet_are_kept_apart() -> None:
    found = made(
        one="def value():\n    return 1\n",
        two="from heartwire_firmware import one\n\n\ndef value():\n    return one.value() + 1\n",
        start="from heartwire_firmware import one\nfrom heartwire_firmware.two import value as second\n\n\n"
        "def guard():\n    return [one.value(), second()]\n",
    )
    assert found["guard"]() == [1, 2]


def test_a_local_name_is_never_taken_for_a_global() -> None:
    found = made(
        one="def count():\n    return 5\n",
        start="from heartwire_firmware import one\n\n\ndef guard():\n    count = 7\n    return count, one.count(),"
        " [count for count in (1, 2)], (lambda count: count)(3)\n",
    )
    assert found["guard"]() == (7, 5, [1, 2], 3)


def test_numbers_stand_where_constants_are_named() -> None:
    found = made(
        one="LIMIT = 1 << 30\nMOST = LIMIT - 1\nFIRST, SECOND = range(2)\n",
        start="from heartwire_firmware import one\n\n\ndef guard():\n    return one.MOST, one.SECOND, one.LIMIT\n",
    )
    assert found["guard"]() == ((1 << 30) - 1, 1, 1 << 30)
    assert "MOST" not in found["__text__"]
    assert "LIMIT" in found["__text__"], "what is no small int on the board must be made once, not at each use"


def test_a_constant_that_is_changed_stays_a_name() -> None:
    found = made(start="COUNT = 1\n\n\ndef guard():\n    global COUNT\n    COUNT += 1\n    return COUNT\n")
    assert (found["guard"](), found["guard"]()) == (2, 3)


def test_a_class_and_its_only_heir_become_one_and_what_is_overridden_keeps_its_caller() -> None:
    found = made(
        one="class Base:\n    kind = 1\n    def __init__(self):\n        self.said = []\n"
        "    def say(self):\n        self.said.append(self.word())\n"
        "    def word(self):\n        return 'base'\n    def more(self):\n        return 'more'\n"
        "    def gone(self):\n        return 'overridden, and nobody calls it'\n",
        two="from heartwire_firmware.one import Base\n\n\nclass Middle(Base):\n"
        "    def word(self):\n        return 'middle ' + Base.word(self)\n    def gone(self):\n        return 2\n",
        three="from heartwire_firmware.two import Middle\n\n\nclass Heir(Middle):\n    kind = 3\n"
        "    def word(self):\n        return 'heir ' + Middle.word(self)\n",
        start="from heartwire_firmware.three import Heir\n\n\ndef guard():\n    heir = Heir()\n    heir.say()\n"
        "    return heir.said, heir.more(), heir.kind, heir.gone(), len(Heir.__mro__)\n",
    )
    assert found["guard"]() == (["heir middle base"], "more", 3, 2, 2)
    assert "nobody calls it" not in found["__text__"]


def test_a_base_of_two_and_a_class_that_is_made_itself_stay() -> None:
    found = made(
        start="class Base:\n    def word(self):\n        return 'base'\n\n\nclass One(Base):\n    pass\n\n\n"
        "class Two(Base):\n    pass\n\n\nclass Made:\n    def word(self):\n        return 'made'\n\n\n"
        "class Heir(Made):\n    def word(self):\n        return 'heir'\n\n\n"
        "def guard():\n    return [kind().word() for kind in (One, Two, Made, Heir)]\n",
    )
    assert found["guard"]() == ["base", "base", "made", "heir"]


def test_what_nothing_reaches_is_left_out_and_what_getattr_reaches_is_kept() -> None:
    found = made(
        start="class Thing:\n    def used(self):\n        return 1\n\n    def unused(self):\n        return 2\n\n"
        "    def do_that(self):\n        return 3\n\n    def abstract(self):\n        raise NotImplementedError\n\n\n"
        "def lonely():\n    return 4\n\n\ndef guard():\n    return Thing().used(), getattr(Thing(), 'do_' + 'that')()\n"
    )
    assert found["guard"]() == (1, 3)
    for gone in ("unused", "lonely", "abstract"):
        assert gone not in found["__text__"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import heartwire_firmware.one\n\n\ndef guard():\n    pass\n", "instead of import"),
        ("for x in range(2):\n    pass\n\n\ndef guard():\n    pass\n", "only definitions"),
        ("from heartwire_firmware import one\n\n\ndef guard():\n    return one.missing\n", "is not there"),
        ("from heartwire_firmware import one\n\n\ndef guard():\n    return one\n", "as a value"),
        (
            "from heartwire_firmware import one\n\n\nclass A:\n    one = one.value\n\n\ndef guard():\n    return A\n",
            "gives the name of module",
        ),
        (
            "from heartwire_firmware import one\n\nvalue = 2\n\n\ndef guard(one_value):\n    return one.value\n",
            "meets a local name",
        ),
    ],
)
def test_what_it_does_not_understand_is_refused(source: str, words: str) -> None:
    with pytest.raises(whole.BundleProblem, match=words):
        made(one="value = [1]\n", start=source)


def test_the_firmware_carries_no_sentences_and_no_names_of_modules() -> None:
    sources = {name: path.read_text() for name, path in find_firmware().items() if "/" in name}
    tree = ast.parse(whole.make(sources, ROOT))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {"codes", "reasons", "events", "messages"}.isdisjoint(names)
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    sentences = {
        row[-1] for row in (*reasons.REASONS, *events.EVENTS, *settings.BOARD, *settings.NODE, *messages.MESSAGES)
    }
    assert not sentences & set(texts), "a sentence for people takes the board's memory"
    tables = {"REASONS", "EVENTS", "DROPS", "PROOFS", "FLAGS", "ORDERS"}
    assert tables.isdisjoint(names), "a table that only people read is on the board"

"""The metadata holds what clusters rely on; the rules are the agent API's, written down here once more."""

from xml.etree import ElementTree

from heartwire.fence.metadata import help_text, xml
from heartwire.fence.options import ACTIONS, PARAMETERS

KINDS = {"boolean", "string", "second", "integer"}


def document() -> ElementTree.Element:
    """Return the parsed metadata."""
    return ElementTree.fromstring(xml().encode())


def test_the_frame() -> None:
    root = document()
    assert (root.tag, root.get("name")) == ("resource-agent", "fence_heartwire")
    assert [child.tag for child in root] == ["longdesc", "vendor-url", "parameters", "actions"]
    assert root.get("shortdesc")


def test_each_parameter_is_whole() -> None:
    for parameter in document().iterfind("parameters/parameter"):
        assert {"name", "unique", "required"} <= set(parameter.keys())
        assert [child.tag for child in parameter] == ["getopt", "content", "shortdesc"]
        assert parameter[1].get("type") in KINDS
        assert parameter[2].text


def test_names_on_stdin_are_those_of_the_table() -> None:
    names = [parameter.get("name") for parameter in document().iterfind("parameters/parameter")]
    assert names == [parameter.name for parameter in PARAMETERS]
    assert len(set(names)) == len(names)


def test_the_old_name_of_plug_is_marked() -> None:
    by_name = {parameter.get("name"): parameter for parameter in document().iterfind("parameters/parameter")}
    assert by_name["port"].get("deprecated") == "1"
    assert by_name["plug"].get("obsoletes") == "port"


def test_actions() -> None:
    actions = {action.get("name"): action for action in document().iterfind("actions/action")}
    assert list(actions) == list(ACTIONS)
    assert actions["on"].get("automatic") == "0"


def test_no_option_takes_a_key() -> None:
    assert not [
        parameter.name for parameter in PARAMETERS if parameter.name.endswith("key") or "pass" in parameter.name
    ]


def test_help_names_every_option() -> None:
    text = help_text()
    assert all(f"--{parameter.long}" in text for parameter in PARAMETERS)

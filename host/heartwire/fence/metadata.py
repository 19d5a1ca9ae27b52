"""The agent's description in XML, as clusters read it to offer and check its parameters; and its help text.

Made from the table of fence.options alone. Called by fence.main for the actions metadata and help.
"""

from __future__ import annotations

from html import escape

from heartwire.fence.options import ACTIONS, BOOLEAN, PARAMETERS, Parameter

NAME = "fence_heartwire"
SHORT = "Fence agent for Heartwire boards"
LONG = (
    "fence_heartwire switches the power of the nodes that a Heartwire board guards, and reports success only once the "
    "board has proven the node off. Where Pacemaker decides, the board is in fencer mode; where the board decides, "
    "only_confirm=1 makes the cluster wait for the board's proof. The board's own rules hold in both."
)
# Power comes back only when somebody asks for it: a cluster must not unfence nodes at each of its starts.
AUTOMATIC = ' automatic="0"'
VENDOR_URL = "https://www.raspberrypi.com/products/raspberry-pi-pico/"


def xml() -> str:
    """Return the metadata document."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<resource-agent name="{NAME}" shortdesc="{escape(SHORT)}">',
        f"<longdesc>{escape(LONG)}</longdesc>",
        f"<vendor-url>{escape(VENDOR_URL)}</vendor-url>",
        "<parameters>",
    ]
    for parameter in PARAMETERS:
        lines += _parameter(parameter)
    lines += ["</parameters>", "<actions>"]
    lines += [f'\t<action name="{name}"{AUTOMATIC if name == "on" else ""} />' for name in ACTIONS]
    lines += ["</actions>", "</resource-agent>"]
    return "\n".join(lines) + "\n"


def _parameter(parameter: Parameter) -> list[str]:
    extra = ' deprecated="1"' if parameter.replaced_by else ""
    replaces = [other.name for other in PARAMETERS if other.replaced_by == parameter.name]
    if replaces:
        extra = f' obsoletes="{replaces[0]}"'
    given = parameter.default if parameter.kind != BOOLEAN else ""
    default = f' default="{escape(given)}"' if given else ""
    required = int(parameter.name == "action")
    return [
        f'\t<parameter name="{parameter.name}" unique="0" required="{required}"{extra}>',
        f'\t\t<getopt mixed="{escape(call_of(parameter))}" />',
        f'\t\t<content type="{parameter.kind}"{default} />',
        f'\t\t<shortdesc lang="en">{escape(parameter.sentence)}</shortdesc>',
        "\t</parameter>",
    ]


def call_of(parameter: Parameter) -> str:
    value = "" if parameter.kind == BOOLEAN else f"=[{parameter.name}]"
    short = f"-{parameter.short}, " if parameter.short else ""
    return f"{short}--{parameter.long}{value}"


def help_text() -> str:
    """Return what --help prints."""
    rows = [(call_of(parameter), parameter) for parameter in PARAMETERS if not parameter.replaced_by]
    width = max(len(usage) for usage, _ in rows)
    lines = [f"{NAME} - {SHORT}", "", LONG, "", "Without arguments it reads name=value lines from standard input.", ""]
    for usage, parameter in rows:
        default = f" (default {parameter.default})" if parameter.default and parameter.kind != BOOLEAN else ""
        lines.append(f"  {usage:<{width}}  {parameter.name}: {parameter.sentence}{default}")
    lines += ["", "Exit codes: 0 done, or status on; 2 status off; 1 failed or cannot say.", ""]
    return "\n".join(lines)

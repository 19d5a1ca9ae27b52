"""How to install an extra of this very installation: no package index has the project, so its name leads nowhere.

Reads what pip noted about where the distribution came from; called where a package is missing.
"""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from urllib.parse import unquote, urlparse

from heartwire.errors import UsageProblem


def install_hint(extra: str) -> str:
    """Return the command that installs `extra`, from where this heartwire was installed."""
    try:
        origin = json.loads(metadata.distribution("heartwire").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    url = urlparse(str(origin.get("url", "")))
    if url.scheme == "file":
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}'{unquote(url.path)}[{extra}]'"
    return f"pip install 'WHERE[{extra}]', WHERE being the folder or wheel that heartwire came from (no index has it)"


def missing(*packages: str) -> list[str]:
    """Return those of `packages` that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def require(what: str, extra: str, *packages: str) -> None:
    """Raise UsageProblem if one of the `packages` that `what` needs is not installed; `extra` brings them."""
    absent = missing(*packages)
    if absent:
        raise UsageProblem(f"{what} needs {', '.join(absent)}, which is not installed", install_hint(extra))

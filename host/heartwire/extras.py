"""How to install what is missing in this very installation: no package index has the project; its name leads nowhere.

Reads what pip, pipx, uv or dpkg noted about the installation; called where a package is missing.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from heartwire.errors import UsageProblem

# What the INSTALLER file of a distribution says where the Debian package brought it; debian/rules writes it.
DPKG = "dpkg"
# What pipx and `uv tool` leave in the environment that they made.
PIPX_MARK = "pipx_metadata.json"
UV_MARK = "uv-receipt.toml"
# The extras that a Debian package holds.
DEBIAN_PACKAGES = {
    "fleet": "heartwire-monitor",
    "flash": "heartwire",
    "monitor": "heartwire-monitor",
    "mqtt": "heartwire-monitor",
    "postgresql": "heartwire-monitor",
    "web": "heartwire-monitor",
}
# For whoever does not know where it came from.
UNKNOWN = "WHERE"
WHERE = f"{UNKNOWN} being the folder or wheel that heartwire came from (no index has it)"
# What a Debian package does not hold goes into an environment apart from it.
APART = "python3 -m venv ~/heartwire && ~/heartwire/bin/pip install"


def install_hint(extra: str) -> str:
    """Return the command that installs `extra`, by what installed this heartwire and from where."""
    if _note("INSTALLER") == DPKG:
        package = DEBIAN_PACKAGES.get(extra)
        if package:
            return f"install the Debian package {package} that was built with this one"
        return f"no Debian package holds it; {APART} '{UNKNOWN}[{extra}]', {WHERE}"
    editable, place = _origin()
    command = f"{_installer()} {editable}'{place or UNKNOWN}[{extra}]'"
    return command if place else f"{command}, {WHERE}"


def package_hint(package: str) -> str:
    """Return the command that installs somebody else's package for this heartwire's monitor."""
    if _note("INSTALLER") == DPKG:
        return f"no Debian package of heartwire holds it; {APART} '{UNKNOWN}[monitor]' '{package}', {WHERE}"
    return f"pipx inject heartwire '{package}'" if _made_by(PIPX_MARK) else f"{_pip()} '{package}'"


def missing(*packages: str) -> list[str]:
    """Return those of `packages` that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def require(what: str, extra: str, *packages: str) -> None:
    """Raise UsageProblem if one of the `packages` that `what` needs is not installed; `extra` brings them."""
    absent = missing(*packages)
    if absent:
        raise UsageProblem(f"{what} needs {', '.join(absent)}, which is not installed", install_hint(extra))


def _note(name: str) -> str:
    """Return what the installer wrote into a file of this distribution; "" if nothing."""
    try:
        return (metadata.distribution("heartwire").read_text(name) or "").strip()
    except metadata.PackageNotFoundError:
        return ""


def _origin() -> tuple[str, str]:
    """Return pip's option and the path of the folder or wheel that this heartwire came from; two "" if unknown."""
    try:
        origin = json.loads(_note("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    url = urlparse(str(origin.get("url", "")))
    if url.scheme != "file":
        return "", ""
    return "-e " if origin.get("dir_info", {}).get("editable") else "", unquote(url.path)


def _made_by(mark: str) -> bool:
    return Path(sys.prefix, mark).exists()


def _installer() -> str:
    """Return the command that installs into the environment that this runs in, without what."""
    if _made_by(PIPX_MARK):
        # Without its Python pipx would lay another one over it.
        return f"pipx install --force --python {Path(sys.executable).resolve()}"
    return "uv tool install --force" if _made_by(UV_MARK) else _pip()


def _pip() -> str:
    # This Python's own: `pip` alone may be another environment's.
    return f"{sys.executable} -m pip install"

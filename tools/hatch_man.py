"""The hook by which a wheel carries the man pages: written when it is built, put below share/man where it is installed.

Called by hatchling, as pyproject.toml says. An editable installation has none.
"""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPages(BuildHookInterface[Any]):
    """Add the man pages to the data of a wheel."""

    _folder = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages, and name them."""
        if version == "editable":
            return
        self._folder = tempfile.mkdtemp(prefix="heartwire-man-")
        write = runpy.run_path(str(Path(self.root) / "tools" / "man.py"))["write"]
        # Where a wheel has what is for the prefix itself; `shared_data` is younger than Debian 13's hatchling.
        data = f"{self.build_config.builder.project_id}.data/data"
        for page in write(Path(self._folder)):
            build_data["force_include"][str(page)] = f"{data}/share/man/{page.parent.name}/{page.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was written."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

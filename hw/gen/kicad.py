"""Runs KiCad 9 on the generated schematic: rule check, netlist, PDF and pictures. Needs kicad-cli and pdftoppm.

Everything happens in a folder of its own, with a HOME of its own, so that neither the caller's settings nor the
machine's paths reach an output. Called by make.py, and by the tests when the tools are there.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import netlist
from sheet import Project

FIXED_DATE = b"/CreationDate (D:20000101000000)"
DOTS_PER_INCH = 110
PAGE_NAME = "sheet-{number}-{name}.png"


class KicadError(RuntimeError):
    """A tool failed or the rule check found something; the text is the tool's own."""


def missing() -> list[str]:
    """Return the tools that are not installed; KiCad counts only from version 9."""
    found = [tool for tool in ("kicad-cli", "pdftoppm") if not shutil.which(tool)]
    if "kicad-cli" not in found:
        version = subprocess.run(["kicad-cli", "version"], capture_output=True, text=True, check=False).stdout.strip()
        if int(version.split(".")[0] or 0) < 9:
            found.append(f"kicad-cli 9 (this is {version})")
    return found


def _run(folder: Path, *command: str) -> None:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KicadError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def check_rules(project: Project, folder: Path) -> str:
    """Write the schematic into the folder and run the electrical rule check; return the report.

    Raise KicadError with the report when there is one error or warning.
    """
    project.save(folder)
    report = folder / "erc.rpt"
    root = f"{project.name}.kicad_sch"
    try:
        _run(folder, "kicad-cli", "sch", "erc", "--severity-all", "--exit-code-violations", "-o", report.name, root)
    except KicadError as error:
        text = report.read_text(encoding="utf-8") if report.exists() else ""
        raise KicadError(f"{error}\n{text}") from error
    return re.sub(r"ERC report \([^)]*\)", "ERC report", report.read_text(encoding="utf-8"))


def netlist_json(project: Project, folder: Path) -> str:
    """Return the netlist of a schematic that check_rules() wrote into the folder."""
    _run(folder, "kicad-cli", "sch", "export", "netlist", "-o", "netlist.net", f"{project.name}.kicad_sch")
    return netlist.convert((folder / "netlist.net").read_text(encoding="utf-8"))


def drawings(project: Project, folder: Path) -> dict[str, bytes]:
    """Return the PDF and one PNG per sheet, by file name; the PDF carries no date."""
    _run(folder, "kicad-cli", "sch", "export", "pdf", "-o", "schematic.pdf", f"{project.name}.kicad_sch")
    pdf = re.sub(rb"/CreationDate \(D:\d{14}\)", FIXED_DATE, (folder / "schematic.pdf").read_bytes())
    _run(folder, "pdftoppm", "-r", str(DOTS_PER_INCH), "-png", "schematic.pdf", "page")
    pages = sorted(folder.glob("page-*.png"))
    files = {"schematic.pdf": pdf}
    for sheet, page in zip(project.sheets, pages, strict=True):
        files[PAGE_NAME.format(number=sheet.page, name=sheet.name)] = page.read_bytes()
    return files

"""Golden timelines: the whole timeline of each scenario on the policy tier, kept in golden/ and compared line by line.

So that what the author of a scenario did not think of is seen too. `make golden` renews all and prints what changed;
the change is part of the review. Times are the scenario's; incarnations, challenges and keys are the fake nodes', which
are the same in every run.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from heartwire.simulate import language, tiers
from heartwire.simulate.run import Verdict

HERE = Path(__file__).parent
FOLDER = HERE / "golden"
JOBS = 2
# Lines of a difference that are printed; a flood is seen by its beginning.
SHOWN = 60


def text_of(verdict: Verdict) -> str:
    """Return the timeline of `verdict` as it is kept."""
    return "".join(f"{str(one).rstrip()}\n" for one in verdict.timeline)


def path_of(name: str) -> Path:
    """Return where the timeline of the scenario `name` is kept."""
    return FOLDER / f"{name}.txt"


def difference(name: str, text: str) -> str:
    """Return how `text` differs from what is kept, and what to do; "" if it does not."""
    path = path_of(name)
    if not path.exists():
        return f"{name} has no golden timeline: `make golden` writes it"
    lines = _diff(name, path.read_text(encoding="utf-8"), text)
    if not lines:
        return ""
    return "\n".join([*lines, f"the timeline of {name} has changed; if each line of that is right: `make golden`"])


def _diff(name: str, before: str, now: str) -> list[str]:
    found = list(difflib.unified_diff(before.splitlines(), now.splitlines(), f"golden/{name}", "now", n=2, lineterm=""))
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"... and {len(found) - SHOWN} more lines"]


def orphans() -> list[str]:
    """Return the timelines that are kept without a scenario."""
    return sorted(path.stem for path in FOLDER.glob("*.txt") if not (HERE / path.name).exists())


def _run(path: Path) -> tuple[str, str, str]:
    """Return (name, timeline, why it does not hold); the timeline is "" where there is none."""
    try:
        verdict = tiers.judge("policy", language.read(path))
    except Exception as error:  # one file that cannot run must not keep the others from being renewed
        return path.stem, "", f"could not run: {type(error).__name__}: {error}"
    if not verdict.timeline:
        return path.stem, "", "\n".join(verdict.failures)
    return path.stem, text_of(verdict), verdict.failures[0].splitlines()[0] if verdict.failures else ""


def main(names: Sequence[str]) -> int:
    """Renew the timelines of `names`, or all, and print what changed; return 1 if a file does not hold."""
    FOLDER.mkdir(exist_ok=True)
    paths = [HERE / f"{Path(name).stem}.txt" for name in names] or sorted(HERE.glob("*.txt"))
    renewed, bad = 0, []
    if not names:
        for name in orphans():
            path_of(name).unlink()
            print(f"gone   {name}")
    with ProcessPoolExecutor(JOBS) as pool:
        for name, text, why in pool.map(_run, paths):
            if why:
                bad.append(f"{name} does not hold: {why}")
            path = path_of(name)
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            if not text or text == before:
                continue
            path.write_text(text, encoding="utf-8")
            renewed += 1
            if not before:
                print(f"new    {name}")
                continue
            print(f"changed {name}")
            print("\n".join(f"  {line}" for line in _diff(name, before, text)[2:]))
    print("\n".join([f"{len(paths)} timelines, {renewed} of them renewed", *bad]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

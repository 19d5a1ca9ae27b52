"""Feed every socket and both ends of the host link with chance, for as many bytes as asked; print bytes and findings.

The targets are those of tests/fuzz, which `make test` gives a few hundred inputs; this is for long runs (`make fuzz`).
A finding prints target, seed and number of the input, and the input itself, and the target is built anew. Exit 1 if
there was one. One process; `--seed` repeats a run, `--target` chooses.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

# A target's turn, in bytes; and how long an input may be, in pieces.
TURN = 100_000
PIECES_MAX = 40
SHOWN = 200


@dataclass
class Count:
    """What a target was given."""

    given: int = 0
    inputs: int = 0
    findings: int = 0
    slowest_s: float = 0.0


def made(chance: random.Random, tokens: tuple[bytes, ...]) -> bytes:
    """Return one input: tokens and noise."""
    pieces = [
        chance.choice(tokens) if chance.random() < 0.7 else chance.randbytes(chance.randrange(65))
        for _ in range(chance.randrange(PIECES_MAX))
    ]
    return b"".join(pieces)


def turn(kind: type[Target], chance: random.Random, count: Count, size: int) -> None:
    """Build a target and give it `size` bytes."""
    given = 0
    while given < size:
        with tempfile.TemporaryDirectory(prefix="hw-fuzz-") as folder:
            data = b""
            try:
                with kind(Path(folder)) as target:
                    while given < size:
                        data = made(chance, kind.tokens)
                        began_s = time.monotonic()
                        taken = target.feed(data)
                        count.slowest_s = max(count.slowest_s, time.monotonic() - began_s)
                        count.inputs += 1
                        count.given += taken
                        given += max(1, taken)
                    target.finish()
            except Exception as error:
                count.findings += 1
                given += 1
                words = f"{type(error).__name__}: {error}"
                print(f"FINDING {kind.__name__} input {count.inputs}: {words[:SHOWN]}\n  {data[:2000]!r}", flush=True)


def run(total: int, seed: int, kinds: list[type[Target]]) -> dict[str, Count]:
    """Take turns until `total` bytes were given; print how it goes."""
    counts = {kind.__name__: Count() for kind in kinds}
    chances = {kind.__name__: random.Random(f"{seed} {kind.__name__}") for kind in kinds}
    given = 0
    said_s = time.monotonic()
    while given < total:
        for kind in kinds:
            turn(kind, chances[kind.__name__], counts[kind.__name__], min(TURN, max(1, total // len(kinds))))
        given = sum(count.given for count in counts.values())
        if time.monotonic() - said_s > 60:
            said_s = time.monotonic()
            print(f"  {given:,} of {total:,} bytes", file=sys.stderr, flush=True)
    return counts


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=float, default=1e6, help="how many in total (default 1e6; 1e8 takes long)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=[kind.__name__ for kind in TARGETS])
    chosen = parser.parse_args()
    kinds = [kind for kind in TARGETS if not chosen.target or kind.__name__ in chosen.target]
    print(f"{'target':<14} {'inputs':>10} {'bytes':>13} {'findings':>9} {'slowest':>9}   (seed {chosen.seed})")
    counts = run(int(chosen.bytes), chosen.seed, kinds)
    for name, count in counts.items():
        row = f"{name:<14} {count.inputs:>10,} {count.given:>13,} {count.findings:>9} {count.slowest_s * 1000:>6.0f} ms"
        print(row)
    total = Count(*(sum(getattr(count, name) for count in counts.values()) for name in ("given", "inputs", "findings")))
    print(f"{'all':<14} {total.inputs:>10,} {total.given:>13,} {total.findings:>9}")
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run a broker on a socket that listens already: `python -m heartwire.broker --descriptor 3 --socket PATH`."""

from __future__ import annotations

import sys

from heartwire.broker.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

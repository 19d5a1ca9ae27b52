"""`python -m heartwire`: the same as the command `heartwire`."""

import sys

from heartwire.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

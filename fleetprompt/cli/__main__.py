"""`python -m fleetprompt.cli`."""

import sys

from fleetprompt.cli import main

if __name__ == "__main__":
    sys.exit(main())

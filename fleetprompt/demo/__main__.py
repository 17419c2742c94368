"""`python -m fleetprompt.demo [DIRECTORY]`: a world until it is interrupted; prints its inputs as one line of JSON."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from fleetprompt.demo.world import start


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with start(directory) as world:
            sys.stdout.write(json.dumps({**world.inputs(), "pid": world.pid}) + "\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()

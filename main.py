"""The one entry point; nothing happens at import, since hosts import this file."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Find the host and run it; without one, the command line."""
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.append(here)
    if len(sys.argv) == 1 and os.environ.get("_TFL_JOB_ID"):
        # Loading takes seconds. A Stop before the run begins is no failure: nothing is lost.
        signal.signal(signal.SIGTERM, _end_before_the_run)
    from plugin.cli import start

    code = start(sys.argv[1:])
    if code is not None:  # else the host's own code, which called this function, goes on
        sys.exit(code)


def _end_before_the_run(*_: object) -> None:
    print("stopped before the run began", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

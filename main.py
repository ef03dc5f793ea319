"""Start Finetune Verdict; hosts import this file, so the import itself does nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Run as a job of a host if one started us, else run the command line."""
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.append(here)
    if len(sys.argv) == 1 and os.environ.get("_TFL_JOB_ID"):
        # Loading takes seconds. A Stop before the run begins is no failure: nothing is lost.
        signal.signal(signal.SIGTERM, _end_before_the_run)
    try:
        from plugin.cli import start

        code = start(sys.argv[1:])
    except KeyboardInterrupt:  # while libraries load; a run has ways of its own to stop
        sys.exit(130)
    if code is not None:  # else the host's own code, which called this function, goes on
        sys.exit(code)


def _end_before_the_run(*_: object) -> None:
    print("stopped before the run began", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

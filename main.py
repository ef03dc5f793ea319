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
        # Loading takes seconds; a Stop before the run begins is no failure, and nothing is lost.
        signal.signal(signal.SIGTERM, _end_before_the_run)
        from plugin.cli import run_lab_job

        sys.exit(run_lab_job())
    if "--plugin_dir" in sys.argv:  # the classic host's harness calls this function
        from plugin.cli import run_classic_job

        run_classic_job(sys.argv[1:])
        return
    from plugin.cli import main as command_line

    sys.exit(command_line(sys.argv[1:]))


def _end_before_the_run(*_: object) -> None:
    print("stopped before the run began", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

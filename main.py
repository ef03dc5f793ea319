"""The one entry point; nothing happens at import, since hosts import this file."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Find the host and run it; without one, the command line."""
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.append(here)
    if len(sys.argv) == 1 and os.environ.get("_TFL_JOB_ID"):
        from plugin.cli import run_lab_job

        sys.exit(run_lab_job())
    if "--plugin_dir" in sys.argv:  # the classic host's harness calls this function
        from plugin.cli import run_classic_job

        run_classic_job(sys.argv[1:])
        return
    from plugin.cli import main as command_line

    sys.exit(command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""Start Finetune Verdict; hosts import this file, so the import itself does nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run as a job of a host if one started us, else run the command line."""
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.append(here)
    if len(sys.argv) == 1 and os.environ.get("_TFL_JOB_ID"):
        from plugin.cli import run_lab_job

        sys.exit(run_lab_job())
    if "--plugin_dir" in sys.argv:  # called by the classic host's harness
        from plugin.cli import run_classic_job

        run_classic_job(sys.argv[1:])
        return
    from plugin.cli import main as command_line

    sys.exit(command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()

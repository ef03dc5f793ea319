"""The one entry point; nothing happens at import, since hosts import this file."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Find the host and run it; without one, the command line."""
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.append(here)
    from plugin.cli import start

    code = start(sys.argv[1:])
    if code is not None:  # else the host's own code, which called this function, goes on
        sys.exit(code)


if __name__ == "__main__":
    main()

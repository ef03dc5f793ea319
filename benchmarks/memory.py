"""Compare the peak memory of scoring 10,000 and 200 completions. Aim: at most 100 MB more.

This reads /proc, so it runs only on Linux.
"""

from __future__ import annotations

import subprocess
import sys

AIM_MB = 100

# VmHWM counts only this process; ru_maxrss starts with the parent's peak.
_CHILD = """
import re, sys
from benchmarks.scoring import ours_ms
ours_ms(int(sys.argv[1]))
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)
"""


def peak_mb(n: int) -> float:
    """Return the peak resident memory of a new process that scores n completions."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(n)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    few, many = peak_mb(200), peak_mb(10_000)
    print(
        f"peak RSS {few:.0f} MB at 200 completions, {many:.0f} MB at 10,000: "
        f"{many - few:.0f} MB more (aim <= {AIM_MB})"
    )


if __name__ == "__main__":
    main()

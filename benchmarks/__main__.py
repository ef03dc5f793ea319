"""Run the named benchmarks, or all of them: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "startup",
    *("generation", "generation_torch", "certificate", "one_load", "scoring", "judge", "cached"),
    *("preference", "memory", "growth", "stats", "early_stop", "ray_workers", "page", "overlap"),
    *("gate", "sandbox"),
    "sweep",
    "variance",
)

for name in sys.argv[1:] or NAMES:
    print(f"== {name}", flush=True)
    importlib.import_module(f"benchmarks.{name}").main()

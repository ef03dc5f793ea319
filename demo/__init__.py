"""The embedded demo: a tiny chat model, its LoRA adapter and the cases that compare them."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
"""Where model, adapter and cases lie."""

"""The built-in demo: a tiny chat model, its LoRA adapter and the cases that compare them."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
"""The folder with model, adapter and cases."""

"""Finetune Verdict: is the fine-tuned model really better than the base model?"""

__version__ = "0.1.0"

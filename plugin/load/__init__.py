"""Everything that is read from disk or from a hub.

cases       a data set -> cases, checked and drawn
columns     which column is what; cells -> the parts of a case
readers     data files -> rows: csv, json, jsonl, parquet
recordings  completions made elsewhere, joined with the cases
model       a model's folder: what must be in it, and its digests
adapter     an adapter's folder: its kind, settings, shapes and digest
convert     MLX LoRA <-> PEFT LoRA
tensors     safetensors files as raw tensors
fit         an adapter's tensors and record compared with the base model
"""

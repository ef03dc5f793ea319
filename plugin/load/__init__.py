"""Read everything that comes from disk or from a hub.

cases       turns a data set into checked cases, and draws a sample
columns     finds out what each column holds; layouts knows the files of other tools
cells       turns the cells of a row into the parts of a case
readers     reads rows from csv, json, jsonl and parquet files
repeats     finds cases that repeat another one; retention marks groups that must not get worse
recordings  matches completions that were made elsewhere to the cases
model       checks a model's folder and computes its digests
adapter     reads an adapter's folder: format, settings, shapes and digest
convert     converts MLX LoRA <-> PEFT LoRA
tensors     reads and writes safetensors files as raw tensors
fit         compares an adapter's tensors and record with the base model
"""

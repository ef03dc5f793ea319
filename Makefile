PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints/default.txt
DIST ?= dist
CODE := main.py plugin demo tools tests benchmarks

.PHONY: demo test test-all test-torch check forms format bench plugin clean

demo: $(VENV)/.default
	$(PY) main.py demo

test: $(VENV)/.dev
	$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal

# With Ray, kills at every point and long simulations. A file stays in one process: Ray's needs that.
test-all: $(VENV)/.dev
	$(PY) -m pytest -m "" -n auto --maxprocesses 4 --dist loadfile

# The engine and the judge on torch, in an environment of their own.
test-torch: $(VENV)-torch/.torch
	$(VENV)-torch/bin/python -m pytest -m "" tests/engines/test_transformers.py tests/engines/test_transformers_adapters.py tests/engines/test_torch_slots.py tests/engines/test_torch_graphs.py tests/engines/test_peft_merge.py tests/engines/test_cuda.py tests/engines/test_own_chat.py tests/load/test_adapter.py tests/load/test_convert.py tests/judges/test_in_process.py tests/e2e/test_in_process_judge.py tests/e2e/test_transformers_engine.py tests/e2e/test_both_kinds.py tests/e2e/test_bad_adapters.py tests/e2e/test_bad_models.py tests/metrics/test_bertscore.py tests/capability/test_harness_peer.py tests/certify/test_effect.py tests/certify/test_sweep.py tests/e2e/test_strength.py

check: $(VENV)/.dev
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy
	$(PY) -m tools.forms --check

forms: $(VENV)/.default
	$(PY) -m tools.forms

format: $(VENV)/.dev
	$(PY) -m ruff check --fix $(CODE)
	$(PY) -m ruff format $(CODE)

bench: $(VENV)/.dev
	$(PY) -m benchmarks

SHIPPED := main.py setup.sh LICENSE requirements.txt requirements-anthropic.txt requirements-ray.txt requirements-torch.txt requirements-vllm.txt requirements-4bit.txt requirements-formats.txt requirements-bertscore.txt requirements-lm-eval.txt requirements-tensorboard.txt requirements-cases.txt constraints plugin

# The folders that hosts install, named after the plugin's uniqueId. The current host keeps a file
# index.json of its own in a task's folder, and ours would replace it: its folder has none.
plugin: $(VENV)/.default
	$(PY) -m tools.forms --check
	rm -rf $(DIST)/lab/finetune_verdict $(DIST)/classic/finetune_verdict
	mkdir -p $(DIST)/lab/finetune_verdict $(DIST)/classic/finetune_verdict
	cp -R $(SHIPPED) task.yaml $(DIST)/lab/finetune_verdict
	cp docs/transformer_lab.md $(DIST)/lab/finetune_verdict/README.md
	cp -R $(SHIPPED) index.json info.md $(DIST)/classic/finetune_verdict
	find $(DIST)/lab $(DIST)/classic -name __pycache__ -prune -exec rm -rf {} +
	@echo "built $(DIST)/lab/finetune_verdict and $(DIST)/classic/finetune_verdict"

$(VENV)/.default: requirements.txt constraints/default.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.default requirements-dev.txt requirements-anthropic.txt requirements-cases.txt requirements-formats.txt requirements-lm-eval.txt requirements-ray.txt
	$(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@

$(VENV)-torch/.torch: requirements.txt requirements-torch.txt constraints/torch.txt
	$(PYTHON) -m venv $(VENV)-torch
	$(VENV)-torch/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/torch.txt -r requirements.txt -r requirements-torch.txt -r requirements-lm-eval.txt pytest
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-torch dist

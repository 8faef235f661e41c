# Everything runs from these targets; nothing needs to be installed by hand before them but Python 3.11 or 3.12.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

define CHECK_VERSION
import sys
if not (3, 11) <= sys.version_info < (3, 13):
    sys.exit("SynthBank needs Python 3.11 or 3.12, and $(PYTHON) is %d.%d. Name another: make $(or $(MAKECMDGOALS),env) PYTHON=python3.12"
             % sys.version_info[:2])
endef
export CHECK_VERSION

.PHONY: env demo test lint bench clean

env: $(VENV)/.ready

# torch comes first and pinned, so that no other package pulls another build of it
$(VENV)/.ready: pyproject.toml zoo/pyproject.toml constraints.txt
	@$(PYTHON) -c "$$CHECK_VERSION"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --editable ./zoo
	@touch $@

demo: env
	$(BIN)/synthbank demo --bank demo-bank

test: env
	bash scripts/services.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: env
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/copies.py
	$(BIN)/python benchmarks/catalogue.py
	$(BIN)/python benchmarks/service.py

clean:
	rm -rf $(VENV) demo-bank

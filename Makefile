# Everything runs from these targets; nothing needs to be installed by hand before them but one Python, 3.11 to 3.14.
NEWEST := 14
VENV := .venv
BIN := $(VENV)/bin
# PYTHON names another; without it: python3 where that is of a version that serves, else the first of these that is
CANDIDATES := python3 python3.11 python3.12 python3.13 python3.14
GOOD := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $(NEWEST)))
ifndef PYTHON
PYTHON := $(or $(shell for p in $(CANDIDATES); do $$p -c '$(GOOD)' 2>/dev/null && echo $$p && break; done),python3)
endif

define CHECK_VERSION
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, $(NEWEST)):
    sys.exit("SynthBank needs Python 3.11 to 3.$(NEWEST), and $(PYTHON) is %d.%d. Name another: make $(or $(MAKECMDGOALS),env) PYTHON=python3.12"
             % sys.version_info[:2])
endef
export CHECK_VERSION

.PHONY: env demo test lint pins pythons constraints bench clean

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

# all pins have wheels for the newest Pythons
pins: env
	BIN=$(BIN) bash scripts/constraints.sh --check

# the tests that need no torch, under every other Python of this machine
pythons: env
	BIN=$(BIN) bash scripts/other_pythons.sh

# the newest version of everything but torch
constraints: env
	BIN=$(BIN) bash scripts/constraints.sh

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

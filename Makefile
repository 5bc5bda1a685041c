# lamina: `make demo` and `make test` do all the set-up. PYTHON=python3.12 chooses another Python, PIP_ARGS goes to pip:
# PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for a torch without GPU packages (much smaller).
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs wheel clean

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

help:  ## This list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/make \1\t\2/p' Makefile | expand -t 14

demo: $(VENV)/.installed  ## Set up, fit the bundled handwritten digits, say where the report is
	$(BIN)/lamina demo digits

test: $(VENV)/.installed-dev  ## Set up, run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## Style, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-bench  ## Compare the training loop with its peers (minutes)
	$(BIN)/python benchmarks/training_loop.py

docs: $(VENV)/.installed-dev  ## Write docs/settings.md and docs/canon.md anew, then run every example in docs/
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python -m pytest tests/docs

wheel: $(VENV)/.installed-dev  ## Build the wheel, install it in an empty environment, run it there
	bash scripts/check_wheel.sh

clean:  ## Remove the environment and what was built; runs/ stays
	rm -rf $(VENV) dist build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "lamina needs Python 3.11 or later: make PYTHON=python3.12 ..." >&2; exit 5; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev,bench]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-dev

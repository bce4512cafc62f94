# `make demo` and `make test` do all the set-up on a fresh machine: they make .venv and install the project into it.
# PYTHON chooses the interpreter that makes it: `make test PYTHON=python3.12`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.installing
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-all lint format counts ci clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## make .venv and install the project, editable, with all that tests and linters need

# A .venv without a working pip, and one whose installation was interrupted, are made anew.
$(STAMP): pyproject.toml constraints.txt
	@if [ -e $(UNFINISHED) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
			echo "hardnet-deploy needs Python 3.10 or newer, but PYTHON=$(PYTHON) is" \
				"$$($(PYTHON) --version 2>&1 || true)." >&2; \
			echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }; \
		rm -rf $(VENV); \
		echo "making $(VENV) with $$($(PYTHON) --version)" >&2; \
		$(PYTHON) -m venv $(VENV) || { \
			echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu install python3-venv." >&2; \
			rm -rf $(VENV); exit 1; }; \
	fi
	@touch $(UNFINISHED)
	@echo "installing into $(VENV) what constraints.txt names (some minutes the first time)" >&2
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation --editable '.[test,lint,photos]'
	@rm -f $(UNFINISHED)
	@touch $@

demo: $(STAMP) ## the trained demo detector exported and quantised, every file held against PyTorch, into demo-out/
	$(BIN)/hardnet-deploy demo -o demo-out

test: $(STAMP) ## the fast tests
	$(BIN)/python -m pytest

test-slow: $(STAMP) ## the slow tests alone
	$(BIN)/python -m pytest -m slow

test-all: $(STAMP) ## fast and slow tests
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP) ## ruff, ruff format, mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP) ## put the code into ruff's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

counts: $(STAMP) ## record how many tests there are, after adding or removing some
	$(BIN)/python tests/repo/count_tests.py record

ci: ## all that must hold before a change is done
	.ci/run

clean: ## remove what these commands made
	rm -rf $(VENV) demo-out build dist .pytest_cache .mypy_cache .ruff_cache

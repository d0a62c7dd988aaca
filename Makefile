# The few commands of Joulegate; README and .ci/run call these.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check bench cluster cluster-down pins clean

# Makes the environments: any CPython from 3.11 on with venv and ensurepip.
PYTHON ?= python3
BIN := .venv/bin

help:            ## print the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo; echo "  PYTHON=python3.12 chooses the interpreter that makes the environments"

setup:           ## make .venv and .venv-kfp from the pins; does nothing when they are up to date
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "setup: $(PYTHON) is not Python 3.11 or newer with venv and ensurepip; choose one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) requirements/install.py

demo: setup      ## run the main job end to end, without GPU and without a cluster
	@$(BIN)/python docs/demo/run.py

test: setup      ## run every lane of tests that this machine can run
	@$(BIN)/python tests/lanes.py

test-fast: setup ## run the quick lane
	@$(BIN)/python tests/lanes.py --fast

check: setup     ## format, lint, types, import contracts, migrations against models, package
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && database="sqlite:///$$folder/check.db" && \
		$(BIN)/python -m joulegate_migrations upgrade "$$database" && \
		$(BIN)/python -m joulegate_migrations check "$$database"
	@$(BIN)/python -m pytest -q tests/architecture

bench: setup     ## measure against peers; writes bench/results and prints ratios
	@$(BIN)/python -m bench $(LANES)

cluster: setup   ## start a real control plane for tests and print its kubeconfig
	@$(BIN)/python -m tests.cluster up

cluster-down: setup ## stop what `make cluster` started
	@$(BIN)/python -m tests.cluster down

pins: setup      ## resolve the pins again; UPGRADE=--upgrade takes the newest that fit
	@$(PYTHON) requirements/install.py --resolve $(UPGRADE)
	@$(PYTHON) requirements/install.py

clean:           ## remove the environments and what tools left behind
	rm -rf .venv .venv-kfp .venv-bench build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

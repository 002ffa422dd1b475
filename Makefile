# What one does with this repository; `make` lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin

# Set, each Ray worker would compile torch and ray anew: tens of seconds a start.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help
help: ## List what there is to make
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.installed ## Create .venv with exactly what requirements.lock names

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("aiplat needs Python 3.11 or newer: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	@if uv --version >/dev/null 2>&1; then \
	    uv=uv; uv venv --quiet --allow-existing --python $(PYTHON) .venv; \
	else \
	    uv=$(BIN)/uv; $(PYTHON) -m venv .venv; $(BIN)/python -m pip install --quiet uv; \
	fi; \
	$$uv pip install --python $(BIN)/python --require-hashes -r requirements.lock; \
	$$uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: lock
lock: ## Resolve requirements.lock anew from pyproject.toml
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --upgrade -o requirements.lock

.PHONY: demo
demo: setup ## From pictures and questions to an answering endpoint, on this machine
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash jobs/demo.sh

.PHONY: check
check: setup ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py

.PHONY: test
test: test-fast test-cluster ## All tests

.PHONY: test-fast
test-fast: setup ## The tests that need no cluster
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not cluster" -n logical --maxprocesses 4 --dist loadfile

.PHONY: test-cluster
test-cluster: setup ## The tests that start a Ray cluster on this machine
	$(BIN)/pytest tests/cluster -m cluster

.PHONY: bench
bench: setup ## Every benchmark with what it needs, or BENCH="names of some"; takes hours
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/all.sh

.PHONY: drill
drill: setup ## Kill parts of a training run twenty times; needs the dataset easy_vqa, takes minutes
	$(BIN)/python -m aiplat.jobs.drill +exp=clip loop.max_epochs=3

.PHONY: docs
docs: setup ## Write docs/reference from the docstrings and the configuration
	$(BIN)/python docs/write_reference.py

.PHONY: clean
clean: ## Remove caches and builds; .venv and storage stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# Everything here needs python3 (3.11 or later) and the package index, and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Without bytecode every start of hitless compiles itself anew, and the tests start it hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("python3 3.11 or later is needed, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(READY)  ## Make the environment, from the lock file

demo: $(READY)  ## Show the main job: three rollouts, two bad versions, a killed controller and a killed Envoy under load, about a minute
	$(BIN)/python examples/demo.py

demo-migrate: $(READY)  ## Show a change of the schema under load: a name becomes two columns, about a minute
	$(BIN)/hitless demo --migrate

test: $(READY)  ## Run all checks and all tests
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -m "not alone" --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 20
	$(BIN)/python -m pytest -m alone --durations 5

check: $(READY)  ## Lint, format, types, floors and rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## Measure: failed requests of a million, flips, overhead beside HAProxy, the judge
	$(BIN)/python -m benchmarks

bench-long: $(READY)  ## Measure how often the judge is wrong and how soon it is right, twenty minutes, and write the report
	$(BIN)/python -m benchmarks.judge --report docs/reference/judge.md

soak: $(READY)  ## Roll out and kill controllers at random for five minutes under load, and print the ledger
	$(BIN)/python -m soak

soak-migrations: $(READY)  ## Carry changes of the schema out and back under load, kill a hundred workers and servers, and print the ledger
	$(BIN)/python -m soak.migrations

docs: $(READY)  ## Write the generated reference anew
	$(BIN)/python -m docs.generate

lock: $(READY)  ## Resolve dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --group dev -o requirements.lock pyproject.toml

clean:  ## Remove what was made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help setup demo demo-migrate test check bench bench-long soak soak-migrations docs lock clean

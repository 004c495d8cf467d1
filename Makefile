# Two commands set everything up on a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check audit unit broker chaos bench clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 10

$(VENV)/.runtime: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (about a minute, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(VENV)/.dev  ## create the environment, with the tools for development

demo: $(VENV)/.runtime  ## set up, then watch posts and images being labelled (no Docker, no Java, no network)
	@$(BIN)/feedsight demo

test: $(VENV)/.dev  ## set up, then run every check and test
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest

check: $(VENV)/.dev  ## formatting, lint (with bandit's rules), types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(VENV)/.dev  ## known weaknesses of the pinned packages (skipped, with a word, without a network)
	@$(BIN)/python .ci/audit.py

unit: $(VENV)/.dev  ## the tests that need no broker
	@$(BIN)/python -m pytest tests/unit tests/contract

broker: $(VENV)/.dev  ## the tests on the embedded broker and on a real Kafka
	@$(BIN)/python -m pytest tests/broker

chaos: $(VENV)/.dev  ## 100 faults over a million posts on a real Kafka, up to 45 minutes; CHAOS="--seed 8" is another
	@$(BIN)/python -m tests.chaos.run --seed 7 --posts 1000000 --faults 100 --minutes 45 $(CHAOS)

bench: $(VENV)/.dev  ## the engine against raw aiokafka and a Faust agent
	@$(BIN)/feedsight bench engine

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Everything runs in .venv, which is made on first use. `make help` lists the targets.
PYTHON_BIN := .venv/bin/python
# A test waits for the disk and for its server more than it computes.
TEST_PROCESSES ?= 3
export PYTHON UPGRADE

.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-slow check fix bench bench-growth requirements clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: .venv/ready ## make .venv with everything pinned in requirements/

.venv/ready: requirements/dev.txt pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh

demo: .venv/ready ## buy credits, pay for calls with them, and see the books balance; offline
	@.venv/bin/tallystick demo

run: .venv/ready ## the same world, left running with its addresses and keys printed
	@.venv/bin/tallystick demo --stay

test: .venv/ready ## all tests but the slow ones
	$(PYTHON_BIN) -m pytest -n $(TEST_PROCESSES) $(ARGS)

test-slow: .venv/ready ## the tests that take minutes
	$(PYTHON_BIN) -m pytest -m slow $(ARGS)

check: .venv/ready ## style, types, the order of packages, and what else can be read off the files
	$(PYTHON_BIN) -m ruff check
	$(PYTHON_BIN) -m ruff format --check
	$(PYTHON_BIN) -m mypy
	.venv/bin/lint-imports
	$(PYTHON_BIN) -m pytest -q tests/tidy

fix: .venv/ready ## what ruff can put right by itself
	$(PYTHON_BIN) -m ruff check --fix
	$(PYTHON_BIN) -m ruff format

bench: .venv/ready ## the figures of docs/benchmarks.md on this machine
	$(PYTHON_BIN) -m bench $(ARGS)

bench-growth: .venv/ready ## what 20 million transfers do to those figures; takes long
	$(PYTHON_BIN) -m bench growth $(ARGS)

requirements: .venv/ready ## pin the packages of pyproject.toml anew; UPGRADE=1 takes the newest
	@sh scripts/requirements.sh

clean: ## remove .venv and everything else that is made here
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis tests/.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

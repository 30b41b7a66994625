# `make demo` and `make test` set everything up themselves; `make help` lists the rest.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
BUILD := build
SLURM := $(BIN)/python tests/slurm/cluster --dir $(BUILD)/slurm
DEMO_DIR ?= $(BUILD)/demo
SITE ?=
NIGHTS ?=
PART ?=
BENCH_QUANTA ?=
# Tests wait a third of their time: for a scheduler, a lease, a server.
TEST_WORKERS ?= 3

# The first Python >= 3.12 on the PATH or under ~/.pyenv/versions (the LSST wheels need 3.12).
PYTHON ?= $(shell \
	for candidate in python3 python3.12 python3.13 python3.14 \
	    $$(ls -d $$HOME/.pyenv/versions/3.1[2-9]*/bin/python3 2>/dev/null); do \
	  path=$$(command -v $$candidate 2>/dev/null) || continue; \
	  $$path -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	    && { echo $$path; break; }; \
	done)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slurm slurm-up slurm-down lint docs bench soak dist dist-test clean lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/.installed: pyproject.toml requirements.lock
	@if [ -z "$(PYTHON)" ]; then \
	  echo "No Python 3.12 or 3.13 found (PATH, ~/.pyenv/versions)." >&2; \
	  echo "Install one, e.g. 'apt-get install python3.12 python3.12-venv' or 'pyenv install 3.12'," >&2; \
	  echo "or name one: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 1; \
	fi
	@echo "Setting up $(VENV) with $(PYTHON) ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(BIN)/.installed  ## make a miniature survey and reduce it, with injected faults (DEMO_DIR=build/demo, SITE=slurm, NIGHTS=3)
	@if [ "$(SITE)" = slurm ] && ! timeout 20 sinfo >/dev/null 2>&1; then \
	  $(SLURM) up && . "$(abspath $(BUILD))/slurm/env.sh" || exit 1; \
	fi; \
	DEMO_DIR="$(DEMO_DIR)" $(BIN)/merian-campaign demo $(if $(SITE),--site $(SITE)) $(if $(NIGHTS),--nights $(NIGHTS))

test: lint  ## lint, then all tests that CI runs, on a Slurm cluster of their own too
	@mkdir -p $(BUILD)
	$(BIN)/python -m pytest -m "not soak" -n $(TEST_WORKERS)

test-slurm: $(BIN)/.installed  ## the tests on a Slurm cluster alone
	$(BIN)/python -m pytest -m "slurm and not soak" tests/slurm

slurm-up: $(BIN)/.installed  ## start a Slurm cluster on this machine, to play with (installs Slurm when root)
	@$(SLURM) up

slurm-down: $(BIN)/.installed  ## end it; nothing stays behind
	@$(SLURM) down

docs: $(BIN)/.installed  ## the documentation as web pages, in build/docs
	@mkdir -p $(BUILD)
	$(BIN)/sphinx-build -q -W --keep-going -n -d $(BUILD)/docs-pages docs $(BUILD)/docs
	@echo "$(BUILD)/docs/index.html"

lint: $(BIN)/.installed docs  ## ruff, mypy --strict, import-linter contracts, the documentation without a warning
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/lint/names.py

bench: $(BIN)/.installed  ## ratios measured side by side; writes build/bench.json (PART=store, BENCH_QUANTA=1000000)
	@mkdir -p $(BUILD)
	PART="$(PART)" $(if $(BENCH_QUANTA),BENCH_QUANTA="$(BENCH_QUANTA)") $(BIN)/python tests/bench

soak: $(BIN)/.installed  ## long tests: kills at random moments, campaigns compared
	$(BIN)/python -m pytest -m soak

dist: $(BIN)/.installed  ## build sdist and wheel into build/dist
	@rm -rf $(BUILD)/dist && mkdir -p $(BUILD)/dist
	@$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("$(BUILD)/dist")' >/dev/null
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir $(BUILD)/dist $(BUILD)/dist/*.tar.gz
	@ls $(BUILD)/dist/*

dist-test: $(BIN)/.installed  ## wheel and sdist, installed from the index on each Python there is; the demo from there
	$(BIN)/python -m pytest -m "soak or not soak" tests/product

lock: $(BIN)/.installed  ## write requirements.lock from what is installed
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check | grep -v '^merian-campaign' > requirements.lock

clean:  ## remove everything generated, the environment included
	@if [ -e $(BUILD)/slurm/settings.json ]; then $(SLURM) down; fi
	rm -rf $(BUILD) $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

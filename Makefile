# Each target is enough alone on a fresh clone: it makes the virtual environment and installs what
# it needs, once. Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench peers clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/.installed  ## install, then train a spiking network with OPZO on embedded data
	$(BIN)/neuro train opzo

test: $(VENV)/.installed-test  ## install what tests need, then run all but the slow ones
	$(BIN)/python -m pytest -m "not slow and not peers"

test-slow: $(VENV)/.installed-test  ## the slow tests alone
	$(BIN)/python -m pytest -m "slow and not peers"

check: $(VENV)/.installed-dev  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed  ## measure again what benchmarks/results holds
	$(BIN)/python -m benchmarks

peers: $(VENV)/.installed-test  ## install the frameworks that benchmarks compare with
	$(INSTALL) --no-deps spikingjelly norse nir nirtorch loguru tqdm

clean:  ## remove builds and caches; the virtual environment and runs/ stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find neuro kernels hardware benchmarks tests examples -name __pycache__ -prune -exec rm -rf {} +

# --- the environment ----------------------------------------------------------------------------

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The build tools come first, pinned too, so that building needs no environment of its own.
$(VENV)/.build-tools: $(VENV)/.made constraints.txt
	$(INSTALL) setuptools wheel
	@touch $@

$(VENV)/.installed: $(VENV)/.build-tools pyproject.toml
	$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.build-tools pyproject.toml
	$(INSTALL) --no-build-isolation -e ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.build-tools pyproject.toml
	$(INSTALL) --no-build-isolation -e ".[dev]"
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

# Each target is enough alone on a fresh clone: it makes the virtual environment and installs what
# it needs, once. Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check lava nir-readers chromium bench bench-peers clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.installed  ## install, then train a spiking network with OPZO on embedded data
	$(BIN)/neuro train opzo

test: $(VENV)/.installed-test  ## install what tests need, then run all but the slow ones
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed-test  ## the slow tests alone
	$(BIN)/python -m pytest -m "slow"

check: $(VENV)/.installed-dev  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lava: $(VENV)-lava/.lava  ## install Intel's Lava, in an environment of its own

# Hours; a run that is finished stays, a stopped one continues: make bench DATA_DIR=... JOBS=2
bench: $(VENV)/.installed  ## measure again what benchmarks/results holds
	$(BIN)/python -m benchmarks $(if $(DATA_DIR),--data-dir $(DATA_DIR)) --jobs $(or $(JOBS),1)

bench-peers: $(VENV)-peers/.peers  ## time training and layers beside other frameworks
	$(VENV)-peers/bin/python -m benchmarks.speed --peers
	$(VENV)-peers/bin/python -m benchmarks.layers --peers --scaling
	$(VENV)-peers/bin/python -m benchmarks.kept --peers
	$(VENV)-peers/bin/python -m benchmarks.energy_agreement

nir-readers: $(VENV)-readers/.readers  ## install the frameworks that NIR files are tried in

# Of the system's packages, so it takes root; nothing of neuro needs it but the test of the page.
chromium:  ## install Chromium, in which energy reports are tried
	@command -v chromium || { \
	  [ "$$(id -u)" = 0 ] || { echo "Chromium takes root: apt-get install chromium" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium && command -v chromium; }

clean:  ## remove builds and caches; virtual environments and runs/ stay
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
	@echo "Installing into $(VENV); a few minutes the first time"
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

# Without their dependencies: they declare torchvision and torchaudio, which fail at import beside a
# CPU build of torch, and a chip's toolkit; none is needed for what is compared. What they do import
# is named here.
PEERS := spikingjelly snntorch norse sinabs loguru nir nirtorch pbr tqdm
COUNTERS := neurobench

$(VENV)-peers/.peers: constraints.txt pyproject.toml Makefile
	$(MAKE) VENV=$(VENV)-peers $(VENV)-peers/.installed
	$(VENV)-peers/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt \
	  --no-deps $(PEERS) $(COUNTERS)
	@touch $@

# The same packages alone, in an environment that takes everything else from $(VENV).
$(VENV)-readers/.readers: $(VENV)/.installed-test constraints.txt Makefile
	$(BIN)/python -m venv --clear --without-pip $(VENV)-readers
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$( \
	  $(VENV)-readers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  )/beneath.pth
	$(BIN)/python -m pip --python $(VENV)-readers/bin/python install -qq \
	  --disable-pip-version-check -c constraints.txt --no-deps $(PEERS)
	@touch $@

# Without its dependencies: it declares Python 3.10 and numpy 1, but runs on what is named here
# (hardware/lava/shim.py). lava-dl reads .net files.
LAVA := lava-nc==0.10.0 lava-dl==0.6.0
LAVA_PIP := $(VENV)-lava/bin/python -m pip install -qq --disable-pip-version-check

$(VENV)-lava/.lava: constraints.txt Makefile
	$(MAKE) VENV=$(VENV)-lava $(VENV)-lava/.made
	$(LAVA_PIP) -c constraints.txt asteval h5py networkx numpy scipy
	$(LAVA_PIP) --no-deps --ignore-requires-python $(LAVA)
	@touch $@

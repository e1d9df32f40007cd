# make run    set up if need be, build the kernel, run the frame suite on all engines
# make test   set up if need be, then tox over everything
# make setup  the set-up alone; leaves .venv/bin/conformance
# make bench  cases a second for each backend, and the harness's own share
# make clean  remove what was built

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNEL := $(shell find kernel -type f -not -path '*/tests/*' -not -name '*.md' -not -name '*.pyc')

.DELETE_ON_ERROR:
.PHONY: run test setup bench clean

run: setup
	$(BIN)/conformance run --suite frames --cases 200 --json conformance-results/result.json

test: setup
	$(BIN)/tox

bench: setup
	$(BIN)/conformance bench

setup: $(VENV)/.packages $(VENV)/.installed

# System packages: installed where that is possible, asked for where it is not. A missing emulator
# stops nothing: its backend is skipped, with the reason.
$(VENV)/.packages: tools/install_packages.sh
	sh tools/install_packages.sh
	mkdir -p $(VENV)
	touch $@

# The tools to build with, so that building the kernel needs no network and no build isolation.
$(VENV)/.tools: pyproject.toml | $(VENV)/.packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    "scikit-build-core>=0.11,<2" "cmake>=3.25" "ninja>=1.11" "ziglang==0.17.0"
	touch $@

$(VENV)/.installed: $(VENV)/.tools $(KERNEL)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet \
	    --disable-pip-version-check --no-build-isolation --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .tox build dist conformance-results

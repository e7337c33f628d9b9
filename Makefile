# `make run` sets up a fresh machine and runs the example; `make test` runs every check.
# Needs git, make and Python 3.11 or newer. Uses uv if it is installed.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The exact versions to install, with hashes. `make LOCK= test` installs the newest in their ranges.
LOCK   ?= lock/dev.txt
# A change to these files reinstalls the environment.
PINS   := pyproject.toml $(LOCK)
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url

INSTALL := $(if $(LOCK),--require-hashes --requirement $(LOCK),-e .[dev])

.DEFAULT_GOAL := help
.PHONY: help run test check pictures lab bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP)  ## set up, then train, judge, promote and roll out a model on generated data
	$(BIN)/mlops-kit run fraud-training

test: $(STAMP)  ## run every check: format, lint, types, layers, notebooks, tests
	$(BIN)/python -m tests.check

check: $(STAMP)  ## run the quick checks: format, lint, types, layers, unit and contract tests
	$(BIN)/python -m tests.check --quick

pictures: $(STAMP)  ## save pictures of notebooks and pages, light and dark
	$(BIN)/python -m pytest -q tests/browser --pictures

lab: $(STAMP)  ## open JupyterLab on the tour
	$(BIN)/jupyter lab notebooks/tour.ipynb

bench: $(STAMP)  ## benchmark the pipeline against other runners
	$(BIN)/python -m tests.benchmarks.pipelines

# Keeps the locked versions where the ranges allow; UPGRADE=--upgrade takes the newest.
lock: $(STAMP)  ## update the lock after a change to pyproject.toml
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	$(BIN)/$(UV_COMPILE) $(UPGRADE) --extra dev pyproject.toml --output-file lock/dev.txt
	cp lock/dev.txt lock/base.txt
	$(BIN)/$(UV_COMPILE) pyproject.toml --output-file lock/base.txt
	printf 'hatchling\n' | $(BIN)/$(UV_COMPILE) --constraint lock/dev.txt - --output-file lock/build.txt

clean:  ## remove the environment and all build and run output
	rm -rf $(VENV) .mlops-kit dist build

# Compile bytecode once, or every kernel compiles the libraries again.
$(STAMP): $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11. Choose another: make PYTHON=python3.12 run"; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV) && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python $(INSTALL) && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --compile $(INSTALL) && \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; \
	fi
	@$(BIN)/python -m compileall -q mlops_kit
	@touch $(STAMP)

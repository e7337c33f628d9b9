# `make run` sets up a fresh machine and runs the main job; `make test` runs every check.
# It needs git, make and Python 3.11 or newer; uv is used where it is there.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Git's revision of the pins, so that a changed dependency installs anew.
PINS   := pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run test check lab bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP)  ## set up, then train, judge, promote and roll out on generated data
	$(BIN)/mlops-kit run fraud-training

test: $(STAMP)  ## run every check: format, lint, types, layers, notebooks, tests
	$(BIN)/python -m tests.check

lab: $(STAMP)  ## open JupyterLab on the tour
	$(BIN)/jupyter lab notebooks/tour.ipynb

bench: $(STAMP)  ## measure the pipeline against its peers, and print the table
	$(BIN)/python -m tests.benchmarks.pipelines

clean:  ## remove the environment and everything that was made here
	rm -rf $(VENV) .mlops-kit dist build

# Bytecode is compiled once here: without it every kernel compiles the libraries anew.
$(STAMP): $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name another one: make PYTHON=python3.12 run"; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV) && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --compile -e '.[dev]'; \
	fi
	@$(BIN)/python -m compileall -q mlops_kit
	@touch $(STAMP)

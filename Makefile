# `make verify` and `make test` work on a fresh clone: both set up .venv first, which takes minutes once and seconds after.
#
#   PYTHON=python3.12   the interpreter that .venv is made from, 3.11 or newer (default python3)
#   TORCH_INDEX=URL     the wheel index torch comes from, for example PyTorch's CPU-only one (default: pip's own)
#   ARGS="..."          further arguments for hopspec verify, or for pytest

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=

BIN := .venv/bin
READY := .venv/ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
THIRD_PIP := .venv-third/bin/python -m pip --disable-pip-version-check
EDITABLE := --editable . --no-deps --no-index --no-build-isolation --config-settings editable_mode=strict
# torch and what it needs besides itself; the rest of its requirements come from the index that torch comes from.
TORCH := $(shell grep '^torch==' constraints.txt)
TORCH_NEEDS := filelock fsspec jinja2 networkx setuptools sympy typing-extensions

.PHONY: help install verify test lint types kill alarm gpu mutants third-party clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 13

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "hopspec needs Python 3.11 or newer; $(PYTHON) is: $$($(PYTHON) --version 2>&1 | tail -n 1)" >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt setuptools
	$(if $(TORCH_INDEX),$(PIP) install --constraint constraints.txt $(TORCH_NEEDS))
	$(if $(TORCH_INDEX),$(PIP) install --index-url '$(TORCH_INDEX)' '$(TORCH)')
	$(PIP) install --constraint constraints.txt --no-build-isolation --config-settings editable_mode=strict --editable '.[dev]'
	@touch $@

# A strict editable install links the files there are, so every target repeats it: a new file needs a new link.
install: $(READY)  ## set up .venv and install hopspec into it
	@$(PIP) install --quiet $(EDITABLE)

verify: install  ## verify the fast path and PyTorch's attention against the exact reference
	$(BIN)/hopspec verify fastpath torch-sdpa --data digits --json hopspec-report.json $(ARGS)

# One thread per process: two test processes with a thread pool each would fight over the cores.
test: install  ## run the whole test suite and report branch coverage
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

lint: install  ## check style, formatting and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install  ## type-check the package and the tests
	$(BIN)/mypy --strict -p hopspec
	$(BIN)/mypy --strict tests

kill: install  ## kill every planted fault, 20 seeds, and write the kill matrix; goes on where it was interrupted
	$(BIN)/hopspec kill $(if $(ARGS),$(ARGS),--page docs/kill-matrix.md)

alarm: install  ## judge right implementations over a million cases; goes on where it was interrupted
	$(BIN)/hopspec alarm $(ARGS)

# Results are kept in hopspec-gpu, so that the same command goes on where it was interrupted.
gpu: install  ## do everything there is to do on a GPU and write docs/gpu-report.md; without one, say so
	$(BIN)/hopspec gpu $(if $(ARGS),$(ARGS),--page docs/gpu-report.md)

mutants: install  ## change the reference and the properties in small ways the tests must notice, in build/mutants
	$(PIP) install --quiet --constraint constraints.txt 'cosmic-ray>=8.7'
	$(BIN)/python tests/mutants/run.py $(ARGS)

# An environment of its own: what third parties bring along must not change what the tests run on.
third-party:  ## verify implementations nobody here wrote, in .venv-third, and write docs/third-party.md
	test -d .venv-third || $(PYTHON) -m venv .venv-third
	$(THIRD_PIP) install --constraint constraints.txt setuptools
	$(if $(TORCH_INDEX),$(THIRD_PIP) install --constraint constraints.txt $(TORCH_NEEDS))
	$(if $(TORCH_INDEX),$(THIRD_PIP) install --index-url '$(TORCH_INDEX)' '$(TORCH)')
	$(THIRD_PIP) install --constraint constraints.txt --no-build-isolation \
	  --config-settings editable_mode=strict --editable '.[third-party]'
	.venv-third/bin/python -m hopspec.properties.adapters --data docs/third-party.json --page docs/third-party.md $(ARGS)

clean:  ## remove .venv and everything generated
	rm -rf .venv .venv-third build dist hopspec.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf hopspec-gpu
	rm -f .coverage .coverage.* hopspec-report.json hopspec-kills.jsonl hopspec-alarms.jsonl
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

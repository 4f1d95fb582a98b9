# Needs Python 3.11 or newer and make; everything else is installed into .venv and .venv-tf4.
# pip is used as you have set it up: PIP_INDEX_URL, pip.conf and the like are honoured.
#
#   make PYTHON=python3.12 demo     choose the interpreter
#   make PIP_FLAGS=--no-index test  more flags for pip
#   make PYTEST_FLAGS=-x test       more flags for pytest
#   make PART=2/4 campaign          one of four parts; what has passed is not run again

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types pytest fmt docs docs-check check campaign bench clean

VENV := .venv
VENV_TF4 := .venv-tf4
BIN := $(VENV)/bin
JOBS ?= 2
PIP_FLAGS ?=
PART ?= 1/1
PYTEST_FLAGS ?=

# The first interpreter that runs and is new enough (a name on PATH may be a stub that only fails).
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.14 python,\
	$(shell $(name) -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $(name))))

INSTALL = -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)
CODE := src tests tools benchmarks examples
PRESENT = $(wildcard $(CODE))
TYPED = src $(wildcard tests/typing)

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile | sort | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

# ── environments; a stamp file each, so that a second call installs nothing ──────────────────────

$(BIN)/python $(VENV_TF4)/bin/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' || { \
	  echo "tokengraft needs Python 3.11 or newer; found: $(or $(PYTHON),none)." >&2; \
	  echo "Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(patsubst %/bin/python,%,$@)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python $(INSTALL) -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.core
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[dev,train]'
	@touch $@

$(VENV_TF4)/.done: constraints-tf4.txt | $(VENV_TF4)/bin/python
	$(VENV_TF4)/bin/python $(INSTALL) -c constraints-tf4.txt transformers tokenizers jinja2 numpy sentencepiece \
	  protobuf click huggingface_hub ml_dtypes pydantic rich safetensors
	@touch $@

# ── what people and CI call ──────────────────────────────────────────────────────────────────────

demo: $(VENV)/.core  ## the whole story on the small model in models/: offline, no torch
	$(BIN)/tokengraft demo

test: lint types pytest  ## ruff, mypy and pytest, with transformers 5 and 4 as witnesses

lint: $(VENV)/.dev  ## ruff: format and rules
	$(BIN)/ruff format --check $(PRESENT)
	$(BIN)/ruff check $(PRESENT)

types: $(VENV)/.dev  ## mypy --strict
	$(BIN)/mypy $(TYPED)

# A file at a time: what its tests share is made once, and no process waits for another that makes it.
pytest: $(VENV)/.dev $(VENV_TF4)/.done
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

fmt: $(VENV)/.dev  ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix-only $(PRESENT)
	$(BIN)/ruff format $(PRESENT)

docs: $(VENV)/.dev  ## write the generated pages of docs/reference again
	$(BIN)/python tools/docs.py

docs-check: $(VENV)/.dev
	$(BIN)/python tools/docs.py --check

check: test docs-check  ## all that a change must pass

campaign: $(VENV)/.dev $(VENV_TF4)/.done  ## the long tests, tests/slow and tests/campaigns: hours; PART=1/4
	$(BIN)/pytest --part $(PART) $(PYTEST_FLAGS) tests/campaigns tests/slow

bench: $(VENV)/.dev  ## measure: time, memory and bytes written
	set -e; for script in benchmarks/bench_*.py; do $(BIN)/python "$$script"; done

clean:  ## remove environments, caches and build results
	rm -rf $(VENV) $(VENV_TF4) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

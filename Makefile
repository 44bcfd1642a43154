# `make test`, `make demo` and `make docs` set up everything by themselves, in .venv, and install again only when setup.cfg changed.
# Another Python than the first that fits: make test PYTHON=python3.12

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-input --disable-pip-version-check --progress-bar off

FITS = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
CANDIDATES = python3 python3.14 python3.13 python3.12 python3.11 python3.10 python
PYTHON = $(firstword $(foreach name,$(CANDIDATES),$(shell $(name) -c '$(FITS)' 2>/dev/null && echo $(name))))

.PHONY: test test-versions lint types unit integration wheel demo docs clean

test: lint types unit integration wheel

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# Two processes of one thread each: more threads than cores make torch crawl. Compiled tests are kept, since compiling
# all of them takes each process as long as importing them.
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2
LONG = integration or slow

unit: $(VENV)/.dev
	$(PYTEST) -m 'not ($(LONG))'

# File by file, so that the tests of a file share what they set up, such as Ray. Other files are not even imported.
integration: $(VENV)/.dev
	$(PYTEST) -m '$(LONG)' --dist loadfile $$(grep -rlE 'mark\.(integration|slow)' --include='test_*.py' tests)

# Hours, on two cores: the same with the oldest and the newest libraries on each Python, in .versions. Fewer:
# make test-versions VERSIONS="3.10 oldest 3.14 newest"; see CONTRIBUTING.md.
test-versions:
	$(PYTHON) tests/versions.py $(VERSIONS)

wheel: $(VENV)/.dev
	tests/check_wheel.sh $(BIN)/python

demo: $(VENV)/.demo
	$(BIN)/egotools demo

docs: $(VENV)/.docs
	$(BIN)/python docs/api.py build/api
	$(BIN)/python docs/notebooks.py build/notebooks

$(VENV)/.dev: setup.cfg pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[dev]'
	touch $(VENV)/.demo $@

$(VENV)/.demo $(VENV)/.docs: $(VENV)/.%: setup.cfg pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[$*]'
	touch $@

$(BIN)/pip:
	@test -n '$(PYTHON)' || { echo 'no Python 3.10 or newer with venv found (Debian: apt install python3-venv)'; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) .versions build dist egotools.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

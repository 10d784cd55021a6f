# Two commands: `make run` makes everything, `make test` runs every test. Both set up .venv first.

PYTHON ?= python3
FAST := tests/contract tests/evaluation tests/model tests/tasks tests/text
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Three workers for two cores, because tests often wait. Each worker runs one test file at a time, in the order of
# tests/conftest.py, the longest first.
WORKERS = -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: run test check mutants setup lint format lock

# Print a line when a stage starts or ends, and the stage's own messages. Snakemake reports all errors outside jobs.
run: setup
	@LLMILL_BRIEF=1 snakemake --cores all --quiet host progress rules || { \
	  echo "make: stopped. 'make run' continues from here. After a hard kill, run 'snakemake --unlock' first." >&2; \
	  exit 1; }
	@python -m llmill results

test: setup
	python -m pytest $(WORKERS)

# Insert faults into a copy of the repository, one at a time. The tests listed with each fault must then fail.
mutants: setup
	python -m tests.mutants

# Run this before a commit: lint, types, and the tests that run no stage. It takes about a minute on two cores.
check: lint
	python -m pytest $(WORKERS) $(FAST)

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "llmill needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements.lock
	.venv/bin/pip install --quiet --no-deps --editable .
	touch "$@"

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy

format: setup
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

# Write the exact versions of the installed packages, without local version parts (+cpu).
lock: setup
	pip freeze --exclude-editable | sed 's/+cpu//; s/ @ .*//' > requirements.lock

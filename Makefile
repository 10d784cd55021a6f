# Two commands: `make run` makes everything, `make test` runs every test. Both set up .venv first.

PYTHON ?= python3
FAST := tests/contract tests/evaluation tests/model tests/tasks tests/text
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Three workers for two cores, since a test often waits; a file of tests each at a time, in the order of tests/conftest.py,
# the longest first.
WORKERS = -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: run test check mutants setup lint format lock

# A line as a stage starts and ends, and what it says itself. Errors other than a job's are Snakemake's own.
run: setup
	@LLMILL_BRIEF=1 snakemake --cores all --quiet host progress rules || { \
	  echo "make: stopped. After a hard kill, 'snakemake --unlock' first; then 'make run' goes on from here." >&2; \
	  exit 1; }
	@python -m llmill results

test: setup
	python -m pytest $(WORKERS)

# Each of some faults, in a copy of the repository, must make the tests beside it fail.
mutants: setup
	python -m tests.mutants

# Before a commit: lint, types, and the tests of what runs no stage; about a minute on two cores.
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

# Exact versions of what is installed; local parts of a version (+cpu) do not belong in a lock file.
lock: setup
	pip freeze --exclude-editable | sed 's/+cpu//; s/ @ .*//' > requirements.lock

PYTHON := .venv/bin/python
PORT ?= 5000

.PHONY: demo reproduce test test-slow test-cuda mutants docs lint format setup mlflow audit constraints dist

setup:
	@clusters/setup.sh --dev

# The main job: both lambda sweeps on the digits, then one report that lays the fronts side by side.
demo: setup
	$(PYTHON) -m fftune.sweep thrm --scale tiny --resume
	$(PYTHON) -m fftune.sweep trades --scale tiny --resume
	$(PYTHON) -m fftune.report thrm-tiny trades-tiny

# Every table and figure of both papers at tiny scale; the same command goes on, or does nothing.
reproduce: setup
	$(PYTHON) -m fftune.reproduce all --scale tiny

test: setup
	$(PYTHON) -m pytest -m "not slow"

test-slow: setup
	$(PYTHON) -m pytest -m slow

# On a machine with a CUDA device; elsewhere all are skipped.
test-cuda: setup
	$(PYTHON) -m pytest -n 0 -m cuda tests/cuda

# Does a test see it when a number goes wrong? Of one FILE every mutant; else all of the seven files
# that matter most, and a seeded SAMPLE of each other.
mutants:
	OMP_NUM_THREADS=1 $(PYTHON) -m tests.mutation $(FILE) $(if $(SAMPLE),--sample $(SAMPLE)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(LIST),--list)

# Pages in docs/_build/html, from docs/, docstrings and the parsers; no network, no warnings.
docs: setup
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Wheel and sdist in dist/, checked, then installed into clean environments of every Python that is
# promised, at the highest and the lowest versions, where a user's first commands are run.
dist: setup
	rm -rf dist
	.venv/bin/uv build --quiet --out-dir dist
	.venv/bin/uv tool run twine check --strict dist/*
	$(PYTHON) -m tests.distribution dist $(if $(PYTHONS),--pythons $(PYTHONS))

# Known holes of the pinned versions; asks a database of the network, and fails where none answers.
audit:
	@clusters/audit.sh

# Pins of every package that clusters/setup.sh and the images install, of no host in particular.
constraints:
	.venv/bin/uv pip compile pyproject.toml --extra ffcv --extra cluster --extra pictures \
	    --extra formats --extra signing --group dev --python-version 3.11 --no-emit-index-url \
	    --no-annotate --no-header --upgrade --output-file constraints.txt

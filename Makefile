PYTHON := .venv/bin/python
PORT ?= 5000

.PHONY: demo test test-slow lint format setup mlflow constraints

setup:
	@clusters/setup.sh --dev

# The main job: both lambda sweeps on the digits, then one report that lays the fronts side by side.
demo: setup
	$(PYTHON) -m fftune.sweep thrm --scale tiny --resume
	$(PYTHON) -m fftune.sweep trades --scale tiny --resume
	$(PYTHON) -m fftune.report thrm-tiny trades-tiny

test: setup
	$(PYTHON) -m pytest -m "not slow"

test-slow: setup
	$(PYTHON) -m pytest -m slow

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Pins of every package, of no host in particular.
constraints:
	.venv/bin/uv pip compile pyproject.toml --all-extras --group dev --python-version 3.11 \
	    --no-emit-index-url --no-annotate --no-header --upgrade --output-file constraints.txt

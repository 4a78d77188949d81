# make demo   install into .venv, run the demo study, say where its report is
# make test   install into .venv, then lint, types, documentation and all tests
# make test-all    the same, then the long checks: before a release, after a change of a layer
# make wheel  build the wheel, install it elsewhere, run the demo study from it
# make peers  install into .venv what benchmarks/step.py and study.py stand beside
# make .trackers/ready   install what the tests of other tools' runs use into .trackers
# make docs   install into .venv, build the documentation site into build/docs
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= auto

.PHONY: demo test test-all wheel peers lint types docs check format clean

demo: .venv/demo
	$(BIN)/normlab run digits-norms --workers $(WORKERS)
	@echo "Open $(CURDIR)/runs/digits-norms/report.html in a browser."

test: lint types docs check

test-all: test wheel
	$(BIN)/normlab check norm all
	$(BIN)/python benchmarks/fuzz_layers.py --cases 5000 --workers 2
	$(BIN)/python benchmarks/crash.py --every-call --random 50 --two-runs 200

wheel: .venv/demo
	$(BIN)/python benchmarks/wheel.py

peers: .venv/peers

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo

types: .venv/dev
	$(BIN)/mypy

# Strict: a broken link or a public name without a docstring fails.
docs: .venv/docs
	$(BIN)/python -m sphinx -E -a -W --keep-going -q -b html -c docs -d build/doctrees . build/docs
	@echo "Open $(CURDIR)/build/docs/index.html in a browser."

check: .venv/dev .trackers/ready
	$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .trackers build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

# What is installed is as the pins say; a change of them or of the dependencies installs anew.
.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/dev: .venv/demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]
	@touch $@

.venv/docs: .venv/demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[docs]
	@touch $@

.venv/peers: .venv/demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[peers]
	@touch $@

# The tools' own packages want older versions of some of ours: an environment of their own.
.trackers/bin/python:
	$(PYTHON) -m venv .trackers

.trackers/ready: .trackers/bin/python pyproject.toml constraints-trackers.txt
	.trackers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-trackers.txt -e .[trackers]
	@touch $@

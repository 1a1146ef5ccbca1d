# The interpreter to set .venv up with: make PYTHON=python3.12 setup
PYTHON ?= python3
BIN = .venv/bin

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   the whole way on small synthetic recordings: train, test, export, predict, bench"
	@echo "make test   lint, types and the test suite"
	@echo "make lint   style and types alone"
	@echo "make setup  .venv with all requirements (the other two do it by themselves)"
	@echo "make clean  remove .venv and what the demo made"

setup: .venv/.done

.venv/.done: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else "error: Python %d.%d was given; 3.11 to 3.13 is expected: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@

demo: setup
	$(BIN)/python demo.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf .venv runs/demo runs/data runs/demo_recording bundles/demo

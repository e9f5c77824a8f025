# make book and make test are all one needs; both set up what is missing first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
PORT ?= 8000
PROFILE ?= quick

.PHONY: help setup book serve test lint clean check-book

help:
	@echo "make book        execute the notebooks and build the book (PROFILE=quick or full)"
	@echo "make serve       show the book on localhost (PORT=8000)"
	@echo "make test        formatting, lint, types, tests, notebooks (which make book then need not run again)"
	@echo "make lint        formatting, lint and types alone"
	@echo "make check-book  open every page of the book in headless Chromium"
	@echo "make setup       only set up $(VENV) (PYTHON=python3)"
	@echo "make clean       remove everything made, but neither $(VENV) nor trained models"

setup: $(READY)

# Made anew only when the requirements change; a stamp that is written last makes a broken set-up start again.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "expected Python 3.11 to 3.13, got $$($(PYTHON) --version 2>&1); say which one to use: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "expected Python's venv module, found none; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

book: $(READY)
	@$(RUN) -m xaicl_lib book --profile $(PROFILE)

serve: $(READY)
	@$(RUN) -m xaicl_lib serve --port $(PORT)

lint: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest
	$(RUN) -m xaicl_lib run

check-book: $(READY)
	@$(RUN) tests/check_pages.py

clean:
	rm -rf _build .assets build .mypy_cache .pytest_cache .ruff_cache *.egg-info/
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -f $(READY)

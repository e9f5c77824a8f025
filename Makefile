# make book and make test are all one needs; both set up what is missing first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
BOOK := $(VENV)/.ready-book
TEST := $(VENV)/.ready-test
PORT ?= 8000
PROFILE ?= quick
TORCH ?=
JOBS ?=
CORES = $(shell $(RUN) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')

.PHONY: help setup book teacher student site editions classroom serve evidence test lint clean check-notebooks check-book check-links

help:
	@echo "make book        execute the notebooks and build the book (PROFILE=quick or full, JOBS=notebooks at a time)"
	@echo "make teacher     the edition with open solutions and notes; make student: the one without solutions"
	@echo "make site        the book as one folder for any static host, _build/site (VERSION=v0.2: one of several versions in it)"
	@echo "make editions    the whole book as a PDF and an ePub, checked; make site then offers them"
	@echo "make classroom   one folder to copy into a room without internet, _build/classroom"
	@echo "make serve       show the book on localhost (PORT=8000)"
	@echo "make test        formatting, lint, types, tests, notebooks (which make book then need not run again)"
	@echo "make lint        formatting, lint and types alone"
	@echo "make check-notebooks  run executed notebooks again and compare (NOTEBOOKS='02_metrics ...', default: all)"
	@echo "make check-book  open every page of the book in headless Chromium, and use the lab"
	@echo "make check-links ask every link to another host"
	@echo "make evidence    what is missing of the larger runs behind the pages, resumable (ONLY='preference ...', LIST=1 only says it)"
	@echo "make setup       only set up $(VENV) (PYTHON=python3; TORCH=cpu without CUDA's libraries, for a machine without a GPU)"
	@echo "make clean       remove everything made, but neither $(VENV) nor trained models"

setup: $(TEST)

# A stamp is written last, so that a broken set-up starts again, and made anew only when the requirements change.
$(BOOK): requirements-book.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "expected Python 3.11 to 3.13, got $$($(PYTHON) --version 2>&1); say which one to use: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "expected Python's venv module, found none; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@TORCH=$(TORCH) .ci/install $(RUN) -r requirements-book.txt
	@TORCH=$(TORCH) .ci/install $(RUN) --no-deps -e .
	@touch $@

$(TEST): requirements.txt $(BOOK)
	@TORCH=$(TORCH) .ci/install $(RUN) -r requirements.txt
	@touch $@

book: $(BOOK)
	@$(RUN) -m xaicl_lib book --profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS))

teacher student: $(BOOK)
	@$(RUN) -m xaicl_lib book --profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS)) --edition $@

site: book
	@$(RUN) -m xaicl_lib site $(if $(VERSION),--version $(VERSION))

editions: book $(TEST)
	@$(RUN) -m xaicl_lib editions
	@$(RUN) tests/check_editions.py

classroom: book
	@$(RUN) -m xaicl_lib site --classroom

serve: $(BOOK)
	@$(RUN) -m xaicl_lib serve --port $(PORT)

# Hours to days on one core, minutes on a GPU; LIST=1 says how long, as far as it was timed.
evidence: $(BOOK)
	@$(RUN) benchmarks/evidence.py $(ONLY) $(if $(LIST),,--run)

lint: $(TEST)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest -n $(CORES) --dist loadfile
	$(RUN) -m xaicl_lib run $(if $(JOBS),--jobs $(JOBS))

check-notebooks: $(TEST)
	@$(RUN) -m xaicl_lib check $(NOTEBOOKS)

# A browser that hangs says nothing of a page: what fails is asked twice, and both answers are printed.
BROWSER := $(foreach page,lab search element quizzes alive versions,tests/check_$(page).py)
check-book: $(TEST)
	@$(RUN) tests/check_pages.py
	$(RUN) -m pytest $(BROWSER) || { echo "once more, what failed, in new browsers"; $(RUN) -m pytest --last-failed $(BROWSER); }

# Of the sources that the last build has staged.
check-links: $(BOOK)
	@$(RUN) -m xaicl_lib links

clean:
	rm -rf _build .assets build .mypy_cache .pytest_cache .ruff_cache *.egg-info/
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -f $(BOOK) $(TEST)

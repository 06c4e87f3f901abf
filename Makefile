# Everything runs in .venv, which is made on first use and renewed when pyproject.toml or constraints.txt change.
# Variables: PYTHON (interpreter to make .venv with), PIP_ARGS (extra arguments for pip, for instance an
# --index-url with smaller CPU builds of torch), JOBS (test processes), LAB_ARGS, TEST_ARGS, BENCH_ARGS,
# ATTACK (how many times as many trials).

PYTHON ?= python3
JOBS ?= 2
ATTACK ?= 100
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help book test parity attack lab bench lint clean environment

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(INSTALLED) ## execute the chapters that are stale, build the book and check its pages
	$(BIN)/python -m audioattn_lib book

test: $(INSTALLED) ## run all tests, also those of the notebooks, the book and the browser
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(TEST_ARGS)

attack: $(INSTALLED) ## hostile and damaged input, faults and kills, ATTACK times as long as in the tests: an hour
	AUDIOATTN_ATTACK=$(ATTACK) $(BIN)/python -m pytest tests/attack $(TEST_ARGS)

parity: $(INSTALLED) ## test every published command, write book/parity.csv, and run every chapter on every corpus
	AUDIOATTN_LONG=1 $(BIN)/python -m pytest -m parity --write-parity $(TEST_ARGS)

lab: $(INSTALLED) ## open the notebooks in JupyterLab
	$(BIN)/python -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks --LabApp.extra_labextensions_path=book/_lab $(LAB_ARGS)

bench: $(INSTALLED) ## measure speed against named references, JSON in benchmarks/results
	$(BIN)/python -m audioattn_lib bench $(BENCH_ARGS)

lint: $(INSTALLED) ## check style, layout and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean: ## remove the built book, executed chapters and caches; keeps runs/ and .venv
	rm -rf _build book/chapters/*.ipynb .pytest_cache .mypy_cache .ruff_cache .hypothesis

environment: $(INSTALLED) ## make or renew .venv

$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make: $(PYTHON) is older than Python 3.11; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "make: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV), once: minutes"
	$(BIN)/python -m pip install -c constraints.txt $(PIP_ARGS) -e '.[book,sweep,models,export,test]'
	@rm -f $(VENV)/installed-*
	@touch $@

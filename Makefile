# make run    a development chain, a sidecar beside it, a live book in the terminal
# make test   the whole suite; make test-long adds what takes minutes
# make coverage    what the tests cover; make mutants MODULE=sidecar/state/book.py what they would miss
# make simulate SEEDS=0:20000    simulated worlds, as many as wanted; a seed by itself says all
# make check  formatting, lint, types
# make fuzz TARGET=http SECONDS=60    one fuzz target, guided by coverage; fuzz-all: each of them
# make history SECONDS=3600   clients, kills and stalls for so long, then what was told is judged
# make audit  whether anything is known against a dependency (asks an advisory service)
# make install    into DESTDIR and PREFIX (/usr/local), with units for systemd; make uninstall
# make deb    a Debian package, in dist/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
SECONDS ?= 60
HISTORY_SEED ?= $(shell date +%s)

.PHONY: help run test test-long coverage mutants simulate fuzz fuzz-all fuzz-coverage history audit \
	check format bench clean install uninstall deb

help:
	@sed -n 's/^# //p; /^$$/q' Makefile

# The environment is made anew whenever what it is made from changes.
$(VENV)/.made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "this Python can't make virtual environments: apt-get install python3-venv"; exit 1; }
	@echo "making the virtual environment ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: $(VENV)/.made
	@$(BIN)/sidecar demo

# On two cores; each file by one process, in the order of pyproject.toml's testpaths. TESTS: other ones, or flags.
test: $(VENV)/.made
	@$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

# The suite, slower; then for each module what its own tests cover, and what all do. TESTS: other ones, or flags.
coverage: $(VENV)/.made
	@rm -rf .coverage
	@$(BIN)/coverage run -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -p tests.measure.contexts $(TESTS)
	@$(BIN)/coverage combine -q
	@$(BIN)/python tests/measure/coverage_table.py

# MODULE=sidecar/state/book.py, or several; FLAGS="--others 9999" for all of them.
mutants: $(VENV)/.made
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	@nice -n 19 $(BIN)/python tests/measure/mutate.py $(MODULE) $(FLAGS)

test-long: $(VENV)/.made
	@$(BIN)/pytest -q -o faulthandler_timeout=3600 tests/long

SEEDS ?= 0:1000
JOBS ?= 2

simulate: $(VENV)/.made
	@$(BIN)/python tests/simulation/run.py $(SEEDS) --jobs $(JOBS)

check: $(VENV)/.made
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

history: $(VENV)/.made
	@$(BIN)/python tests/history/run.py --seconds $(SECONDS) --seed $(HISTORY_SEED) --pace 2

# pip-audit has an environment of its own: what it needs is not what is audited.
audit: $(VENV)/.made
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && \
		$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.7,<3'; }
	@.ci/audit --pip-audit $(VENV)/audit/bin/pip-audit

format: $(VENV)/.made
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.made
	$(BIN)/python benchmarks/devnet.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/fanout.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/inbound.py
	$(BIN)/python benchmarks/observed.py
	$(BIN)/python benchmarks/tracing.py
	$(BIN)/python benchmarks/proxies.py
	$(BIN)/python benchmarks/state.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/order_entry.py

TARGET ?= http

$(VENV)/.fuzz: $(VENV)/.made
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@touch $@

fuzz: $(VENV)/.fuzz
	$(BIN)/python fuzz/run.py $(TARGET) $(SECONDS)

fuzz-all: $(VENV)/.fuzz
	targets=$$($(BIN)/python fuzz/run.py --list) && test -n "$$targets" && \
		for target in $$targets; do \
		$(BIN)/python fuzz/run.py $$target $(SECONDS) || exit 1; done

fuzz-coverage: $(VENV)/.made
	$(BIN)/python fuzz/measure.py

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

PREFIX ?= /usr/local
DESTDIR ?=
PLACE = DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)'

install: $(VENV)/.made
	@$(PLACE) PYTHON='$(PYTHON)' PIP='$(BIN)/pip' systemd/install

uninstall:
	@$(PLACE) systemd/uninstall

deb: $(VENV)/.made
	@PIP='$(BIN)/pip' OUTPUT=dist systemd/debian/build

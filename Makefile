# Needs Python 3.11 and make. Every target sets up what it needs, says what it does, and can be run again.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
PYTEST_RUN ?= pytest

.PHONY: demo ui test damage browser wan opensearch opensearch-stop opensearch-test coverage lint bench bench-wan contract clean

demo: $(READY)  ## The main job on the data in data/, with two Regions on this machine
	$(BIN)/xdask demo

ui: $(READY)  ## Pools and Dagster on http://127.0.0.1:3000; Ctrl-C stops everything
	$(BIN)/xdask ui

test: $(READY)  ## All tests that need nothing but Python, in two processes
	$(BIN)/python -m $(PYTEST_RUN) -n 2

damage: $(READY)  ## Runs whose processes are killed, whose disk is full, whose machine has no data
	$(BIN)/python -m $(PYTEST_RUN) -m damage tests/jobs

browser: $(READY)  ## Tests in headless Chromium (Debian: apt-get install chromium)
	$(BIN)/python -m $(PYTEST_RUN) -m browser tests/browser

wan: $(READY)  ## Placement over a network of namespaces: bytes, outages (root, Linux, /dev/net/tun, iproute2)
	$(BIN)/python -m $(PYTEST_RUN) -m wan tests/wan

opensearch: $(READY)  ## A real OpenSearch node on loopback, for this project alone (Debian: apt-get install maven)
	$(BIN)/xdask opensearch up

opensearch-stop: $(READY)  ## Stop it; what it holds stays
	$(BIN)/xdask opensearch down

coverage: $(READY)  ## Share of lines that the tests run, of all but browser, damage and wan; at least 90 %
	rm -rf var/coverage && mkdir -p var/coverage
	$(MAKE) test PYTEST_RUN="coverage run -m pytest"
	$(MAKE) opensearch-test PYTEST_RUN="coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90

opensearch-test: $(READY)  ## The catalog's tests on a real node; XDASK_OPENSEARCH_URL is the address of a catalog on another one
	$(BIN)/python -m $(PYTEST_RUN) -m opensearch tests

contract: $(READY)  ## The wall around Dask, on each release of Dask that pyproject.toml allows
	$(BIN)/python -m $(PYTEST_RUN) tests/contract
	for lock in tests/contract/releases/*.lock; do \
	    folder=var/releases/$$(basename $$lock .lock); \
	    $(BIN)/python -m pip install --quiet --no-deps --require-hashes --upgrade --target $$folder --requirement $$lock \
	        && PYTHONPATH=$$folder $(BIN)/python -m $(PYTEST_RUN) tests/contract || exit 1; \
	done

lint: $(READY)  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## Speed and memory beside what one would pick instead, as ratios
	$(BIN)/python -m benchmarks

bench-wan: $(READY)  ## Placement over a WAN made of network namespaces, beside what one would pick instead (root, Linux)
	$(BIN)/python -m benchmarks.wan

clean:  ## Stop the pools; remove results and the environment, keep data/
	-[ ! -x $(BIN)/xdask ] || $(BIN)/xdask pools down
	-[ ! -x $(BIN)/xdask ] || $(BIN)/xdask opensearch down
	rm -rf var .venv

$(READY): requirements.lock pyproject.toml
	@echo "Setting up .venv (about 200 packages, once; two or three minutes)"
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q -j 0 .venv/lib xdask_pipelines >/dev/null || true
	@touch $@

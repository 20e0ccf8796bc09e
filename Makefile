# `make demo` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests start the programs hundreds of times; without bytecode on the disk each start compiles all of them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check packages unit cover long chaos mutants board reactions interop verify fuzz bench bench-compare bench-record battery-truth stream docs package first-day release soak lock audit clean help

help:             ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18

demo: $(VENV)/run ## plug in, authenticate, charge, discharge, settle; the first time it installs what it needs, for a minute or more
	@$(BIN)/v2g demo $(ARGS)

test: $(VENV)/dev  ## formatting, types, import rules and tests, side by side: types take one core a minute
	@$(MAKE) --no-print-directory --jobs 3 packages check unit

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python -m tests.verify --stale

packages: $(VENV)/dev
	@$(BIN)/python -m tests.packages

# Real programs keep real time limits, and beside other tests one can miss its own. So where nothing failed but tests of
# programs and connections (10), these run once more, alone, and have to pass there (tests/repeats.py).
pytest = $(BIN)/pytest $(1) || { [ $$? = 10 ] && $(BIN)/pytest $(1) $(ALONE); }
ALONE := --workers 0 --last-failed --last-failed-no-failures none --maxfail 2 --repeated

# A test that hangs ends its worker with a traceback of all threads, and has failed: no test takes a tenth of that time.
HANGS := -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

unit: $(VENV)/dev # six on two cores: some wait for programs and for time limits
	$(call pytest,--workers 6 $(HANGS) $(ARGS))

cover: $(VENV)/dev ## the same tests, with the lines that none of them reaches
	$(BIN)/pytest --workers 2 --cov --cov-report=term:skip-covered $(ARGS)

long: $(VENV)/dev  ## what takes too long for every change: 10,000 schedules and conversations, all demo scenarios
	$(call pytest,--workers 4 -m "long and not interop" $(ARGS))

chaos: $(VENV)/dev ## vehicles behind a bad network, and servers that fail, for ten minutes (CHAOS_SECONDS); needs root
	V2G_CHAOS_S=$(or $(CHAOS_SECONDS),600) $(BIN)/pytest -rs -m long tests/telemetry/test_network_chaos.py

mutants: $(VENV)/dev ## the modules that decide power, money and trust, changed in one place at a time: a test has to notice
	$(BIN)/python -m tests.mutants $(ARGS)

BOARD := .cache/board
board: $(VENV)/dev ## the charger's monitor in C for a control board, in .cache/board, against the one in Python; needs gcc
	@mkdir -p $(BOARD)/gcc $(BOARD)/clang
	$(MAKE) --no-print-directory -C board OUT=$(CURDIR)/$(BOARD)/gcc CC=gcc
	! command -v clang >/dev/null || $(MAKE) --no-print-directory -C board OUT=$(CURDIR)/$(BOARD)/clang CC=clang
	$(BIN)/pytest --workers 2 -m "long or not long" tests/board $(ARGS)

reactions: $(VENV)/dev ## reaction times of processes that are stopped, killed or hang: idle, with all cores busy, with 5 % of a core (REPEAT times, 6 to 9 minutes each), for docs/explanation/safety.md
	$(BIN)/python -m tests.safety.reactions --repeat $(or $(REPEAT),1)
	$(BIN)/python docs/generate.py

.PHONY: browser
browser: $(VENV)/dev ## the console in Debian's Chromium, with pictures of its pages in dist/pictures: three widths, light and dark
	V2G_PICTURES=dist/pictures $(BIN)/pytest -rs tests/browser tests/e2e/test_demo_console.py -m "long or not long" $(ARGS)

.PHONY: animations
animations: $(VENV)/dev ## the animated pictures of the README, from runs of the demo in Debian's Chromium: five minutes
	$(BIN)/python -m tests.browser.animations

interop: $(VENV)/dev ## every EXI message type and all peers of docs/tried.toml, at length; notes in docs/tried.json which passed
	$(call pytest,--workers 2 -m "interop or not long" --tried $(ARGS))
	$(BIN)/python docs/generate.py

verify: $(VENV)/dev ## everything, in parts of 20 minutes, the one that passed longest ago first: PART=NAME, MINUTES=60; ARGS=--list
	$(BIN)/python -m tests.verify $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS) $(PART)

SIGNED = $(if $(SIGNING_KEY),--key $(SIGNING_KEY)) --number $(or $(MANIFEST_NUMBER),0)

package: $(VENV)/release ## Debian packages with services, and a list of components (SBOM, CycloneDX), in dist/
	$(BIN)/python -m deploy.debian dist $(SIGNED)

first-day: $(VENV)/release ## what charger makers, test labs and operators type first, in Debians that boot, and their services; as root
	timeout 7200 $(BIN)/pytest -rs -m long tests/deploy/test_first_day.py $(ARGS)

release: $(VENV)/release ## wheel, sdist, packages, notes, checksums in dist/VERSION; SIGNING_KEY signs them
	$(BIN)/python -m deploy.release dist/$$($(BIN)/v2g --version | cut -d' ' -f2) $(SIGNED)

soak: $(VENV)/dev  ## an hour of vehicles that come, go, vanish and send garbage, stations and a gateway (SOAK_SECONDS): nothing may grow, or be lost
	$(BIN)/python -m benchmarks.soak $(or $(SOAK_SECONDS),3600) $(PAUSE_S)

lock: $(VENV)/dev  ## the newest versions that packages and containers install, by hash, into deploy/locks
	$(BIN)/pip install -q --disable-pip-version-check -e '.[release]'
	$(BIN)/python -m deploy.lock

audit: $(VENV)/$(if $(ONLINE),release,dev) ## known flaws of what ships, by deploy/advisories; with ONLINE=1 renewed by OSV before, and PyPI is asked, too
	$(BIN)/python -m deploy.audit $(if $(ONLINE),--renew) $(ARGS)
ifdef ONLINE # strict: without a network it would find nothing, and succeed
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r deploy/locks/v2g-engine-full.txt
endif

fuzz: $(VENV)/dev  ## broken EXI messages, texts, board lines, HomePlug frames, certificates, sessions and so on, five minutes each, two at a time
	$(BIN)/pip install -q --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.exi --list | xargs -P 2 -I TARGET $(BIN)/python -m tests.fuzz.exi TARGET $(or $(FUZZ_SECONDS),300)

bench: $(VENV)/dev ## the figures that README and docs quote
	$(BIN)/python -m benchmarks $(ARGS)

bench-compare: $(VENV)/dev ## a session, or the benchmarks in ARGS, on this tree and on REV in turn: CPU, memory, ratios
	$(BIN)/python -m benchmarks.compare $(or $(REV),HEAD) $(ARGS)

bench-record: $(VENV)/dev ## append the cost of a session to benchmarks/history.jsonl
	$(BIN)/python -m benchmarks.history $(ARGS)

TRUTH := .cache/battery-truth
battery-truth: export PYBAMM_DISABLE_TELEMETRY = true
battery-truth:    ## simulate the batteries of tests/vectors/battery anew, by PyBaMM in an environment of its own; half an hour
	[ -x $(TRUTH)/bin/python ] || $(PYTHON) -m venv $(TRUTH)
	$(TRUTH)/bin/pip install -q --disable-pip-version-check pybamm==26.10.1.1
	$(TRUTH)/bin/python tests/vectors/battery/generate.py $(or $(ARGS),traces aged fleet)

STREAM := .cache/stream
stream: $(VENV)/dev ## the detectors of batteries on Apache Flink, with files and with Kafka's protocol, in an environment of its own: task managers are killed; needs Java, 1 GB, four minutes
	[ -x $(STREAM)/bin/python ] || $(PYTHON) -m venv $(STREAM)
	$(STREAM)/bin/pip install -q --disable-pip-version-check -r deploy/stream/requirements.txt
	[ -d $(STREAM)/kafka ] || $(STREAM)/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes --target $(STREAM)/kafka -r tests/stream/kafka.txt
	cp $(STREAM)/kafka/pyflink/lib/flink-connector-kafka.jar $(STREAM)/kafka/pyflink/lib/kafka-clients.jar $(STREAM)/lib/python3*/site-packages/pyflink/lib
	$(BIN)/pytest -rs -m long tests/stream $(ARGS)

docs: $(VENV)/dev  ## the documentation as a site, in dist/docs: all pages, with a search that needs no server
	$(BIN)/pip install -q --disable-pip-version-check -e '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/site.py dist/docs

clean:            ## remove the environment and everything generated
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov runs

# Debian splits venv from Python; where it is missing, take it from the distribution if we may.
$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  echo "python venv is missing; installing python3-venv"; \
	  apt-get update -q && apt-get install -y -q python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/run: pyproject.toml | $(VENV)/bin/python
	@echo "installing what the demo needs in $(VENV), once: a minute or more"
	@$(BIN)/pip install --disable-pip-version-check --no-compile -e '.[csms,gateway,pki]'
	@echo "starting for the first time, which compiles what is used: half a minute"
	@command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get install -y -q mosquitto >/dev/null 2>&1; } || true
	@touch $@

# pip would compile all of it, on one core: half is never imported, such as tests of others and metadata of telephones.
UNUSED := /(tests?|testing|phonenumbers|faker|pip|setuptools|pkg_resources|mypyc?|narwhals|graphql|lexers)/
# Ours, too: else each worker of the tests does it, at the same time.
OURS := benchmarks csms deploy docs evcc pki-tools secc v2g v2g_cli v2g_gateway v2g_station v2g_testkit

$(VENV)/dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check --no-compile -e '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 -x '$(UNUSED)' $(VENV)/lib/python*/site-packages $(OURS) >/dev/null || true
	@touch $@

$(VENV)/release: deploy/locks/release.txt $(VENV)/dev
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r deploy/locks/release.txt
	@touch $@

# Start with `make run` and `make test`; `make help` lists the other targets.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help run test check format venv bench bench-growth bench-peer clean wheel clients packages e2e personalities e2e-system e2e-setup e2e-container deb

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 14

run: $(VENV)/.made ## start the daemon, with a virtual printer if no USB printer is connected
	@$(BIN)/ippusbd run --virtual-if-none --page

test: $(VENV)/.made packages check clients ## install what is needed, run all checks and tests

check: $(VENV)/.made ## format, lint, types, layers, tests that need only Python, wheel
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/pytest -m "not clients and not guest" -n 2 --dist loadfile
	$(MAKE) --no-print-directory wheel

clients: $(VENV)/.made ## tests with real CUPS, Avahi and SANE programs
	@$(BIN)/pytest -m "clients and not guest" -n 3 --dist loadfile --no-loadscope-reorder

e2e: $(VENV)/.made packages ## tests on a real kernel: USB, udev, CUPS, SANE in a QEMU guest (root, 10 minutes)
	@$(BIN)/python tests/e2e/run.py

e2e-system: $(VENV)/.made packages ## test the Debian package in a guest with systemd and AppArmor; RELEASE=trixie or bookworm (root)
	@$(BIN)/python tests/e2e/system.py --release $(or $(RELEASE),trixie) $(ARGS)

INIT ?= systemd
e2e-setup: $(VENV)/.made packages ## test pipx and `ippusbd setup` in a guest with INIT=systemd, openrc, runit or sysvinit (root)
	@$(BIN)/python tests/e2e/system.py $(INIT) --release $(or $(RELEASE),trixie) $(ARGS)

e2e-container: $(VENV)/.made packages ## test the container of packaging/container with podman in a guest (root)
	@$(BIN)/python tests/e2e/system.py container $(ARGS)

packages: ## install the Debian packages that tests need (root if some are missing)
	@.ci/install-packages

.PHONY: e2e-models
e2e-models: $(VENV)/.made packages ## captured models before CUPS, Avahi and SANE: DIR=folder of model files (root)
	@PYTHONPATH=tests $(BIN)/python -m models $(or $(DIR),tests/data) $(ARGS)

deb: packages ## build the Debian package into dist/; RELEASE=trixie or bookworm, by default this machine's
	@RELEASE=$(RELEASE) packaging/build-deb

wheel: $(VENV)/.made ## build the wheel, check its contents, install and run it
	@$(BIN)/python tests/packaging/check_wheel.py

personalities: $(VENV)/.made ## run every personality of the virtual printer and show the result of each
	@PYTHONPATH=tests $(BIN)/python -m personalities $(ARGS)

format: $(VENV)/.made ## format the code and apply automatic fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.made ## measure throughput, latency, memory and start-up, compared with a bare pyusb loop
	@$(BIN)/python tests/bench/bench.py

bench-growth: $(VENV)/.made ## measure what further printers, clients and bytes cost; ARGS="--documents 1 50"
	@PYTHONPATH=tests $(BIN)/python tests/bench/growth.py $(ARGS)

.PHONY: soak fuzz
SOAK_S ?= 1800
soak: $(VENV)/.made ## run faulty printers and hostile clients for half an hour; SOAK_S=180, SEED=7
	@PYTHONPATH=tests $(BIN)/python -m soak --seconds $(SOAK_S) $(if $(SEED),--seed $(SEED))

.PHONY: simulate
HOURS ?= 720
PRINTERS ?= 1
simulate: $(VENV)/.made ## an office for 30 days in some minutes: HOURS=8760, PRINTERS=3, SEED=7 repeats a run
	@PYTHONPATH=tests $(BIN)/python -m simulation --hours $(HOURS) --printers $(PRINTERS) $(if $(SEED),--seed $(SEED)) $(ARGS)

FUZZ_S ?= 600
fuzz: $(VENV)/.fuzz ## fuzz the parsers of printer data in parallel for FUZZ_S=600 seconds, or with INPUTS=10000000 each (atheris)
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_S) $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

$(VENV)/.fuzz: $(VENV)/.made
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[fuzz]'
	@touch $@

DEVICE_S ?= 1800
.PHONY: fuzz-device
fuzz-device: $(VENV)/.made packages ## devices that answer anything, before the daemon in a guest: DEVICE_S=300, SEED=7 (root)
	@$(BIN)/python tests/e2e/run.py --timeout $$(($(DEVICE_S) + 900)) $(if $(LOGS),--logs $(LOGS)) --command \
		"$(CURDIR)/$(BIN)/python tests/e2e/guest/fuzz_device.py --seconds $(DEVICE_S) --seed $(or $(SEED),1)"

.PHONY: promises
promises: $(VENV)/.made packages ## take every guard of SECURITY.md's promises out of a copy: its test must fail (minutes)
	@PYTHONPATH=tests $(BIN)/python -m security $(ARGS)

ENGINE ?= qemu
bench-peer: $(VENV)/.made packages ## compare with Debian's newest ipp-usb on the same printer, in a guest; ENGINE=uml, ARGS="--only rate" (root)
	@PYTHONPATH=tests/e2e $(BIN)/python tests/bench/peer/bench_peer.py --engine $(ENGINE) $(ARGS)

venv: $(VENV)/.made ## create .venv with the ippusbd command

$(VENV)/.made: pyproject.toml
	@.ci/make-venv "$(PYTHON)" "$(VENV)"
	@touch $@

clean: ## remove the environment and build results
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

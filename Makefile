# `make run` and `make test` are all a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help run test check format venv bench bench-peer clean wheel clients packages e2e personalities e2e-system deb

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 14

run: $(VENV)/.made ## start the daemon, with the virtual printer if no USB printer is there
	@$(BIN)/ippusbd run --virtual-if-none --page

test: $(VENV)/.made packages check clients ## everything: set-up, quality gate, all tests

check: $(VENV)/.made ## quality gate and the tests that need nothing but Python
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@.ci/pytest -m "not clients and not guest" -n 2 --dist loadfile
	$(MAKE) --no-print-directory wheel

clients: $(VENV)/.made ## the stories with real CUPS, Avahi and SANE programs
	@.ci/pytest -m "clients and not guest" -n 3 --dist loadfile --no-loadscope-reorder

e2e: $(VENV)/.made packages ## the checks on a real kernel: USB, udev, CUPS, SANE in a QEMU guest (root, 10 minutes)
	@$(BIN)/python tests/e2e/run.py

e2e-system: $(VENV)/.made packages ## the Debian package in a guest with systemd and AppArmor: install, plug, upgrade, purge (root)
	@$(BIN)/python tests/e2e/system.py

packages: ## the Debian packages the client stories need (asks for root when some are missing)
	@.ci/install-packages

deb: packages ## the Debian package, into dist/
	@packaging/build-deb

wheel: $(VENV)/.made ## build the wheel and look into it
	@$(BIN)/python tests/packaging/check_wheel.py

personalities: $(VENV)/.made ## the table of misbehaving printers, and what comes of each
	@PYTHONPATH=tests $(BIN)/python -m personalities $(ARGS)

format: $(VENV)/.made
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.made ## throughput, latency, memory and start-up beside the bare pyusb loop
	@$(BIN)/python tests/bench/bench.py

.PHONY: soak fuzz
SOAK_S ?= 1800
soak: $(VENV)/.made ## half an hour of hostile printers and clients; SOAK_S=180, SEED=7 repeats a run
	@PYTHONPATH=tests $(BIN)/python -m soak --seconds $(SOAK_S) $(if $(SEED),--seed $(SEED))

FUZZ_S ?= 600
fuzz: $(VENV)/.fuzz ## the four parsers of what printers send, side by side, FUZZ_S=600 seconds (atheris)
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_S) $(if $(SEED),--seed $(SEED))

$(VENV)/.fuzz: $(VENV)/.made
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[fuzz]'
	@touch $@

ENGINE ?= qemu
bench-peer: $(VENV)/.made packages ## beside Debian's ipp-usb on the same printer, in a guest; ENGINE=uml, ARGS="--only rate" (root)
	@PYTHONPATH=tests/e2e $(BIN)/python tests/bench/peer/bench_peer.py --engine $(ENGINE) $(ARGS)

venv: $(VENV)/.made ## .venv with the ippusbd command in it

$(VENV)/.made: pyproject.toml
	@.ci/make-venv "$(PYTHON)" "$(VENV)"
	@touch $@

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

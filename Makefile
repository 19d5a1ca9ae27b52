# Heartwire. `make` alone lists the targets; every target installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
READY := $(VENV)/.ready
FLASH_READY := $(VENV)/.flash-ready
LOCKS := $(wildcard tools/lock/*.txt)
# Tools that look at the environment from outside.
AUDIT := build/audit
PORT ?=
TRIALS ?= 20
# Processes that run tests side by side.
WORKERS ?= 2
# Virtual boards side by side in test-scenario-virtual: each takes about an eighth of a processor.
BOARDS ?= 8
# Seeds that walk-random tries.
SEEDS ?= 20
# What test-pythons tries: 3.11 of Debian 12, 3.13 of Debian 13, 3.14 of the one after it; ends with the newest.
PYTHONS ?= 3.11 3.12 3.13 3.14
# What make quick compares with.
BASE ?= main
# Searches of the hand-over; none: all.
CASES ?=
# Bytes that fuzz gives, and where it begins.
BYTES ?= 1e6
SEED ?= 1
# Instructions, and operations of MicroPython, that trust compares.
COUNT ?= 100000
# Which part of the faults hw-faults simulates: 1/4 is the first quarter.
SHARD ?= 1/1
# Scenario files that the emulated chip runs: a second of it takes five real ones and more.
LONGEST ?= 10
# Scenarios whose golden timelines are renewed by `make golden`; none: all.
FILES ?=
# What runs in real time comes after what runs in virtual time: virtual racks mostly wait, so two files at once; what has
# one Pacemaker, or measures its own waiting, alone.
RACKS := tests/virtual tests/virtual_shim tests/systemd tests/world tests/manual
ALONE := tests/cluster tests/unit/fence

.DEFAULT_GOAL := help
.PHONY: help setup demo golden quick test test-contract test-unit test-scenario test-scenario-virtual test-scenario-emulated test-walk test-handover test-mutation test-pythons reality walk-random \
	test-powercut test-virtual test-cluster test-emulated test-second test-emulated2350 test-hil test-hw test-hooks test-systemd test-world lint types fmt docs generated check bench fuzz hw hw-faults \
	flash image emulator trust bench-board bench-pair bench-broker bench-web test-web budget clean
.PHONY: lock sbom audit man manual first-evening test-manual

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-23s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml tools/typings.txt tools/setup.sh tools/lock.py $(LOCKS)
	@PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV)
	@touch $@

# A board is flashed without what development needs: on a Raspberry Pi that is a minute instead of many.
$(FLASH_READY): pyproject.toml tools/setup.sh tools/lock.py $(LOCKS)
	@[ -e $(READY) ] || PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV) flash
	@touch $@

setup: $(READY) ## install everything for development into .venv

demo: $(READY) ## watch a failover on a virtual rack: no hardware needed
	@$(BIN)/heartwire demo

test: $(READY) ## run every test that can run here; a skip prints its reason
	$(BIN)/python tools/emulator.py --if-possible
	$(PYTEST) -q --durations=30 -n $(WORKERS) --dist worksteal $(addprefix --ignore=,$(RACKS) $(ALONE))
	$(PYTEST) -q --durations=30 -n $(WORKERS) --dist loadfile $(RACKS)
	$(PYTEST) -q --durations=30 $(ALONE)

quick: $(READY) ## contract, policy and the unit tests of what has changed since BASE=main: within a minute
	$(BIN)/python tools/quick.py $(BASE) $(WORKERS)

test-contract: $(READY) ## the wire and the tables, on CPython and on the MicroPython VM
	$(PYTEST) -q tests/contract

test-unit: $(READY) ## each stage alone, with fakes, in virtual time
	$(PYTEST) -q tests/unit

test-scenario: $(READY) ## the scenario files on the policy tier, each against its golden timeline
	$(PYTEST) -q tests/scenarios

golden: $(READY) ## renew the golden timelines of the scenario files and print what changed (FILES="failover welded": only those)
	$(BIN)/python -m tests.scenarios.golden $(FILES)

test-scenario-virtual: $(READY) ## the scenario files on the virtual tier, in real time, BOARDS at once (a quarter of an hour and more)
	$(BIN)/heartwire simulate tests/scenarios/*.txt --tier virtual --jobs $(BOARDS)

test-scenario-emulated: $(READY) ## the short scenario files on the emulated chip, in virtual time (LONGEST=10 s; needs the image)
	$(BIN)/heartwire simulate tests/scenarios/*.txt --tier emulated --longest $(LONGEST) --jobs $(WORKERS)

test-walk: $(READY) ## the exhaustive and the random walks of the policy
	$(PYTEST) -q tests/walk

test-handover: $(READY) ## the hand-over protocol with an adversarial network, deeper than the suite: an hour (CASES="late_grant all" names some)
	$(BIN)/python -m tests.handover.search $(CASES)

test-mutation: $(READY) ## break each rule on purpose and see that the test beside it notices (HEARTWIRE_MUTANT=NAME names some)
	$(PYTEST) -q -n $(WORKERS) tests/mutation

test-pythons: ## the host's unit tests and the contract on each of PYTHONS that is here; one that is nowhere is skipped with its reason
	sh tools/pythons.sh build/pythons "$(PYTHONS)" -n $(WORKERS) $(addprefix tests/,contract $(addprefix unit/,host agent monitor flash bundle))

reality: $(READY) ## what real tools do where a good guess is wrong, with the command of each row (ROW=12 runs that row's)
	$(BIN)/python -m tests.reality $(ROW)

walk-random: $(READY) ## long random walks with new seeds (SEEDS=20; FIRST=N repeats); prints counts, and counterexamples to pin
	$(BIN)/python -m tests.walk.ramble --seeds $(SEEDS) $(if $(FIRST),--first $(FIRST))

test-powercut: $(READY) ## power cuts at every write
	$(PYTEST) -q -k "cut or torn" tests/unit/firmware

test-virtual: $(READY) ## the whole product on the real MicroPython VM, in real time
	$(PYTEST) -q tests/virtual tests/virtual_shim

test-manual: $(READY) ## the manual: its lines on a virtual rack, its links, its first evening from a wheel (needs the package index)
	$(PYTEST) -q -rs tests/manual

test-systemd: $(READY) ## the shipped units under a real systemd, on a rack (needs root, systemd, overlayfs and cgroups of version 1)
	$(PYTEST) -q -rs tests/systemd

test-world: $(READY) ## other people's programs and networks: ser2net, cut cables, a dead name server (needs root for some)
	$(PYTEST) -q -s -rs tests/world

test-hooks: $(READY) ## the shipped hooks, with real PostgreSQL, network namespaces and libvirt's test driver where they are installed
	$(PYTEST) -q tests/hooks

test-cluster: $(READY) ## real Pacemaker and Corosync over a virtual rack (needs both, and root)
	HEARTWIRE_DEEP=$${HEARTWIRE_DEEP:-3} $(PYTEST) -q -s tests/cluster

test-emulated: $(READY) ## the official image on an emulated RP2040, in virtual time (needs the image: make image)
	HEARTWIRE_LONG=$${HEARTWIRE_LONG:-1} $(PYTEST) -q tests/emulated

test-second: $(READY) ## a failover on a second, independent emulator of the chip (needs Node.js, npm and the image)
	$(PYTEST) -q -s tests/second

test-emulated2350: $(READY) ## a Pico 2 on an emulator that you have built (HEARTWIRE_RP2350JS=folder; needs Node.js and an image)
	$(PYTEST) -q -s -rs tests/emulated2350

trust: $(READY) ## how far the emulated chip is the chip: COUNT=100000 instructions beside another processor, and as many operations of MicroPython beside the VM
	$(BIN)/python -m tests.emulated.instructions --count $(COUNT) --seed $(SEED)
	$(BIN)/python -m tests.emulated.differential --count $(COUNT) --seed $(SEED)

test-hil: $(READY) ## a real board, wired as tests/hil/bench_wiring.toml says: make test-hil PORT=/dev/ttyACM0 LINE_A=/dev/ttyUSB0 LINE_B=/dev/ttyUSB1
	$(PYTEST) -q tests/hil $(if $(PORT),--port $(PORT)) $(if $(LINE_A),--line-a $(LINE_A)) $(if $(LINE_B),--line-b $(LINE_B))

test-hw: $(READY) ## pins, circuit, wiring and simulations
	$(PYTEST) -q tests/hw

lint: $(READY) ## ruff, import arrows, what must not grow, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/check_arrows.py
	$(BIN)/python tools/structure.py
	$(BIN)/codespell

types: $(READY) ## mypy: host, contract, tests and tools strict, the host by the newest Python's library too, firmware against the MicroPython stubs
	$(BIN)/mypy
	$(BIN)/mypy --python-version $(lastword $(PYTHONS)) host/heartwire
	$(BIN)/mypy --config-file tools/mypy_firmware.ini firmware/heartwire_firmware firmware/boot.py firmware/main.py

fmt: $(READY) ## format and mend what can be mended
	$(BIN)/ruff check --fix -q . || true
	$(BIN)/ruff format .

docs: $(READY) ## regenerate what comes from tables
	$(BIN)/python tools/gen_protocol.py
	$(BIN)/python tools/gen_tables.py
	$(BIN)/python hw/gen/board_py.py
	$(BIN)/python tests/components.py --write

manual: $(READY) ## build the manual as pages with a search: build/manual/html (every link and anchor is checked)
	$(BIN)/python tools/manual.py build/manual

first-evening: $(READY) ## do what the manual's first page says, from a wheel in an empty folder; prints steps and times
	$(BIN)/python -m tests.manual.evening

man: $(READY) ## write the man pages: build/man/man1, build/man/man8 (a wheel carries them)
	$(BIN)/python tools/man.py build/man

generated: $(READY)
	$(BIN)/python tools/gen_protocol.py --check
	$(BIN)/python tools/gen_tables.py --check
	$(BIN)/python hw/gen/board_py.py --check
	$(BIN)/python tests/components.py --check
	$(BIN)/python hw/gen/verify.py

check: lint types generated test ## exactly what CI runs

fuzz: $(READY) ## give every socket and the host link BYTES=1e6 of chance; prints bytes and findings (SEED=1 repeats)
	nice -n 19 $(BIN)/python tools/fuzz_sockets.py --bytes $(BYTES) --seed $(SEED)

lock: $(READY) ## renew the locks (version and hash of all that is installed) for this Python and platform
	$(BIN)/python tools/lock.py --renew

.PHONY: deb
deb: $(READY) ## build the Debian packages for this release of Debian and this machine: build/deb (needs debhelper)
	@sh tools/deb.sh build/deb $(BIN)/python

$(AUDIT)/.ready: tools/audit.txt tools/audit.sh $(LOCKS)
	@PYTHON="$(BIN)/python" sh tools/audit.sh $(AUDIT)
	@touch $@

sbom: $(READY) $(AUDIT)/.ready ## write what is installed as a CycloneDX SBOM: build/sbom.json
	$(AUDIT)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json $(BIN)/python

audit: $(READY) $(AUDIT)/.ready ## ask for known vulnerabilities of what the lock names (needs the network; fails where anything cannot be asked)
	$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip -r $$($(BIN)/python tools/lock.py --path dev)

bench: $(READY) ## timings: a policy step on the VM, overshoot, failover, heap, CLI start, heartbeats under load
	$(BIN)/python tools/bench_policy.py
	$(BIN)/python tools/bench.py
	$(BIN)/python tools/bench_agent.py

bench-pair: $(READY) ## what restarts, updates and changes cost a service on the virtual rack, in ms and fences: ten minutes
	$(BIN)/python tools/bench_pair.py

hw-faults: $(READY) ## simulate the single faults that have no record yet (needs ngspice; SHARD=1/4 takes a quarter; Ctrl-C keeps what was done)
	$(BIN)/python hw/gen/fault_run.py --shard $(SHARD)

hw: $(READY) ## regenerate circuit, drawings and simulations (needs KiCad 9, ngspice, WireViz)
	$(BIN)/python hw/gen/make.py

flash: $(FLASH_READY) ## put MicroPython and the firmware onto a board: make flash [PORT=/dev/ttyACM0]
	$(BIN)/heartwire $(if $(PORT),--port $(PORT)) flash

image: $(FLASH_READY) ## fetch and check the official MicroPython image, for `make flash` and the emulated tier
	$(BIN)/heartwire image

emulator: $(READY) ## compile the emulated chip for this Python: several times as fast, the same edges (needs a C compiler and the image)
	$(BIN)/python tools/emulator.py

test-web: $(READY) ## the page in a real Chromium: axe, phone, print, login, acts; leaves pictures in build/web (needs chromium)
	$(PYTEST) -q tests/web

bench-web: $(READY) ## the page of one rack and of a hundred in a real Chromium: answer, size, first paint (needs chromium)
	$(BIN)/python tools/bench_web.py

bench-broker: $(READY) ## what sharing a board costs: status and the start of a fence, alone and beside five readers of the log
	$(BIN)/python tools/bench_broker.py

bench-board: $(READY) ## times on the emulated chip: all that was promised beside what it does (TRIALS=20 of each fault; IMAGE=all: every image in the cache)
	$(BIN)/python tools/bench_board.py --trials $(TRIALS) $(if $(IMAGE),--image $(IMAGE))

budget: $(READY) ## hold the firmware to its sizes and times on the emulated chip, with every image in the cache side by side
	$(BIN)/python tools/budget.py

clean: ## remove what make created
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

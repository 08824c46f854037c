# make help   this list
# make demo   shows what happens to children when their parent is killed, strategy by strategy
# make test   runs the test suite (ARGS="tests/tether -k NAME": a part of it)
# make lint   checks style, types, stubs, the C files with strict warnings, and the arrows between the files
# make bench-quick   measures the rows that say most, in few trials, and keeps nothing; under 3 minutes
# make bench   measures every strategy under every fault, then what each costs; takes hours, goes on where it left off
# make bench-costs   measures only what each costs; takes an hour (ROUNDS=1 EFFORT=0.2: a part of that)
# make conformance   runs CPython's own tests of multiprocessing, subprocess and asyncio on orphanguard's; 10 minutes
# make stress   starts and joins 10,000 children, and looks for what is left; takes some minutes
# make kills   kills parents while their threads start everything at once, and looks for what is left
# make kernels   tests the lifeline on real kernels, 5.10 to 7.3, in virtual machines (tests/kernels/run.sh); 20 minutes
# make fresh   runs make demo and make test on fresh Debian 12, 13 and Ubuntu 24.04, as root and as a user
# make supervisor-checks   tests the supervisor with sanitizers and under valgrind
# make dist   builds the sdist and the wheel
# make clean   removes what the other targets have made
#
# make demo and make test set up all that they need in .venv (see tools/setup-venv.sh).

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

SETUP_FROM := pyproject.toml setup.py tools/setup-venv.sh $(wildcard csrc/*.* csrc/*/*.*)

.PHONY: help demo test fresh conformance lint dist stress kills kernels bench bench-quick bench-costs bench-peers \
    supervisor-checks clean

help:
	@sed -n 's/^# \(make [^ ]*   .*\)/\1/p' Makefile

$(VENV)/.ready: $(SETUP_FROM)
	@tools/setup-venv.sh $(VENV) $(PYTHON)

demo: $(VENV)/.ready
	@$(RUN) -m demo

test: $(VENV)/.ready
	@$(RUN) -m pytest -n 4 $(ARGS)

fresh: # ON="bookworm trixie", AS=user: these only
	@tools/fresh-machine.sh $(ON)

stress: $(VENV)/.ready
	@$(RUN) tests/stress/rounds.py $(ARGS)

kills: $(VENV)/.ready
	@$(RUN) tests/stress/kills.py $(ARGS)

kernels: # KERNELS=DIR, ONLY="5.10 7.3", ARGS="nest gc": see there
	@tests/kernels/run.sh $(ARGS)

supervisor-checks: # 77: said, and no failure
	@for kind in asan valgrind; do tools/check-supervisor.sh $$kind || [ $$? = 77 ] || exit 1; done

# SUITE=fork: that one only; ARGS="-k PATTERN", ARGS=--stock: see there.
SUITE ?= fork spawn forkserver subprocess asyncio created uvloop tree
script = $(if $(filter subprocess asyncio created uvloop tree,$(1)),subprocess,multiprocessing)_suite.py
conformance: $(VENV)/.ready
	@status=0; $(foreach suite,$(SUITE),$(RUN) tests/conformance/$(call script,$(suite)) $(suite) $(ARGS) || status=1;) \
	    exit $$status

# Strict warnings are errors here, never on a user's machine.
CHECK_C := -std=gnu11 -O2 -fsyntax-only -Werror -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wmissing-prototypes -Wformat=2
INCLUDE := -Icsrc -Icsrc/shim -Icsrc/launcher

# Modules with a stub: the stub is what users get, so the modules are named to mypy one by one, and stubtest compares.
STUBS := orphanguard.subprocess orphanguard.multiprocessing orphanguard.asyncio

lint: $(VENV)/.ready
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy $$(find src -name '*.py')
	@for version in 3.10 3.13; do \
	    $(VENV)/bin/mypy --python-version $$version tests/typing && \
	    $(VENV)/bin/pyright --pythonversion $$version || exit 1; done
	@$(VENV)/bin/stubtest --concise --allowlist tests/typing/stubtest.txt $(STUBS)
	@for source in csrc/*/*.c tests/kernels/*.c; do $(CC) $(CHECK_C) $(INCLUDE) $$source || exit 1; done
	@$(RUN) tools/arrows.py csrc/shim csrc/supervisor src
	@$(RUN) tools/cited.py
	@echo lint: clean

dist: $(VENV)/.ready
	@rm -rf dist build
	@$(RUN) -m build --quiet --outdir dist .
	@ls dist

EFFORT ?= 1
ROUNDS ?= 2

# Below orphanguard-run: whatever becomes of the runner, nothing that it started is left.
MATRIX := $(VENV)/bin/orphanguard-run $(RUN) -m benchmarks.matrix

bench: bench-peers
	@$(MATRIX) $(ARGS)
	@$(MAKE) --no-print-directory bench-costs
	@$(RUN) -m benchmarks.render --write

bench-quick: bench-peers
	@$(MATRIX) --quick $(ARGS)

bench-costs: bench-peers
	@$(VENV)/bin/orphanguard-run $(RUN) -m benchmarks.costs --rounds $(ROUNDS)
	@$(RUN) -m benchmarks --effort $(EFFORT) --json benchmarks/results/ratios.json

# What is not to be had is said in the tables. torch, 550 MB: PEERS=... torch, if you want it.
PEERS ?= loky billiard processkit-py running-process pyreap CaoE
bench-peers: $(VENV)/.ready
	@for peer in $(PEERS); do $(RUN) -m pip --disable-pip-version-check --quiet install $$peer || true; done

clean:
	rm -rf $(VENV) build dist src/*.egg-info src/orphanguard/*.so src/orphanguard/_bin/orphanguard-* .mypy_cache .pytest_cache .ruff_cache

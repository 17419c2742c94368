# Two targets do everything on a fresh machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
KEPT   := $(VENV)/.kept
TESTS  ?= tests
# Many tests wait for processes, terminals and timers: three workers more than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 3)')

# Where bytecode is not kept, every process that a test starts compiles again what it loads: litellm alone takes it 8 s.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test suite check lint types bench pictures clean
help: ## show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit("FleetPrompt needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo 'setting up $(VENV): this takes a moment, once' >&2
	@test -x $(BIN)/uv || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --inexact --quiet
	@touch $@

demo: $(READY) ## run the incident demo: real faults, an approval, a repair
	@$(BIN)/fleet demo $(DEMO)

# The type check has one thread, and leaves the other cores to the tests.
test: $(READY) lint ## lint, type check, and run the whole test suite
	@$(MAKE) --no-print-directory --jobs 2 types suite

# Each worker would compile for itself what all of them import: 10 s of a core, 3 s where that is done already. What is
# wrong with a test, the suite says.
$(KEPT): $(READY)
	@$(BIN)/python -m pytest tests --collect-only -qq >/dev/null || true
	@touch $@

suite: $(KEPT)
	$(BIN)/python -m pytest $(TESTS) -n $(WORKERS) --dist worksteal -q
	@command -v tmux >/dev/null || echo 'THE CONSOLE WAS NOT TESTED IN A REAL TERMINAL: install tmux (apt-get install tmux)'
	@test -n "$$FLEET_TEST_POSTGRES_URL" || echo 'Postgres was not tested: set FLEET_TEST_POSTGRES_URL, as .ci/run does'

check: test

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/basedpyright --level error

bench: $(READY) ## measure: ours, the floor, and the peers that the bench extra installs
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv sync --frozen --inexact --quiet --extra bench
	$(BIN)/python -m bench

PICTURES_NEED := rsvg-convert fc-list
pictures: $(READY) ## make the pictures of the README; they need librsvg2-bin, fonts-firacode and fonts-dejavu-core
	@for program in $(PICTURES_NEED); do command -v $$program >/dev/null && continue; \
	  echo "$$program is missing: apt-get install librsvg2-bin fontconfig fonts-firacode fonts-dejavu-core" >&2; exit 1; done
	@for font in 'Fira Code' 'DejaVu Sans Mono'; do fc-list : family | grep -q "$$font" && continue; \
	  echo "the font $$font is missing: apt-get install fonts-firacode fonts-dejavu-core" >&2; exit 1; done
	@UV_PROJECT_ENVIRONMENT=$(VENV) $(BIN)/uv run --frozen --inexact --quiet --with pillow python docs/screenshots.py $(NAMES)

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

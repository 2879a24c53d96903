# One verb each. `make` alone lists them. Nothing is needed beforehand but git, make and Python 3.11-3.13.

VENV := .venv
# What is installed stays; a new environment gets the CPU build.
TORCH ?= $(or $(patsubst $(VENV)/ready-%,%,$(firstword $(wildcard $(VENV)/ready-*))),cpu)
TORCH_INDEX ?=
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(TORCH)
LOG := $(VENV)/install.log
EXTRAS_cpu := worker,local,dev
EXTRAS_cuda := worker,gpu,local,dev
EXTRAS := $(EXTRAS_$(TORCH))
# The built dashboard; DASHBOARD= (empty) leaves it out, and the service says so at /app/.
DASHBOARD ?= $(and $(wildcard api/dashboard/package.json),api/dashboard/dist/index.html)
DASHBOARD_LOG := $(VENV)/dashboard.log
DASHBOARD_SOURCES := tests/api/openapi.json $(wildcard $(addprefix api/dashboard/,*.html *.json *.ts *.sh \
	src src/* src/*/* src/*/*/* src/*/*/*/*))
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# The first interpreter that runs and is new enough; the one the versions were tried with comes first.
PY ?= $(shell for each in python3.11 python3 python3.12 python3.13; do \
	$$each -c '$(FITS)' >/dev/null 2>&1 && echo $$each && break; done)

# Nothing is compiled when it is installed, so let Python keep what it compiles: else each process would do it again.
unexport PYTHONDONTWRITEBYTECODE

# A busy machine: waiting threads must not spin, and one thread is fastest for the tiny models of the tests.
TESTING := OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
PYTEST := $(TESTING) $(BIN)/python -m pytest
# Half of the tests wait for leases and timeouts: two processes to a core.
JOBS ?= 4
MINUTES ?= 1
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-long chaos e2e check fmt migrate revision docs base-model golden clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  Variables: TORCH=cpu|cuda (now $(TORCH)), TORCH_INDEX=<index of CPU wheels>, PY=<python>, ARGS=<more>"

setup: $(READY) $(DASHBOARD) ## Make .venv and the dashboard (instant when nothing changed)

$(READY): pyproject.toml constraints.txt
	@test -n "$(EXTRAS)" || { echo "TORCH is cpu or cuda, not '$(TORCH)'."; exit 2; }
	@test -n "$(PY)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make setup PY=/path/to/python3.11"; exit 2; }
	@"$(PY)" -c '$(FITS)' || { echo "$(PY) is not Python 3.11, 3.12 or 3.13: name another with PY=..."; exit 2; }
	@test -x $(BIN)/python || "$(PY)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PY) cannot make virtual environments (Debian and Ubuntu: install python3-venv)."; exit 2; }
	@echo "Installing into $(VENV) (TORCH=$(TORCH)): 3 GB with a CPU build of torch, about 6 GB with a CUDA build."
	@echo "A few minutes, once. What pip says goes to $(LOG)."
	@: > $(LOG)
	@if [ "$(TORCH)" = cuda ] && $(BIN)/python -m pip freeze | grep -q '^torch==.*+cpu'; then \
		$(BIN)/python -m pip uninstall -y torch >> $(LOG) 2>&1; fi
	@if [ -n "$(TORCH_INDEX)" ]; then \
		$(BIN)/python -m pip install --progress-bar off --no-deps --index-url "$(TORCH_INDEX)" -c constraints.txt torch \
		>> $(LOG) 2>&1 || { tail -n 20 $(LOG); echo "torch could not be installed from TORCH_INDEX."; exit 1; }; fi
	@$(BIN)/python -m pip install --progress-bar off --no-compile -c constraints.txt -e '.[$(EXTRAS)]' \
		>> $(LOG) 2>&1 || { tail -n 20 $(LOG); echo "The installation failed; the whole story is in $(LOG)."; exit 1; }
	@rm -f $(VENV)/ready-* && touch $@
	@echo "Ready: $$($(BIN)/python --version), $$(du -sh $(VENV) | cut -f1) in $(VENV)."

api/dashboard/dist/index.html: $(DASHBOARD_SOURCES) | $(READY)
	@echo "Building the dashboard. What npm says goes to $(DASHBOARD_LOG)."
	@sh api/dashboard/build.sh "$(abspath $(BIN)/python)" constraints.txt > $(DASHBOARD_LOG) 2>&1 || { tail -n 20 $(DASHBOARD_LOG); \
		echo "The dashboard could not be built; the whole story is in $(DASHBOARD_LOG). Without it: make $(MAKECMDGOALS) DASHBOARD="; exit 1; }

demo: setup ## The main job, end to end, on this machine (starts all it needs and stops it again)
	@$(BIN)/python -m standalone demo $(ARGS)

up: setup ## Start the service on this machine and stay; Ctrl-C stops everything
	@$(BIN)/python -m standalone up $(ARGS)

# While mypy takes one core, another compiles what each process of the tests would compile for itself.
test: setup ## The gates and the tests (about 13 minutes on 2 cores)
	@$(PYTEST) --collect-only > /dev/null 2>&1 & $(MAKE) --no-print-directory check; gates=$$?; wait; exit $$gates
	$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not long and not gpu" $(ARGS)

test-long: setup ## The tests that take longer; their figures go to docs/log.md
	$(PYTEST) -m "long and not gpu" --timeout 14400 $(ARGS)

chaos: setup ## Storms over a service of its own for MINUTES=1; SEED=n has one again; ARGS=--real trains
	$(TESTING) $(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

e2e: setup ## Only the end-to-end tests
	$(PYTEST) -m "not long and not gpu" tests/e2e $(ARGS)

check: setup ## Format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: setup ## Format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

migrate: setup ## Bring the database in DATABASE_URL up to the newest schema
	@test -n "$$DATABASE_URL" || { echo "Set DATABASE_URL=postgresql://user:password@host/name."; exit 2; }
	$(BIN)/alembic upgrade head

revision: setup ## Write a migration for what changed in the tables: make revision m="add runs"
	@test -n "$(m)" || { echo 'Say what changes: make revision m="add runs"'; exit 2; }
	@test -n "$$DATABASE_URL" || { echo "Set DATABASE_URL to a migrated database to compare with."; exit 2; }
	$(BIN)/alembic revision --autogenerate -m "$(m)"

docs: setup ## Write docs/settings.md from the settings classes
	$(BIN)/python docs/settings.py docs/settings.md

golden: setup ## Compare the first losses with the ones written down; a difference shows the new ones
	$(PYTEST) -vv -k golden tests/core

base-model: setup ## Train the bundled base model again, from text and seed (minutes, 2 cores)
	$(TESTING) $(BIN)/python -m standalone.base_model standalone/models/neftune/demo-base

clean: ## Remove .venv and the caches; data in NEFTUNE_HOME stays
	rm -rf $(VENV) api/dashboard/node_modules api/dashboard/dist api/dashboard/generated build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

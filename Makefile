# Everything a person or a machine types here sets itself up first: Python >= 3.11 and make are enough.
# `make` alone lists the targets. PYTHON=... chooses the interpreter; PYTEST_WORKERS=... how many tests run side by side.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
PIP := $(RUN) pip --disable-pip-version-check --quiet
PYTEST_WORKERS ?= 3
CHAOS_ROUNDS ?= 200
FUZZ_RECORDS ?= 1000000
TARGET ?= services

# Make would pass these on to the tools: a virtual environment that happens to be active must not leak in.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-long check format lint types imports schemas generated docs docs-serve pytest test-docker chaos fuzz bench proofs wheel clean FORCE

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

# ---- setting up ------------------------------------------------------------------------------------------------------
# .made holds the path it was made under and goes stale with a moved folder or a Python that is gone; .core and .dev go
# stale with pyproject.toml.

ifneq ($(shell cat $(VENV)/.made 2>/dev/null; $(BIN)/python -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null),$(CURDIR) True)
$(VENV)/.made: FORCE
endif

$(VENV)/.made:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python3.14 python; do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "setting up $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv --clear $(VENV) && echo '$(CURDIR)' > $@; exit; \
	    fi; \
	done; \
	echo "No Python 3.11 or later with venv was found. On Debian: apt-get install python3-venv. Or say: make PYTHON=/path/to/python" >&2; \
	exit 1

$(VENV)/.core: pyproject.toml $(VENV)/.made
	@echo "installing choreo"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.core
	@echo "installing the tools for tests and docs"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --group dev
	@touch $@

# ---- running ---------------------------------------------------------------------------------------------------------

# A Ctrl-C goes to every process of the terminal's foreground group, and make answers it by dying of it, whatever its
# child does. Job control (set -m) gives the demo a group of its own, so the demo alone hears it, drains, and says how it
# went; its exit code is make's. Without a terminal there is no such group to give.
demo: $(VENV)/.core ## watch orders flow through five services, on a broker that comes with choreo
	@if [ -t 0 ]; then set -m; fi; $(BIN)/choreo demo; code=$$?; exit $$code

test: check pytest ## run every check and every test, with a real Kafka among them

test-long: export CHOREO_TEST_LONG = 1
test-long: test ## the same with all seeds, examples and rounds, of which `make test` takes a part

pytest: $(VENV)/.dev
	@$(RUN) pytest -n $(PYTEST_WORKERS) --dist loadgroup -m 'not docker' $(PYTEST_ARGS)

test-docker: $(VENV)/.dev ## prove docker-compose.yml and testcontainers (needs Docker)
	@CHOREO_TEST_DOCKER=1 $(RUN) pytest tests/docker --timeout 600 $(PYTEST_ARGS)

chaos: $(VENV)/.dev ## kill processes and brokers under load, then judge what is left (CHAOS_ROUNDS=200)
	@CHOREO_CHAOS_ROUNDS=$(CHAOS_ROUNDS) $(RUN) pytest tests/chaos --timeout 7200 -s $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## damage records on every topic; nothing may crash, and nothing be lost (FUZZ_RECORDS=1000000)
	@$(RUN) tests.fuzz.rounds --records $(FUZZ_RECORDS) $(FUZZ_ARGS)

bench: $(VENV)/.dev ## measure beside hand-written loops, in the same run
	@$(RUN) bench $(BENCH_ARGS)

proofs: $(VENV)/.dev ## measure check, verify and 10,000 simulations
	@$(RUN) bench.proofs $(PROOFS_ARGS)

# ---- checking --------------------------------------------------------------------------------------------------------

check: lint types imports schemas docs ## all that needs no test run: style, types, imports, schemas, docs

format: $(VENV)/.dev ## rewrite the code in the house style
	@$(RUN) ruff check --fix --quiet . ; $(RUN) ruff format .

lint: $(VENV)/.dev
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

types: $(VENV)/.dev
	@$(RUN) mypy
	@$(RUN) pyright --pythonpath $(BIN)/python

imports: $(VENV)/.dev
	@$(BIN)/lint-imports

schemas: $(VENV)/.dev
	@$(BIN)/choreo schema check $(TARGET)

generated: $(VENV)/.dev ## rewrite what is generated and checked in: avro/ and the JSON Schemas of the docs
	@$(BIN)/choreo schema write $(TARGET)
	@for model in choreo.manifest:Manifest choreo.settings:Settings choreo.records:Command; do \
	    $(BIN)/python -c 'import importlib, json, sys; module, name = sys.argv[1].split(":"); \
	        model = getattr(importlib.import_module(module), name); \
	        print(json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False))' $$model \
	        > docs/reference/schemas/$$(echo $${model#*:} | tr A-Z a-z).schema.json; \
	done

docs: $(VENV)/.dev ## build the site into site/, strictly
	@$(RUN) zensical build --strict --clean

docs-serve: $(VENV)/.dev ## read the site while writing it
	@$(RUN) zensical serve

# ---- shipping --------------------------------------------------------------------------------------------------------

wheel: $(VENV)/.core ## build dist/*.whl
	@$(PIP) wheel --no-deps --wheel-dir dist .
	@ls dist/*.whl

clean: ## remove all that was made here
	@rm -rf $(VENV) build dist site .cache .kafka .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

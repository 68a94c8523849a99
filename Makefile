# Everything runs in .venv, which the first target that needs it makes. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python

# What `make test` runs, and what of it runs a second time with the hot modules interpreted.
TESTS             ?= tests
TESTS_INTERPRETED ?= tests/unit tests/integration/core
PYTEST            := $(PY) -m pytest -q -ra --timeout=300
NOT_LONG          := -m "not long"

ROUNDS  ?= 5
SECONDS ?= 5
CLIENTS ?= 1,16,64
MODES   ?= simple,extended,prepared

export PYTHON SHARDPROXY_EXT SHARDPROXY_PG_BIN

.DEFAULT_GOAL := help
.PHONY: help install ext test test-faults demo bench lint clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/  make \1\t\2/p; s/^#:/ /p' $(MAKEFILE_LIST) | expand -t 20

install:        ## make .venv with everything in it, and compile the hot modules in place
	@sh packaging/environment.sh $(VENV)

ext: install    ## the same; after an edit of a *_cy.py only that is compiled

test: install   ## all tests; then those of the hot modules again, interpreted
	@$(PYTEST) $(NOT_LONG) $(TESTS)
	@if $(PY) -c 'import sys; from shardproxy import _compiled as c; sys.exit(not any(c.report().values()))'; then \
	    echo "==> again with SHARDPROXY_EXT=no: $(wildcard $(TESTS_INTERPRETED))"; \
	    SHARDPROXY_EXT=no $(PYTEST) $(NOT_LONG) $(wildcard $(TESTS_INTERPRETED)); \
	fi

test-faults: install  ## what takes minutes: servers, proxies and tools killed while tables move and clients write
	@$(PYTEST) -m "long or faults" tests

demo: install   ## a cluster, the proxy before it, and a walk-through; stays up on a terminal
	@$(VENV)/bin/shardproxy demo $(ARGS)

bench: install  ## side by side with PgBouncer: ROUNDS=7 SECONDS=5 CLIENTS=16,64 MODES=simple,extended,prepared
	@$(PY) benchmarks/side_by_side.py --proxy-cmd 'shardproxy=$(abspath $(VENV))/bin/shardproxy serve --config {config}' \
	    --proxy-config benchmarks/shardproxy.toml --rounds $(ROUNDS) --seconds $(SECONDS) --clients $(CLIENTS) \
	    --modes $(MODES) $(if $(filter-out wheel,$(SHARDPROXY_PG_BIN)),--pg-bin $(SHARDPROXY_PG_BIN)) $(ARGS)

lint: install   ## ruff and mypy
	@$(PY) -m ruff check
	@$(PY) -m mypy

clean:          ## remove .venv and all that was built
	@rm -rf $(VENV) build dist .demo .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find shardproxy dialects tools tests -name __pycache__ -prune -exec rm -rf {} + -o -name '*_cy*.so' -exec rm -f {} +

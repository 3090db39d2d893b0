# make setup   everything needed to work on vgen, in .venv
# make demo    install and make one video from a prompt
# make bench   time and memory beside PyTorch, into docs/performance.md; BENCH="models --only unet --quick" for a part
# make kernels compile the CPU kernels for machines without a C++ compiler; a wheel made after that carries them
# make test    lint, types, tests, parity with the originals' recorded outputs
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: setup demo kernels test lint types unit parity bench resolve clean help

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
GOLDEN ?= $(firstword $(patsubst %/t2v-turbo,%,$(wildcard ../shared/golden/t2v-turbo)) tests/golden)

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
		|| { echo "vgen needs Python 3.11 or 3.12; name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"

# A comma would end an argument of call.
BENCH_EXTRAS := dev,bench

# The names of packages are printed as they arrive; the whole output only when something fails.
define install
	echo "installing $(1) into $(VENV): about 2 GB with MindSpore, a few minutes" >&2
	"$(BIN)/python" -m pip install -e '$(1)' 2>&1 | tee "$(VENV)/install.log" | sed -un 's/^Collecting \([^ ]*\).*/  \1/p' \
		|| { cat "$(VENV)/install.log" >&2; exit 1; }
endef

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@$(call install,.)
	touch "$@"

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@$(call install,.[dev])
	touch "$@" "$(VENV)/.installed"

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	@$(call install,.[$(BENCH_EXTRAS)])
	touch "$@" "$(VENV)/.installed-dev" "$(VENV)/.installed"

setup: $(VENV)/.installed-dev
	@echo "ready: source $(VENV)/bin/activate, then vgen --help"

demo: $(VENV)/.installed
	@"$(BIN)/vgen" infer t2v-turbo --preset tiny --prompt "a red circle moving right"

kernels: $(VENV)/.installed
	@"$(BIN)/python" scripts/make_kernels.py

lint: $(VENV)/.installed-dev
	@"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

types: $(VENV)/.installed-dev
	@"$(BIN)/basedpyright" --pythonpath "$(BIN)/python"

unit: $(VENV)/.installed-dev
	@"$(BIN)/pytest" -n $(WORKERS)

parity: $(VENV)/.installed-dev
	@"$(BIN)/vgen" eval parity "$(GOLDEN)"

test: lint types unit parity

bench: $(VENV)/.installed-bench
	@"$(BIN)/python" benchmarks/run.py --docs $(BENCH)
	"$(BIN)/python" benchmarks/library.py --docs
	"$(BIN)/python" benchmarks/convert.py

resolve: $(VENV)/.installed-dev
	@"$(BIN)/python" scripts/check_resolves.py

clean:
	rm -rf "$(VENV)" build dist

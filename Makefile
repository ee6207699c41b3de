# Every target makes .venv itself, once; it is renewed when pyproject.toml or constraints.txt changes.
#   make demo DATA=points.csv      make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON ?= python3
PYTHONS ?= 3.11 3.12 3.13
VENV ?= .venv
DATA ?= spiral

# Their dependencies bring another build of torch and tools of training; no sampler needs these.
PEERS := k-diffusion azula smalldiffusion torchdyn

# The oldest versions, in an environment of their own. On Linux the default build of torch brings
# gigabytes of CUDA; another version tests the oldest of all else: make test-oldest TORCH=2.13.0
TORCH ?= 2.4.0
OLDEST_PYTHON ?= python3.11
OLDEST := .venv-oldest/bin
OLDEST_READY := .venv-oldest/.ready-$(TORCH)
# Left out: the benchmarks, which compare with newer packages. diffusers and transformers, which the
# extra `images` brings, need newer versions than these; the tests that compare with them are skipped.
OLDEST_TOOLS := pytest hypothesis pytest-timeout pytest-xdist scikit-learn POT

BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
DOCS_READY := $(VENV)/.ready-docs
WHEEL_READY := $(VENV)/.ready-wheel
# One thread: OpenMP barriers on a busy machine cost more than a second core gives to small clouds.
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench bench-ready claims figures docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	@touch $@

$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m pip install -q -c constraints.txt --no-deps $(PEERS)
	@touch $@

$(DOCS_READY): $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	@touch $@

$(WHEEL_READY): $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt build twine
	@touch $@

$(OLDEST_READY): pyproject.toml constraints-oldest.txt
	@test -x $(OLDEST)/python || $(OLDEST_PYTHON) -m venv .venv-oldest
	@echo "installing the oldest versions into .venv-oldest (a few minutes the first time)"
	@$(OLDEST)/python -m pip install -q -c constraints-oldest.txt torch==$(TORCH) -e '.[files]' $(OLDEST_TOOLS)
	@rm -f .venv-oldest/.ready-* && touch $@

demo: $(READY)  ## train, sample and check one cloud: DATA=spiral, or your own file; writes runs/demo
	$(BIN)/sdeflow demo --data '$(DATA)'

test: lint test-only  ## lint, types and the fast tests

.PHONY: test-only
test-only: $(READY)
	$(PYTEST) -n 2 --dist worksteal

test-all: lint  ## the same with the slow tests, but for tests/faults
	$(PYTEST) -m '' -n 2 --dist worksteal --ignore tests/faults

.PHONY: test-faults
test-faults: $(READY)  ## kills, full disks, signals, damaged files and drawn arguments: minutes to an hour
	$(PYTEST) -m slow tests/faults

.PHONY: test-oldest
test-oldest: $(OLDEST_READY)  ## the fast tests of the package with the oldest versions that pyproject.toml allows
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(OLDEST)/python -m pytest -n 2 --dist worksteal \
		--ignore tests/benchmarks --ignore tests/faults

.PHONY: test-matrix
test-matrix:  ## the fast tests on each Python of PYTHONS that is there, in .venv-3.12 and so on
	@for version in $(PYTHONS); do \
		if ! python$$version -c 0 2> /dev/null; then missing="$$missing $$version"; \
		elif $(MAKE) test-only PYTHON=python$$version VENV=.venv-$$version; then passed="$$passed $$version"; \
		else failed="$$failed $$version"; fi; done; \
	echo "passed:$${passed:- none}; failed:$${failed:- none}; missing:$${missing:- none}"; \
	test -n "$$passed" && test -z "$$failed"

lint: $(READY)  ## style, form and types: ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-ready: $(BENCH_READY)  ## install the packages that the benchmarks compare with

bench: $(BENCH_READY)  ## the speed benchmark; the others: .venv/bin/python -m benchmarks --help
	$(BIN)/python -m benchmarks speed

claims: $(READY)  ## measure every claim of the lectures, or go on with it; writes docs/claims.md
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m benchmarks claims all --out docs/claims

figures: $(READY)  ## every figure, rough, into runs/figures; for print: .venv/bin/python -m figures --help
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m figures all --quick

docs: $(DOCS_READY)  ## the site, into build/docs; warnings are errors
	rm -rf docs/api docs/gallery
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m sphinx -W --keep-going -b html docs build/docs

.PHONY: wheel
wheel: $(WHEEL_READY)  ## the source archive, and the wheel made from it, into dist/; both are checked
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:  ## caches and build leftovers; .venv and runs/ stay
	rm -rf build dist docs/api docs/gallery *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find sdeflow tests benchmarks figures examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Every target makes .venv itself, once; it is renewed when pyproject.toml or constraints.txt changes.
#   make demo DATA=points.csv      make test PYTHON=python3.12
PYTHON ?= python3
DATA ?= spiral

# Their dependencies bring another build of torch and tools of training; no sampler needs these.
PEERS := k-diffusion azula smalldiffusion torchdyn

# The oldest versions, in an environment of their own. On Linux the default build of torch brings
# gigabytes of CUDA; another version tests the oldest of all else: make test-oldest TORCH=2.13.0
TORCH ?= 2.4.0
OLDEST_PYTHON ?= python3.11
OLDEST := .venv-oldest/bin
OLDEST_READY := .venv-oldest/.ready-$(TORCH)
# Left out: the benchmarks, which compare with newer packages; a test of the colours of a film, where
# 0.13 % of the pixels are off instead of at most 0.1 %.
OLDEST_TOOLS := pytest hypothesis pytest-timeout pytest-xdist scikit-learn POT

BIN := .venv/bin
READY := .venv/.ready
BENCH_READY := .venv/.ready-bench
DOCS_READY := .venv/.ready-docs
# One thread: OpenMP barriers on a busy machine cost more than a second core gives to small clouds.
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench bench-ready claims figures docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	@touch $@

$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m pip install -q -c constraints.txt --no-deps $(PEERS)
	@touch $@

$(DOCS_READY): $(READY)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	@touch $@

$(OLDEST_READY): pyproject.toml constraints-oldest.txt
	@test -x $(OLDEST)/python || $(OLDEST_PYTHON) -m venv .venv-oldest
	@echo "installing the oldest versions into .venv-oldest (a few minutes the first time)"
	@$(OLDEST)/python -m pip install -q -c constraints-oldest.txt torch==$(TORCH) -e . $(OLDEST_TOOLS)
	@rm -f .venv-oldest/.ready-* && touch $@

demo: $(READY)  ## train, sample and check one cloud: DATA=spiral, or your own file; writes runs/demo
	$(BIN)/sdeflow demo --data '$(DATA)'

test: lint  ## lint, types and the fast tests
	$(PYTEST) -n 2 --dist worksteal

test-all: lint  ## the same with the slow tests, but for tests/faults
	$(PYTEST) -m '' -n 2 --dist worksteal --ignore tests/faults

.PHONY: test-faults
test-faults: $(READY)  ## kills, full disks, signals, damaged files and drawn arguments: minutes to an hour
	$(PYTEST) -m slow tests/faults

.PHONY: test-oldest
test-oldest: $(OLDEST_READY)  ## the fast tests of the package with the oldest versions that pyproject.toml allows
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(OLDEST)/python -m pytest -n 2 --dist worksteal --ignore tests/benchmarks \
		--deselect tests/plot/test_film.py::test_colours_are_those_that_were_drawn

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

clean:  ## caches and build leftovers; .venv and runs/ stay
	rm -rf build dist docs/api docs/gallery *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find sdeflow tests benchmarks figures examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

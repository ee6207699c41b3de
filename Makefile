# Every target makes .venv itself, once; it is renewed when pyproject.toml or constraints.txt changes.
#   make demo DATA=points.csv      make test PYTHON=python3.12
PYTHON ?= python3
DATA ?= spiral

# Their dependencies bring another build of torch and tools of training; no sampler needs these.
PEERS := k-diffusion azula smalldiffusion torchdyn

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

demo: $(READY)  ## train, sample and check one cloud: DATA=spiral, or your own file; writes runs/demo
	$(BIN)/sdeflow demo --data '$(DATA)'

test: lint  ## lint, types and the fast tests
	$(PYTEST) -n 2 --dist worksteal

test-all: lint  ## the same with the slow tests
	$(PYTEST) -m '' -n 2 --dist worksteal

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

# The whole of it: `make help`.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help setup start test test-clusters lint bench-soak bench-trainer bench-leases bench-evidence bench-noise bench-cut bench-nulls bench-hopper bench-notebook bench-web clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.installed ## make .venv with the pinned set and the `swarm` command

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "nightswarm needs Python 3.11-3.13; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

start: setup ## run a ten-minute session on the built-in task
	$(BIN)/swarm start tinytext --hours 0.17

test: setup ## run the test suite, two tests at a time, but for the clusters
	$(BIN)/python -m pytest -m "not slurm" -n 2 --dist worksteal

test-clusters: setup ## bring up a real Slurm on this machine and run trials through it; as root, on Debian
	$(BIN)/python -m pytest -m slurm -rP

lint: setup ## ruff, mypy --strict, the law of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-trainer: setup ## what a trial costs beside its training, warm and cold
	$(BIN)/python -m tests.bench.bench_trainer

bench-leases: setup ## what a grant costs with 1,000 slots and up to 10,000 requests waiting
	$(BIN)/python -m tests.bench.bench_leases

bench-noise: setup ## noise, effect sizes and rank correlation on tinytext; half an hour, can be resumed
	$(BIN)/python -m tests.bench.bench_noise

bench-nulls: setup ## sixty comments as changes of tinytext, for real: none may be confirmed; an hour, can be resumed
	$(BIN)/python -m tests.bench.bench_nulls

bench-cut: setup ## what cutting hopeless screening trials early spares, and whom it hits
	$(BIN)/python -m tests.bench.bench_cut

bench-tinytext: setup ## five strategies on tinytext for real, three seeds of half a CPU-hour; can be resumed
	$(BIN)/swarm bench --task tinytext --strategies swarm,tpe,asha,random,greedy --seeds 3 --gpu-hours 0.5 \
	    --kept docs/data/bench-tinytext-rerun.jsonl --plot docs/bench-tinytext.png

bench-evidence: setup ## how often a session confirms a null, how many gains it finds, and at what cost
	$(BIN)/python -m tests.bench.bench_evidence

bench-notebook: setup ## how well papers are found, and how fast they are added; the notebook at 100,000 entries; PAPERS=a folder with papers.* and queries.jsonl
	$(BIN)/python -m tests.bench.bench_papers $(PAPERS)
	$(BIN)/python -m tests.bench.bench_notebook 100000

bench-soak: setup ## a session of 24 days on simulated time: its memory, and what an event costs, day by day
	$(BIN)/python -m tests.bench.bench_soak

bench-web: setup ## how fast the pages paint over 5,000 experiments and 50,000 entries, and what they weigh
	$(BIN)/python -m tests.bench.bench_web

bench-hopper: setup ## the GPU task beside autoresearch's own train.py: make bench-hopper AUTORESEARCH=path
	$(BIN)/python -m tests.bench.bench_hopper $(AUTORESEARCH)

clean: ## remove .venv and caches (never .swarm, which is your research)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build

# `make lecture` answers the question, `make test` checks the program; each makes the environment it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# One thread per process: the tests and the trainings run side by side.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

lecture: $(VENV)/.installed
	$(BIN)/rlbench run experiments/ppo_vs_reinforce.py; status=$$?; \
	$(BIN)/rlbench report experiments/ppo_vs_reinforce.py && exit $$status

# Every claim of the lecture, with its verdict; under two hours on two cores, and interrupting loses nothing.
claims: $(VENV)/.installed-box2d
	$(BIN)/rlbench run experiments/lecture; status=$$?; \
	$(BIN)/rlbench report experiments/lecture && exit $$status

claims-quick: $(VENV)/.installed-box2d
	$(BIN)/rlbench run experiments/lecture --quick; status=$$?; \
	$(BIN)/rlbench report experiments/lecture --quick && exit $$status

# Table 1 of the PPO paper: eleven settings on seven MuJoCo tasks; hours, and interrupting loses nothing.
table1: $(VENV)/.installed-mujoco
	$(BIN)/rlbench run experiments/ppo_table1.py; status=$$?; \
	$(BIN)/rlbench report experiments/ppo_table1.py && exit $$status

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist loadfile

test-all: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist loadfile -m "not calibration and not chaos"

# Kills a suite at 200 random moments and compares what is stored with an undisturbed run; a quarter of an hour.
chaos: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto -m chaos tests/chaos

# Puts small faults into a copy, some of all that can be made, and says which of them the nearest tests do not notice.
MUTANTS ?= 60
SEED ?= 0
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.mutants $(MUTANTS) $(SEED)

# Measures every interval and test on simulated experiments and writes docs/calibration.md.
calibration: $(VENV)/.installed-dev
	$(BIN)/python -m tests.statistics.publish

# The documentation as a site that opens offline: build/site/index.html.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# Measures, compares with the committed figures and writes results/benchmarks; a part of them, as in
# `make bench BENCH_ARGS="-k job"`, is compared but not written.
bench: $(VENV)/.installed-dev
	mkdir -p build
	$(BIN)/pytest benchmarks --benchmark-enable --benchmark-columns=min,median,max,rounds \
	    --benchmark-json=build/benchmarks.json -q $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.publish build/benchmarks.json $(if $(BENCH_ARGS),--dry-run)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	$(BIN)/python -m rlbench.study.process  # compiles the loops, so that the first run need not
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Box2D, which LunarLander needs, cannot be installed everywhere; the claims are then made without it.
$(VENV)/.installed-box2d: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[box2d]' || \
	    echo "Box2D cannot be installed here: LunarLander-v3 is left out."
	touch $@

$(VENV)/.installed-mujoco: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[mujoco]'
	touch $@

.PHONY: lecture claims claims-quick table1 test test-all chaos mutants calibration docs lint types bench

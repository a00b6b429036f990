# Everything starts here: `make` lists the targets. Needs python3 (3.11 or newer, with venv), make and git.
SHELL := /bin/bash
PYTHON ?= python3
GOAL ?= center
SEED ?= 0
OUT ?= out/demo
FAULTS_OUT ?= out/faults.json
CODE := sgp_core sgp_ros launch setup.py
VENV := .venv
JAZZY := .venv-jazzy
INPUTS_FUZZED ?= 1000000
HOURS ?= 8
JAZZY_TESTS ?= test/test_settings_files.py test/test_nodes.py \
  test/test_demo.py::test_demo_reaches_the_goal_and_reports_it
# Two processes, where a test that hangs is interrupted: ended as a whole, a process would take its other tests along.
BESIDE := -n 2 --dist loadgroup --max-worker-restart 0 --override-ini timeout_method=signal
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

# Where to take torch from instead of pip's usual index, for a build without CUDA:
#   make demo TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
TORCH_INDEX_URL ?=

# A sourced ROS installation must not leak into the environment, nor a middleware that it does not have.
unexport PYTHONPATH
unexport PYTHONHOME
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
export RMW_IMPLEMENTATION := rmw_fastrtps_cpp
# The ROS wheels put their ament index into the environment, but nothing tells ROS so.
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV)

.DEFAULT_GOAL := help
.PHONY: help demo test test-jazzy faults fuzz soak lint format model clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 20

demo: $(VENV)/.installed  ## push the box to a goal on the simulated rig (GOAL=center|left|right, SEED, OUT)
	$(BIN)/sgp demo --goal $(GOAL) --seed $(SEED) --out $(OUT)

test: $(VENV)/.installed-dev  ## every check: lint, types, import arrows, tests, and the nodes once more on ROS 2 Jazzy
	$(MAKE) --jobs 2 --output-sync lint $(JAZZY)/.installed
	$(BIN)/python -m pytest $(BESIDE)
	$(MAKE) test-jazzy

test-jazzy: $(JAZZY)/.installed  ## the nodes and a demo with the wheels of ROS 2 Jazzy (JAZZY_TESTS=test for every test)
	AMENT_PREFIX_PATH=$(CURDIR)/$(JAZZY) $(JAZZY)/bin/python -m pytest -p no:cacheprovider $(JAZZY_TESTS)

faults: $(VENV)/.installed-dev  ## every fault on the real processes, a quarter of an hour; writes the tables of docs/trust.md
	$(BIN)/python benchmarks/faults.py --json $(FAULTS_OUT) --write docs/trust.md

lint: $(VENV)/.installed-dev  ## ruff, mypy, import-linter and ROS's own linters
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	set -o pipefail; $(BIN)/ament_flake8 --config setup.cfg $(CODE) test benchmarks | sed '/^Checked files/,$$d'
	set -o pipefail; $(BIN)/ament_pep257 --convention google --add-ignore D105 D107 D402 D403 -- $(CODE) | sed '/^checking/d'

fuzz: $(VENV)/.installed-dev  ## sequences of faults through the nodes' own code in injected time (INPUTS_FUZZED, SEED)
	$(BIN)/python benchmarks/fuzz.py --inputs $(INPUTS_FUZZED) --seed $(SEED)

soak: $(VENV)/.installed-dev  ## simulated hours with random faults (HOURS, SEED)
	$(BIN)/python benchmarks/soak.py --hours $(HOURS) --seed $(SEED)

format: $(VENV)/.installed-dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

model: $(VENV)/.installed  ## collect demonstrations and train the default bundle, models/default
	$(BIN)/sgp collect --seed 0 --out out/model/demonstrations.npz --overwrite
	$(BIN)/sgp train out/model/demonstrations.npz --seed 0 --preset small --out models/default \
	  --log out/model/training --overwrite

clean:  ## remove the environment, builds, caches and out/
	rm -rf $(VENV) $(JAZZY) build dist *.egg-info out .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The install is editable: a changed source, setting or model counts at once, without another `make`. The share folder is
# then this checkout (sgp_core/share.py); test/test_package.py looks into the wheel that others install.
INPUTS := setup.py pyproject.toml constraints.txt Makefile
TORCH := $(if $(TORCH_INDEX_URL),$(PIP) --no-deps --constraint constraints.txt --index-url $(TORCH_INDEX_URL) torch)

$(VENV)/.installed: $(INPUTS) | $(VENV)/bin/python
	$(TORCH)
	$(PIP) --constraint constraints.txt --editable '.[ros,view]'
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) | $(VENV)/bin/python
	$(TORCH)
	$(PIP) --constraint constraints.txt --editable '.[ros,view,baselines,dev]'
	@touch $(VENV)/.installed $@

# Jazzy's ROS packages stand before those of .venv; everything else is the same in both. The path of a package in .venv
# reaches its Python files only, and so the two middlewares do not meet.
$(JAZZY)/.installed: requirements-jazzy.txt $(VENV)/.installed-dev
	rm -rf $(JAZZY)
	$(BIN)/python -m venv --without-pip $(JAZZY)
	$(BIN)/python -m pip --disable-pip-version-check --python $(JAZZY)/bin/python install --no-deps \
	  --requirement requirements-jazzy.txt
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"), "$(CURDIR)", sep="\n")' \
	  > "$$($(JAZZY)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "sgp_ros needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version); set PYTHON=python3.12 or the like"; exit 1; }
	$(PYTHON) -m venv $(VENV)

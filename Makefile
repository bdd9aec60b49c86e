# Each target is one line a person could type; `make` alone shows them.
VENV ?= .venv
BIN  := $(VENV)/bin
# the demo runs in the environment for development where there is one, else in a small one of its own
DEMO := $(if $(wildcard $(VENV)/ready),$(VENV),.venv-demo)
DIST ?= dist
COMPAT ?= 3.10 3.12 3.13

help:           ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 10

demo: $(DEMO)/ready   ## checkpoint → bundle → verified → timed → run on a clip → every task → served; at most 3 minutes
	$(DEMO)/bin/python -m edgecnn.demo

plates: $(VENV)/ready ## the bundles of the pipeline `plates`, from its checkpoints, for the wheel
	$(BIN)/python -m edgecnn.plates

dist:           ## both wheels, into dist/; docs/install.md says how they are installed
	rm -f $(DIST)/edgecnn*.whl
	@ls -d edgecnn/plates/*.edge >/dev/null 2>&1 || echo "without the bundles of \`edgecnn run plates\`: make plates" >&2
	python3 -m pip wheel -q --no-deps -w $(DIST) ./runtime .

test: $(VENV)/ready   ## every test, the slow ones too
	$(BIN)/pytest -n 2 --dist loadgroup

quick: $(VENV)/ready  ## the tests that take seconds
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

check: $(VENV)/ready  ## ruff, mypy --strict and the import rules
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/pytest -q tests/test_imports.py

soak: $(VENV)/ready   ## half an hour of a daemon on sixteen cameras while cameras, disk, sinks and clock fail
	$(BIN)/python bench/experiments/memory_slope.py

bench: $(VENV)/ready  ## every figure the README quotes, measured here, into bench/results
	@for experiment in $(filter-out %/against_revision.py %/code_size.py,$(wildcard bench/experiments/*.py)); do echo; echo $$experiment; $(BIN)/python $$experiment || exit 1; done

baselines: $(VENV)/ready  ## what people use today, each in an environment of its own, against ours
	$(BIN)/python bench/baselines/compare.py

docs: $(VENV)/ready   ## docs/commands.md, from the commands themselves
	$(BIN)/python docs/commands.py

site: $(VENV)/ready   ## the documentation as a site, into build/site; opens without a server
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

compat: $(COMPAT:%=compat-%)  ## bundle, CLI and bench tests on the other Pythons, with what resolves there

compat-%:
	PYENV_VERSION=$* python$* -m venv --clear .venv-$*
	.venv-$*/bin/pip install -q "./runtime[cpu,opencv,openvino,serve]" ".[test]"
	.venv-$*/bin/pytest -q -n 2 -m "not slow" tests/runtime tests/contract tests/bench tests/cli

system:         ## the runtime's tests with the system's Python and OpenCV (python3-opencv, python3-venv)
	/usr/bin/python3 -m venv --clear --system-site-packages .venv-system
	.venv-system/bin/pip install -q "./runtime[cpu,serve]" ".[test]" "numpy<2"
	.venv-system/bin/pytest -q -n 2 -m "not slow" tests/runtime tests/contract

$(VENV)/ready: pyproject.toml runtime/pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e "./runtime[cpu,opencv,openvino,serve]" -e ".[export,train,dev]"
	@touch $@

.venv-demo/ready: pyproject.toml runtime/pyproject.toml constraints.txt
	python3 -m venv .venv-demo
	.venv-demo/bin/pip install -q -c constraints.txt -e "./runtime[cpu,openvino,serve]" -e ".[export]"
	@touch $@

.PHONY: help demo plates dist docs site test quick check bench baselines compat system soak

# Two commands on a fresh clone: `make lab` opens the course, `make test` runs every test.
# Both make the environment .venv if it is missing, and again when pyproject.toml or constraints.txt has changed.

.DEFAULT_GOAL := help
.PHONY: lab test prove build site clean help remade
SHELL := /bin/sh

# The first of these that is new enough, unless you name one: make lab PYTHON=python3.13
PYTHON ?=
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
NEW_ENOUGH := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))

# The pip that Python brings along may be old, and takes a third longer.
# pip compiles every module that it installs, for a minute; Python compiles what is used, when it is used first,
# unless the environment forbids it. The sandbox of the grader cannot: what it imports is compiled at the end.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
RUN := $(BIN)/python -m course_utils
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# PyPI's PyTorch for Linux brings gigabytes of CUDA libraries; PyTorch's own index has a build for the CPU alone.
# Its version ends in +cpu, so pip prefers it. Where that index cannot be reached, one question now saves pip minutes of retries.
CPU_INDEX := https://download.pytorch.org/whl/cpu
NEEDS_CPU_INDEX := import sys; sys.exit(sys.platform != "linux")
REACHABLE := import signal, urllib.request; signal.alarm(4); urllib.request.urlopen("$(CPU_INDEX)/torch/", timeout=3)

# A stamp holds the folder it was made in: scripts of a .venv that was moved or copied do not work.
# The shell reads the folder's name from the environment, where no quote or dollar sign in it means anything.
export CURDIR
ifneq ($(shell cat .venv/lab.stamp 2>/dev/null),$(CURDIR))
.venv/lab.stamp: remade
endif
ifneq ($(shell cat .venv/test.stamp 2>/dev/null),$(CURDIR))
.venv/test.stamp: remade
endif

lab: .venv/lab.stamp  ## open the course in JupyterLab; on a machine without a screen: make lab ARGS=--no-browser
	@$(RUN) lab $(ARGS)

test: .venv/test.stamp  ## check style, look for stale notebooks, run every test; some tests: make test ARGS="-k mutants"
	@failed=; \
	printf '\n== 1 of 2: style (ruff)\n'; \
	$(BIN)/ruff check . && $(BIN)/ruff format --check . || failed="$$failed style"; \
	printf '\n== 2 of 2: all tests, every notebook among them, and whether it is up to date (pytest and nbval, on all cores)\n'; \
	$(PYTEST) $(ARGS) || failed="$$failed tests"; \
	if [ -n "$$failed" ]; then printf '\nFailed:%s\n' "$$failed"; exit 1; fi

prove: .venv/test.stamp  ## try checks and grading more deeply, for an hour; one unit or folder: make prove ARGS=07
	@$(PYTEST) --prove $(ARGS)

build: .venv/lab.stamp  ## build solutions, labs and lectures from their text sources; one unit: make build ARGS=01
	@$(RUN) build $(ARGS)

site: .venv/test.stamp  ## build the web site in build/site
	@$(BIN)/python -m course_utils.site

clean:  ## remove the environment and what tests and tools left behind
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +

help:
	@echo 'Deep Learning on a Budget'
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile
	@echo 'More commands: .venv/bin/course --help'

.venv/lab.stamp: pyproject.toml constraints.txt
	@$(call install,.)
	@printf '%s\n' "$$CURDIR" > $@

.venv/test.stamp: pyproject.toml constraints.txt
	@$(call install,.[test])
	@printf '%s\n' "$$CURDIR" > .venv/lab.stamp
	@printf '%s\n' "$$CURDIR" > $@

define install
set -e; python=; \
for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
  if "$$candidate" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo 'The course needs Python 3.11 to 3.14, and this machine has none that answers to: $(or $(PYTHON),$(CANDIDATES)). Install one, or name it as in make lab PYTHON=/path/to/python3.12' >&2; exit 1; \
fi; \
if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
  echo "$$python cannot make environments: install its venv module (on Debian and Ubuntu: sudo apt install python3-venv)." >&2; exit 1; \
fi; \
echo "Installing the course and what it needs into .venv with $$python: once, a few minutes."; \
if [ "$$(cat .venv/lab.stamp 2>/dev/null)" != "$$CURDIR" ]; then "$$python" -m venv --clear .venv; fi; \
index=; \
if "$$python" -c '$(NEEDS_CPU_INDEX)'; then \
  if "$$python" -c '$(REACHABLE)' >/dev/null 2>&1; then index='--extra-index-url $(CPU_INDEX)'; \
  else echo "PyTorch's index of CPU builds cannot be reached: taking PyPI's build, a much larger download."; fi; \
fi; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25' || true; \
$(BIN)/python -m pip install --disable-pip-version-check --no-compile $$index -c constraints.txt -e '$(1)'; \
$(BIN)/python -c 'import scipy.stats, torch._dynamo, course_utils.plots, course_utils.grading.worker'
endef

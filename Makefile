PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
PRETTIER := npx --yes prettier@3.10.1
export npm_config_fetch_retries := 0
export npm_config_fetch_timeout := 10000

.PHONY: env chromium quick test nightly soak book bench lab clean

env: .venv/.complete

.venv/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || echo "no Chromium and no right to install it: the browser tests will be skipped (Debian: apt-get install chromium)"

# two processes share two cores
quick test nightly soak: export OMP_NUM_THREADS := 1

# form and fast tests, within a minute
quick: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@if $(PRETTIER) --version >/dev/null 2>&1; then $(PRETTIER) --check recall; \
	  else echo "no npx, or no way to prettier: the form of scripts and styles is not checked"; fi
	$(PYTEST) -n 2 -m "not standard and not nightly and not soak"

# these and one of each expensive kind, within ten minutes on two cores
test: env chromium
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not nightly and not soak"

# everything, recomputed from weights: hours
nightly: env chromium
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not soak"

# a line a test: kills, damage, odd input and random driving by the hundred, within twenty minutes on two cores
soak: env chromium
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m soak tests/soak

# executes every chapter in place, then builds; a warning is a failure
book: env
	$(BIN)/python -m recall.book --workers 2
	$(BIN)/jupyter-book build . -W --keep-going

# a training step beside the transformers library's, batches, what emergence took
bench: env
	$(BIN)/python benchmarks/bench.py

lab: env
	$(BIN)/jupyter lab chapters

clean:
	rm -rf _build _runs

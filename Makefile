PYTHON ?= python3
BIN := .venv/bin

.PHONY: env chromium book test bench lab clean

env: .venv/.complete

.venv/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# executes every chapter in place, then builds; a warning is a failure
book: env
	$(BIN)/python -m recall.book
	$(BIN)/jupyter-book build . -W --keep-going

chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || echo "no Chromium and no right to install it: the browser tests will be skipped (Debian: apt-get install chromium)"

test: env chromium
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbval-lax --nbval-sanitize-with tests/nbval.cfg --nbval-cell-timeout 900 chapters

# a training step beside the transformers library's, batches, what emergence took
bench: env
	$(BIN)/python benchmarks/bench.py

lab: env
	$(BIN)/jupyter lab chapters

clean:
	rm -rf _build _runs

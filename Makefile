# `make run` and `make test` work on a fresh machine.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Trust the certificates of the system, for proxies with their own CA.
export UV_SYSTEM_CERTS ?= 1

.PHONY: help run test lint types imports proofs kill-test bench lock docs screenshots dist clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: .venv/ready  ## set up, then train on the sample of handwritten digits
	$(BIN)/housetrain sample digits sample/digits
	$(BIN)/housetrain run sample/digits --output runs/digits --prepared prepared/digits

test: .venv/ready-dev  ## set up, then lint, types, import rules and every quick test
	$(MAKE) --no-print-directory lint types imports
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 25  # two files at a time: a third faster on two cores

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready-dev
	$(BIN)/mypy

imports: .venv/ready-dev
	$(BIN)/lint-imports

proofs: .venv/ready-dev  ## the slow tests on thousands of real images
	$(BIN)/python -m pytest -m slow

kill-test: .venv/ready-dev  ## kill real trainings at random moments, resume them, and compare the weights bit for bit
	$(BIN)/python -m pytest -m kill

bench: .venv/ready-dev  ## benchmarks against plain Keras; copy the results to benchmarks/RECORDS.md
	for script in prepare mnist train; do $(BIN)/python benchmarks/$$script.py || exit 1; done

docs: .venv/ready-dev build/docs-env/ready  ## generate the pages of commands and course, then the site in build/site; a dead link fails
	$(BIN)/python tools/write_cli_docs.py
	$(BIN)/python tools/write_course_docs.py
	$(BIN)/python tools/build_site.py build/docs-env/bin/zensical build --clean --strict

build/docs-env/ready: requirements/docs.txt
	$(or $(UV),$(BIN)/uv) venv -q --clear -p $(BIN)/python build/docs-env
	$(or $(UV),$(BIN)/uv) pip sync -q -p build/docs-env/bin/python --require-hashes requirements/docs.txt
	@touch $@

screenshots: .venv/ready-dev  ## take the screenshots of the studio for the docs (requires Chromium)
	$(BIN)/python tools/studio_screenshots.py

dist: .venv/ready  ## build the wheel and the source archive, check both, and use the wheel in a new environment
	rm -rf dist build/dist-check
	$(or $(UV),$(BIN)/uv) build -q --out-dir dist .
	$(or $(UV),$(BIN)/uv) tool run twine check --strict dist/*.whl dist/*.tar.gz
	$(or $(UV),$(BIN)/uv) tool run check-wheel-contents dist/*.whl
	$(or $(UV),$(BIN)/uv) venv -q -p $(BIN)/python build/dist-check
	$(or $(UV),$(BIN)/uv) pip install -q -p build/dist-check/bin/python dist/*.whl
	build/dist-check/bin/housetrain sample digits build/dist-check/digits
	build/dist-check/bin/housetrain check build/dist-check/digits

lock:  ## resolve requirements/*.txt again (without registry addresses)
	$(or $(UV),uv) pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --extra tensorflow --extra openvino --extra pretrained --upgrade -q -o requirements/run.txt
	$(or $(UV),uv) pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --extra tensorflow --extra sweep --extra openvino --extra export --extra studio --extra serve --extra pretrained --extra cluster --extra mlflow --extra heic --group dev --upgrade -q -o requirements/dev.txt
	$(or $(UV),uv) pip compile --group docs --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --upgrade -q -o requirements/docs.txt

# Use the installed uv, else install uv into the new environment; nothing outside the project changes. Byte code is
# compiled here, once, instead of by the first import (or by each, where PYTHONDONTWRITEBYTECODE is set).
define setup
	if [ -n "$(UV)" ]; then \
	  [ -x $(BIN)/python ] || $(UV) venv -q -p $(PYTHON) .venv; \
	  $(UV) pip sync -q --compile-bytecode -p $(BIN)/python --require-hashes $(1) && $(UV) pip install -q -p $(BIN)/python --no-deps -e .; \
	else \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv .venv; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check uv \
	  && $(BIN)/uv pip install -q --compile-bytecode -p $(BIN)/python --require-hashes -r $(1) && $(BIN)/uv pip install -q -p $(BIN)/python --no-deps -e .; \
	fi
endef

.venv/ready: requirements/run.txt pyproject.toml
	@echo "Setting up .venv (downloads about 650 MB, once) ..."
	@if [ ! -e .venv/ready-dev ] || [ -n "$$(find $^ -newer .venv/ready-dev)" ]; then $(call setup,requirements/run.txt); fi
	@touch $@

.venv/ready-dev: requirements/dev.txt pyproject.toml
	@echo "Setting up .venv for the tests ..."
	@$(call setup,requirements/dev.txt)
	@touch $@ .venv/ready

clean:  ## remove the files that the commands above create
	rm -rf .venv runs prepared sample build dist

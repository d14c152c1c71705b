# `make` lists the targets. Each makes what it needs, the environment first; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
PY = .venv/bin/python
ENV = .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint format lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

quickstart: $(ENV) ## Make the sample data, train on it for minutes, evaluate: tables and images
	$(PY) scripts/make_sample.py
	if [ -e runs/sample/config.yaml ]; then $(PY) train.py --resume runs/sample; else $(PY) train.py configs/sample.yaml; fi
	$(PY) evaluate.py runs/sample --split train
	$(PY) evaluate.py runs/sample
	@echo
	@echo "The first tables are of images it was trained on, the second of photos it has never seen."
	@echo "Look at runs/sample/evaluation/train/images.png; then read README.md, \"iHarmony4 in three steps\"."

test: lint ## Check style, types and layers, then run the tests
	$(PY) -m pytest -n auto

lint: $(ENV) ## Check style, types and layers
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: $(ENV) ## Put the code into the project's style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

lock: ## Pin all dependencies anew, with hashes (needs uv)
	uv pip compile pyproject.toml --extra benchmarks --extra export --extra hub --extra lpips --extra dev --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean: ## Remove the environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# The versions and hashes of the lock file, then the project itself, without a look at any other version.
$(ENV): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# `make` lists the targets. Each makes what it needs, the environment first; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
PY = .venv/bin/python
ENV = .venv/.installed
SAMPLE = 'data/sample/Sample/composite_images/*_1.jpg' data/sample/Sample/masks

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint format lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

quickstart: $(ENV) ## Harmonize and evaluate photos that the weights have never seen, then train a little
	$(PY) scripts/make_sample.py
	@printf '\n1. The weights that come with the software, on photos that they have never seen:\n\n'
	$(PY) -m frih harmonize $(SAMPLE) -o outputs/quickstart/harmonized --overwrite
	$(PY) evaluate.py frih/pretrained data.root=data/sample --out outputs/quickstart/evaluation
	@printf '\n2. A small network that starts from nothing, on the images that it is trained on:\n\n'
	if [ -e runs/quickstart/config.yaml ]; then $(PY) train.py --resume runs/quickstart; else $(PY) train.py configs/quickstart.yaml; fi
	$(PY) evaluate.py runs/quickstart --split train
	@printf '\nLook at outputs/quickstart/evaluation/images.png (1) and runs/quickstart/evaluation/train/images.png (2).\n'
	@echo 'Then read README.md: "Your own images", and "iHarmony4 in three steps".'

test: lint ## Check style, types and layers, then run the tests
	$(PY) -m pytest -n auto -rs

lint: $(ENV) ## Check style, types and layers
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: $(ENV) ## Put the code into the project's style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

lock: ## Pin all dependencies anew, with hashes (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean: ## Remove the environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# The versions and hashes of the lock file, then the project itself, without a look at any other version.
$(ENV): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

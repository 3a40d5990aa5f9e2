PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/installed

.DEFAULT_GOAL := help

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster,dev,docs,imagenet,superpixels]'
	touch $(STAMP)

.PHONY: install
install: $(STAMP) ## Make .venv from the constraints

.PHONY: bench
bench: $(STAMP) ## Run the default board on the embedded pack, print the leaderboard
	$(BIN)/harness bench --preset first-look

.PHONY: test
test: $(STAMP) ## Run the whole test suite
	$(BIN)/python -m pytest -n 2

.PHONY: fuzz
fuzz: $(STAMP) ## Try every property on many random examples
	HARNESS_FUZZ=40 $(BIN)/python -m pytest -n 2 -m hypothesis

.PHONY: check
check: $(STAMP) ## Format, lint, types, fast tests: before each commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -m "not slow"

.PHONY: format
format: $(STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench-code
bench-code: $(STAMP) ## Time the code: ratios side by side in one run
	$(BIN)/python -m pytest tests/bench --benchmark-enable --benchmark-only --benchmark-columns=min,median,rounds

.PHONY: docs
docs: $(STAMP) ## Build the documentation into site/; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: docs-serve
docs-serve: $(STAMP) ## Show the documentation on this machine, built again at each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

.PHONY: wheel
wheel: $(STAMP) ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

.PHONY: release-check
release-check: $(STAMP) ## Build sdist and wheel, compare them, install and try the wheel in an empty environment
	$(BIN)/python -m tests.release

.PHONY: bench-scale
bench-scale: $(STAMP) ## Select from synthetic pools of up to 2,975 images of 1024 x 2048: time, memory, disk
	$(BIN)/python -m tests.bench.scale

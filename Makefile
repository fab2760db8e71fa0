# make labs   set up, execute every lab in the quick profile on the embedded data
# make test   set up, run all checks and tests
# make lab    set up, open JupyterLab on the notebooks
# make build  write the student notebooks from solutions/
# make lint   the static checks alone
# make lock   resolve pyproject.toml into requirements.lock and environment.yml anew

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

# Tests leave no trace in the user's cache and see no settings of the user's.
TEST_ENVIRONMENT = LABKIT_PROFILE=quick LABKIT_DATA_MODE=synthetic LABKIT_OUT=$(CURDIR)/build/nbval \
	LABKIT_CACHE=$(CURDIR)/build/cache LABKIT_QUIET=1

.PHONY: labs test lab build lint lock setup

labs: setup
	$(BIN)/labkit run --profile quick --data synthetic --out out --jobs $(JOBS)

test: setup lint
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest tests -n $(JOBS)
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest --nbval-lax solutions -n $(JOBS) --dist loadfile

lab: setup
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks

build: setup
	$(BIN)/labkit build

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/labkit build --check

lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock
	$(BIN)/python tests/test_installation.py > environment.yml

setup:
	@$(PYTHON) setup_venv.py
